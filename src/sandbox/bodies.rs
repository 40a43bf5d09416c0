//! The documented request bodies, and nothing else: a sandbox that accepted more would hide what an adapter sends wrongly.

use axum::body::Bytes;
use serde_json::{Map, Value};

use super::problem::{Code, Problem};
use super::records::Role;

/// The most links that a handoff announces.
const MAX_LINKS: usize = 4;
/// The longest url in a handoff, in bytes.
const MAX_URL: usize = 512;

/// A documented change of a record.
#[derive(Debug)]
pub(super) enum Patch {
    /// `{"state": …, "closure": {…}}`
    State,
    /// `{"evidence": […]}`: all links, the last of them new.
    Evidence,
}

/// Reads a body as JSON.
pub(super) fn json(body: &Bytes) -> Result<Value, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::new(Code::Malformed, format!("the body is not JSON: {error}")))
}

/// Checks the body of a `PATCH`: the role's one state with a marker, or for the tracker evidence links.
pub(super) fn patch(role: Role, body: &Value) -> Result<Patch, Problem> {
    let state = match role {
        Role::Checklist => "Closed",
        Role::Tracker => "Approved",
        Role::Queue => "Cleared",
        Role::Governance | Role::Archive | Role::Intake | Role::FollowUp => {
            return Err(refused("no change of such a record is documented"));
        }
    };
    let fields = object(body, "the body")?;
    if role == Role::Tracker && fields.contains_key("evidence") {
        exact(fields, "the body", &["evidence"], &[])?;
        return evidence(&fields["evidence"]).map(|()| Patch::Evidence);
    }
    exact(fields, "the body", &["state", "closure"], &[])?;
    if fields["state"] != state {
        return Err(refused(format!("state may only be set to {state:?}")));
    }
    marker(&fields["closure"], "closure")?;
    Ok(Patch::State)
}

/// Checks that the links sent are the ones on the record, untouched and in order, and then one more.
pub(super) fn appends_one(before: Option<&Value>, sent: &Value) -> Result<(), Problem> {
    let none = Vec::new();
    let before = before.and_then(Value::as_array).unwrap_or(&none);
    let sent = sent.as_array().unwrap_or(&none);
    match sent.split_last() {
        Some((_, kept)) if kept == before.as_slice() => Ok(()),
        Some(_) | None => {
            Err(refused("evidence must be the links exactly as they were read, in order, then one of yours"))
        }
    }
}

/// Checks the body of a handoff that was sent under this key.
pub(super) fn handoff(key: &str, body: &Value) -> Result<(), Problem> {
    let fields = object(body, "the body")?;
    exact(fields, "the body", &["releaseId", "reviewVersion", "service", "closureKey", "links"], &["coordinator"])?;
    for name in ["releaseId", "reviewVersion", "service", "closureKey", "coordinator"] {
        fields.get(name).map_or(Ok(()), |value| text(value, name))?;
    }
    if fields["closureKey"] != key {
        return Err(refused("closureKey must be the Idempotency-Key"));
    }
    let links = fields["links"].as_array().ok_or_else(|| refused("links must be an array"))?;
    if links.len() > MAX_LINKS {
        return Err(refused(format!("links may have at most {MAX_LINKS} entries")));
    }
    for link in links {
        let link = object(link, "a link")?;
        exact(link, "a link", &["rel", "url"], &[])?;
        text(&link["rel"], "rel")?;
        text(&link["url"], "url")?;
        if link["url"].as_str().is_some_and(|url| url.len() > MAX_URL) {
            return Err(refused(format!("url may have at most {MAX_URL} bytes")));
        }
    }
    Ok(())
}

/// Checks what is told of a halt under this key.
pub(super) fn follow_up(key: &str, body: &Value) -> Result<(), Problem> {
    let fields = object(body, "the body")?;
    let names = ["haltId", "closureKey", "packet", "namespace", "coordinator", "cause", "link"];
    exact(fields, "the body", &names, &[])?;
    for name in names {
        match &fields[name] {
            Value::Null if matches!(name, "coordinator" | "link") => {}
            value => text(value, name)?,
        }
    }
    if fields["haltId"] != key {
        return Err(refused("haltId must be the Idempotency-Key"));
    }
    if fields["link"].as_str().is_some_and(|link| link.len() > MAX_URL) {
        return Err(refused(format!("link may have at most {MAX_URL} bytes")));
    }
    Ok(())
}

/// The last link is the caller's own and has to be complete; the others are other people's, and are compared with the record
/// later, so here they only have to be objects.
fn evidence(links: &Value) -> Result<(), Problem> {
    let links = links.as_array().ok_or_else(|| refused("evidence must be an array"))?;
    for link in links {
        object(link, "an evidence link")?;
    }
    let ours = links.last().ok_or_else(|| refused("evidence must have the link that is attached"))?;
    let ours = object(ours, "an evidence link")?;
    exact(ours, "the last evidence link", &["bundle", "digest", "url", "closure"], &[])?;
    for name in ["bundle", "digest", "url"] {
        text(&ours[name], name)?;
    }
    marker(&ours["closure"], "the last link's closure")
}

fn marker(value: &Value, what: &str) -> Result<(), Problem> {
    let fields = object(value, what)?;
    exact(fields, what, &["key", "uid"], &[])?;
    text(&fields["key"], "key")?;
    text(&fields["uid"], "uid")
}

fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, Problem> {
    value.as_object().ok_or_else(|| refused(format!("{what} must be an object")))
}

/// Exactly these keys: all of `required`, perhaps some of `optional`, and no other.
fn exact(fields: &Map<String, Value>, what: &str, required: &[&str], optional: &[&str]) -> Result<(), Problem> {
    if let Some(missing) = required.iter().find(|name| !fields.contains_key(**name)) {
        return Err(refused(format!("{what} lacks {missing:?}")));
    }
    match fields.keys().find(|name| !required.contains(&name.as_str()) && !optional.contains(&name.as_str())) {
        Some(extra) => Err(refused(format!("{what} has {extra:?}, which is not documented"))),
        None => Ok(()),
    }
}

fn text(value: &Value, what: &str) -> Result<(), Problem> {
    match value.as_str() {
        Some(text) if !text.is_empty() => Ok(()),
        Some(_) | None => Err(refused(format!("{what} must be a text that is not empty"))),
    }
}

fn refused(detail: impl Into<String>) -> Problem {
    Problem::new(Code::NotDocumented, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_documented_changes_pass() {
        let closure = json!({"key": "k", "uid": "u"});
        let link = json!({"bundle": "b", "digest": "d", "url": "https://a/b", "closure": closure});
        for (role, state) in [(Role::Checklist, "Closed"), (Role::Tracker, "Approved"), (Role::Queue, "Cleared")] {
            assert!(patch(role, &json!({"state": state, "closure": closure})).is_ok(), "{role}");
            for body in [
                json!({"state": state}),
                json!({"closure": closure}),
                json!({"state": state, "closure": null}),
                json!({"state": state, "closure": {"key": "k"}}),
                json!({"state": state, "closure": {"key": "k", "uid": ""}}),
                json!({"state": state, "closure": {"key": "k", "uid": "u", "by": "me"}}),
                json!({"state": state, "closure": closure, "title": "x"}),
                json!({"state": "Deployed", "closure": closure}),
                json!({"state": state, "closure": closure, "evidence": [link]}),
                json!([]),
                json!({}),
            ] {
                assert!(patch(role, &body).is_err(), "{role} {body}");
            }
        }
        assert!(matches!(patch(Role::Tracker, &json!({"evidence": [{"any": 1}, link]})), Ok(Patch::Evidence)));
        assert!(patch(Role::Tracker, &json!({"evidence": []})).is_err());
        assert!(patch(Role::Tracker, &json!({"evidence": [{"any": 1}]})).is_err());
        assert!(patch(Role::Checklist, &json!({"evidence": [link]})).is_err());
        assert!(patch(Role::Governance, &json!({"state": "Closed", "closure": closure})).is_err());
    }

    #[test]
    fn a_handoff_has_its_keys_and_no_other() {
        let body = json!({"releaseId": "r", "reviewVersion": "1", "service": "s", "closureKey": "k", "coordinator": "c",
            "links": [{"rel": "evidence", "url": "https://a/b"}]});
        assert!(handoff("k", &body).is_ok());
        let without = |name: &str| {
            let mut body = body.clone();
            body.as_object_mut().and_then(|fields| fields.remove(name));
            body
        };
        assert!(handoff("k", &without("coordinator")).is_ok());
        for name in ["releaseId", "reviewVersion", "service", "closureKey", "links"] {
            assert!(handoff("k", &without(name)).is_err(), "{name}");
        }
        assert!(handoff("another", &body).is_err());
        for change in [
            json!({"note": "free text"}),
            json!({"links": [{"rel": "evidence"}]}),
            json!({"links": [{"rel": "a", "url": "u", "title": "t"}]}),
            json!({"links": vec![json!({"rel": "a", "url": "u"}); 5]}),
            json!({"links": [{"rel": "a", "url": "u".repeat(513)}]}),
            json!({"coordinator": 3}),
        ] {
            let mut body = body.clone();
            super::super::records::merge(&mut body, &change);
            assert!(handoff("k", &body).is_err(), "{change}");
        }
    }
}
