//! What traces tell of a request, and what a request tells of traces.

use super::server::{Act, Server, json, problem, reply};
use super::*;
use crate::closure::snapshot::Observation;
use crate::spans::spans_during;
use opentelemetry::trace::Status;
use std::collections::BTreeSet;

async fn read(server: &Server) -> Observation<crate::closure::snapshot::TrackerRecord> {
    connected(server).tracker.unwrap().release(subject(Some("REL-1")), None).await
}

/// Names and values of what is told of a request, but for its connection.
fn told(span: &opentelemetry_sdk::trace::SpanData) -> Vec<String> {
    let all = span.attributes.iter().filter(|attribute| {
        !["k8s.namespace.name", "releaseclosure.connection", "network.protocol.name"].contains(&attribute.key.as_str())
    });
    all.map(|attribute| format!("{}={}", attribute.key, attribute.value)).collect()
}

#[tokio::test]
async fn a_request_is_told_by_its_row_and_by_what_came() {
    let limited: Act = reply(429, "application/problem+json", "retry-after: 7\r\n", r#"{"type":"about:blank"}"#);
    for (act, outcome, status, more) in [
        (json(RELEASE), "success", Some(200), vec![]),
        (problem(404), "answered", Some(404), vec!["error.type=404"]),
        (limited, "too_many_requests", Some(429), vec!["releaseclosure.retry_after=7", "error.type=429"]),
        (json("words of a system"), "not_understood", Some(200), vec!["error.type=not_understood"]),
        (Act::Close, "unavailable", None, vec!["error.type=unavailable"]),
    ] {
        let server = Server::always(act).await;
        let (_, spans) = spans_during(read(&server)).await;
        let [span] = &spans[..] else { panic!("{outcome}: {spans:#?}") };
        let mut expected = vec![
            "releaseclosure.provider=http".to_owned(),
            "releaseclosure.role=tracker".to_owned(),
            "http.request.method=GET".to_owned(),
            "url.template=/releases/{id}".to_owned(),
        ];
        expected.extend(status.map(|status| format!("http.response.status_code={status}")));
        expected.push(format!("releaseclosure.outcome={outcome}"));
        expected.extend(more.iter().map(|word| (*word).to_owned()));
        assert_eq!(told(span), expected);
        assert_eq!(span.status != Status::Unset, !more.is_empty(), "{outcome}");
        let all = format!("{spans:?}");
        for foreign in ["REL-1", TOKEN, "words of a system", "127.0.0.1"] {
            assert!(!all.contains(foreign), "{outcome}: {foreign} is told");
        }
    }
}

/// What goes out is what the allow-list says: no context of a trace is sent along.
#[tokio::test]
async fn a_request_carries_no_context() {
    let server = Server::always(json(RELEASE)).await;
    let (_, spans) = spans_during(read(&server)).await;
    assert_eq!(spans.len(), 1, "somebody listens");
    let seen = server.seen();
    let names: BTreeSet<String> =
        seen[0].head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase())).collect();
    let expected = ["accept", "accept-encoding", "authorization", "host", "user-agent"];
    assert_eq!(names, expected.map(str::to_owned).into());
}
