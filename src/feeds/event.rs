//! Which review a verified event is about.

use super::Format;
use crate::closure::ids::is_id;
use crate::spans::TraceParent;
use http::{HeaderMap, header};
use serde_json::Value;

/// The body is not what the format says, or holds something at the review's place that is no identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The id of the review that an event is about; none where it names none, as a ping does.
///
/// # Errors
/// See [`Malformed`].
pub fn review(
    format: Format,
    pointer: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Option<String>, Malformed> {
    let event: Value = serde_json::from_slice(body).map_err(|_| Malformed)?;
    if format == Format::CloudEvents {
        structured(headers, &event)?;
    }
    let id = match event.pointer(pointer.unwrap_or(format.review_id_pointer())) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(number)) if number.is_u64() => number.to_string(),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => return Err(Malformed),
    };
    if is_id(&id) { Ok(Some(id)) } else { Err(Malformed) }
}

/// The context of a span that an event names beside its attributes, as the distributed-tracing extension of CloudEvents has it.
#[must_use]
pub fn trace_parent(body: &[u8]) -> Option<TraceParent> {
    /// The one member that counts.
    #[derive(serde::Deserialize)]
    struct Extended {
        traceparent: String,
    }
    let extended: Extended = serde_json::from_slice(body).ok()?;
    TraceParent::parse(&extended.traceparent)
}

/// In binary mode the attributes are headers, which no signature covers.
fn structured(headers: &HeaderMap, event: &Value) -> Result<(), Malformed> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    let text = |name: &str| event.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let attributes = ["id", "source", "type"].into_iter().all(|name| text(name).is_some());
    let is_event = media.eq_ignore_ascii_case("application/cloudevents+json");
    if is_event && attributes && text("specversion") == Some("1.0") { Ok(()) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(format: Format, pointer: Option<&str>, body: &Value) -> Result<Option<String>, Malformed> {
        let media = if format == Format::CloudEvents { "application/cloudevents+json" } else { "application/json" };
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, media.parse().unwrap())]);
        review(format, pointer, &headers, body.to_string().as_bytes())
    }

    #[test]
    fn each_format_has_a_place_for_the_review() {
        let event =
            |subject: &str| json!({"specversion": "1.0", "id": "1", "source": "/g", "type": "t", "subject": subject});
        for (format, body, expected) in [
            (Format::StandardWebhooks, json!({"type": "review.accepted", "data": {"review": {"id": "RR-1"}}}), "RR-1"),
            (Format::GitHub, json!({"action": "labeled", "issue": {"number": 17}}), "17"),
            (Format::Gitea, json!({"action": "label_updated", "issue": {"number": 18}}), "18"),
            (Format::GitLab, json!({"object_kind": "issue", "object_attributes": {"iid": 19}}), "19"),
            (Format::Jira, json!({"webhookEvent": "jira:issue_updated", "issue": {"key": "GOV-20"}}), "GOV-20"),
            (Format::CloudEvents, event("RR-21"), "RR-21"),
        ] {
            assert_eq!(read(format, None, &body), Ok(Some(expected.to_owned())), "{format:?}");
        }
        assert_eq!(read(Format::GitHub, Some("/a/0"), &json!({"a": ["x"]})), Ok(Some("x".to_owned())));
    }

    #[test]
    fn what_names_no_review_is_ignored_and_what_is_no_id_is_malformed() {
        assert_eq!(read(Format::GitHub, None, &json!({"zen": "Keep it logically awesome."})), Ok(None));
        assert_eq!(read(Format::GitHub, None, &json!({"issue": {"number": null}})), Ok(None));
        for bad in [json!("a/b"), json!(""), json!(".."), json!(-1), json!(1.5), json!(true), json!([]), json!({})] {
            assert_eq!(read(Format::GitHub, None, &json!({"issue": {"number": bad}})), Err(Malformed), "{bad}");
        }
        let nested = "[".repeat(100_000);
        for bad in [&b"payload=%7B%7D"[..], b"", b"\xff", b"{\"issue\":", nested.as_bytes()] {
            assert_eq!(review(Format::GitHub, None, &HeaderMap::new(), bad), Err(Malformed));
        }
    }

    #[test]
    fn an_event_may_name_the_span_that_sent_it() {
        const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let named = |event: &Value| trace_parent(event.to_string().as_bytes()).map(|parent| parent.to_string());
        assert_eq!(named(&json!({"id": "1", "traceparent": PARENT})).as_deref(), Some(PARENT));
        for event in [json!({}), json!([]), json!({"traceparent": 1}), json!({"traceparent": "<script>"})] {
            assert_eq!(named(&event), None, "{event}");
        }
        assert_eq!(trace_parent(b"{"), None);
    }

    #[test]
    fn a_cloud_event_is_in_structured_mode() {
        let event = json!({"specversion": "1.0", "id": "1", "source": "/g", "type": "t", "subject": "RR-1"});
        for lacking in ["specversion", "id", "source", "type"] {
            let mut event = event.clone();
            event.as_object_mut().unwrap().remove(lacking);
            assert_eq!(read(Format::CloudEvents, None, &event), Err(Malformed), "{lacking}");
        }
        let binary = HeaderMap::from_iter([(header::CONTENT_TYPE, "application/json".parse().unwrap())]);
        assert_eq!(review(Format::CloudEvents, None, &binary, event.to_string().as_bytes()), Err(Malformed));
    }
}
