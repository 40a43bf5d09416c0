use super::*;
use crate::closure::accepted::{OpenItems, Recheck};
use serde_json::{Value, json};

#[test]
fn durations_are_read_as_go_reads_them() {
    let milliseconds = |text| duration("x", text).ok().map(|duration| duration.as_millis());
    for (text, expected) in [
        ("0s", 0),
        ("1ms", 1),
        ("100ms", 100),
        ("10s", 10_000),
        ("1.5s", 1_500),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("0.0000001h", 0),
        ("1m1ms", 60_001),
        ("2562047h", 9_223_369_200_000),
    ] {
        assert_eq!(milliseconds(text), Some(expected), "{text}");
    }
    for bad in [
        "",
        "s",
        "1",
        "-1s",
        "+1s",
        "1 s",
        "1d",
        "1us",
        ".5s",
        "1.s",
        "1S",
        "１s",
        "9999999999999h",
        "1s1s1s1s1s1s1s1s1s",
    ] {
        let error = duration("policy.retry.max", bad).expect_err(bad);
        assert_eq!(error.field, "policy.retry.max");
        assert!(error.to_string().starts_with("policy.retry.max must be a duration such as 500ms"), "{error}");
    }
}

fn playbook_with(pointer: &str, value: Value) -> Result<Playbook, Invalid> {
    let mut spec = json!({
        "governance": {"connectionRef": {"name": "g"}, "acceptedStates": ["Accepted"]},
        "archive": {"connectionRef": {"name": "a"}, "requiredArtifacts": ["sign-off"]},
        "checklist": {"connectionRef": {"name": "c"}},
        "tracker": {"connectionRef": {"name": "t"}, "approvedState": "Approved", "approvableStates": ["InReview"]},
        "queue": {"connectionRef": {"name": "q"}},
        "intake": {"connectionRef": {"name": "i"}},
        "services": [],
        "policy": {"missingGracePeriod": "0s", "retry": {"initial": "1s", "max": "5m"}}
    });
    if !pointer.is_empty() {
        *spec.pointer_mut(pointer).expect("a field of the example") = value;
    }
    playbook(&serde_json::from_value(spec).expect("a playbook"))
}

#[test]
fn a_playbook_is_read_as_a_whole() {
    let playbook = playbook_with("", Value::Null).expect("the example is valid");
    assert_eq!(System::ALL.map(|system| playbook.connection(system).name.clone()), ["g", "a", "c", "t", "q", "i"]);
    assert_eq!(playbook.retry, Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(300) });
    assert_eq!((playbook.rules.open_items, playbook.rules.recheck), (OpenItems::Halt, Recheck::EveryWrite));
    assert!(playbook.allows_service("payments"));
    let playbook = playbook_with("/services", json!(["payments"])).expect("a list of services is valid");
    assert!(playbook.allows_service("payments") && !playbook.allows_service("payment"));
}

#[test]
fn a_playbook_that_says_nothing_or_nonsense_is_refused() {
    for (pointer, value, field) in [
        ("/governance/acceptedStates", json!([]), "governance.acceptedStates"),
        ("/governance/acceptedStates", json!([""]), "governance.acceptedStates"),
        ("/archive/requiredArtifacts", json!([]), "archive.requiredArtifacts"),
        ("/tracker/approvableStates", json!([]), "tracker.approvableStates"),
        ("/tracker/approvedState", json!(""), "tracker.approvedState"),
        ("/services", json!(["a/b"]), "services"),
        ("/policy/missingGracePeriod", json!("25h"), "policy.missingGracePeriod"),
        ("/policy/missingGracePeriod", json!("soon"), "policy.missingGracePeriod"),
        ("/policy/retry/initial", json!("99ms"), "policy.retry.initial"),
        ("/policy/retry/initial", json!("6m"), "policy.retry.initial"),
        ("/policy/retry/max", json!("61m"), "policy.retry.max"),
    ] {
        assert_eq!(playbook_with(pointer, value.clone()).expect_err(field).field, field, "{pointer} = {value}");
    }
}

#[test]
fn limits_are_within_their_bounds() {
    let parsed = limits(&Limits::default()).expect("the defaults are valid");
    let expected = ParsedLimits { requests_per_second: 20, concurrency: 8, timeout: Duration::from_secs(10) };
    assert_eq!(parsed, expected);
    for (bad, field) in [
        (Limits { requests_per_second: 0, ..Limits::default() }, "limits.requestsPerSecond"),
        (Limits { concurrency: 65, ..Limits::default() }, "limits.concurrency"),
        (Limits { timeout: "999ms".to_owned(), ..Limits::default() }, "limits.timeout"),
        (Limits { timeout: "61s".to_owned(), ..Limits::default() }, "limits.timeout"),
    ] {
        assert_eq!(limits(&bad).expect_err(field).field, field);
    }
}

#[test]
fn a_closure_is_checked_even_where_no_schema_did() {
    let spec = |release: &str| -> ReleaseClosureSpec {
        serde_json::from_value(json!({
            "playbookRef": {"name": "p"},
            "release": {"id": release, "service": "payments", "version": "1"},
            "review": {"id": "RR-1", "version": "3", "acceptedEvent": {"id": "e"}},
            "milestone": {"id": "12", "title": "2026.11"},
            "evidence": {"bundle": "a/b", "digest": format!("sha256:{}", "0".repeat(64))}
        }))
        .expect("a closure")
    };
    let read = accepted(&spec("r1")).expect("the example is valid");
    assert_eq!((read.key().as_str(), read.record(System::Tracker)), ("r1@RR-1@3", None));
    assert_eq!(accepted(&spec("../r1")).expect_err("leaves its segment").field, "release.id");
}

#[test]
fn a_token_is_echoed_up_to_its_bound() {
    let mut object = super::super::ReleaseClosure::new(
        "x",
        serde_json::from_value(json!({
            "playbookRef": {"name": "p"},
            "release": {"id": "r", "service": "s", "version": "1"},
            "review": {"id": "RR-1", "version": "3", "acceptedEvent": {"id": "e"}},
            "milestone": {"id": "12", "title": "t"},
            "evidence": {"bundle": "a", "digest": "d"}
        }))
        .expect("a closure"),
    );
    assert_eq!(requested_at(&object), None);
    object.annotations_mut().insert(REQUESTED_AT.to_owned(), "é".repeat(300));
    assert_eq!(requested_at(&object).map(|token| token.chars().count()), Some(REQUESTED_AT_MAX));
}
