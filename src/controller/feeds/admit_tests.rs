//! What is made of a record, and under which name.

use super::*;
use crate::api::release_closure::{Mode, PlaybookKind};
use crate::closure::snapshot::{MilestoneRef, ReleaseRef};

fn record() -> ReviewRecord {
    ReviewRecord {
        id: "RR-4711".to_owned(),
        version: "3".to_owned(),
        state: "Accepted".to_owned(),
        release: ReleaseRef {
            id: "payments-2026.11.3".to_owned(),
            service: Some("payments".to_owned()),
            version: Some("2026.11.3".to_owned()),
        },
        milestone: Some(MilestoneRef { id: "12".to_owned(), title: "2026.11".to_owned() }),
        evidence: Some(("payments/rv3".to_owned(), format!("sha256:{}", "a".repeat(64)))),
        accepted_event: Some("evt-1".to_owned()),
    }
}

fn mirrored(record: ReviewRecord) -> Result<ReleaseClosureSpec, String> {
    let playbook = PlaybookRef { kind: PlaybookKind::ClosurePlaybook, name: "engineering".to_owned() };
    let template = Template { mode: Mode::Plan, coordinator: Some("release-coordinators".to_owned()) };
    mirror(&For { namespace: "n", feed: "f", playbook: &playbook, template: &template, made_by: None }, record)
}

#[test]
fn a_closure_says_what_the_record_says() {
    let spec = serde_json::to_value(mirrored(record()).unwrap()).unwrap();
    assert_eq!(
        spec,
        serde_json::json!({
            "playbookRef": {"kind": "ClosurePlaybook", "name": "engineering"},
            "release": {"id": "payments-2026.11.3", "service": "payments", "version": "2026.11.3"},
            "review": {"id": "RR-4711", "version": "3", "acceptedEvent": {"id": "evt-1"}},
            "milestone": {"id": "12", "title": "2026.11"},
            "evidence": {"bundle": "payments/rv3", "digest": format!("sha256:{}", "a".repeat(64))},
            "coordinator": "release-coordinators", "mode": "Plan", "suspend": false,
        })
    );
    let nameless = mirrored(ReviewRecord { accepted_event: None, ..record() }).unwrap();
    assert_eq!(nameless.review.accepted_event.id, "RR-4711:3");
}

type Take = fn(&mut ReviewRecord);

#[test]
fn a_record_that_lacks_something_makes_no_closure_and_it_is_said_what() {
    let lacking: [(&str, Take); 8] = [
        ("lacks release.service.", |record| record.release.service = None),
        ("lacks release.version.", |record| record.release.version = None),
        ("lacks milestone.", |record| record.milestone = None),
        ("lacks milestone.", |record| record.milestone = Some(MilestoneRef::none())),
        ("lacks evidence.", |record| record.evidence = None),
        ("lacks release.service, evidence.", |record| (record.release.service, record.evidence) = (None, None)),
        ("evidence.digest must", |record| record.evidence = Some(("b".to_owned(), "md5:1".to_owned()))),
        ("release.id must", |record| record.release.id = "a b".to_owned()),
    ];
    for (what, take) in lacking {
        let mut record = record();
        take(&mut record);
        let why = mirrored(record).expect_err(what);
        assert!(why.contains(what), "{why}");
    }
}

#[test]
fn a_name_follows_from_the_closure_key_and_from_nothing_else() {
    let name = |release: &str, review: &str, version: &str| {
        let mut record = record();
        record.release.id = release.to_owned();
        record.id = review.to_owned();
        record.version = version.to_owned();
        let spec = mirrored(record).unwrap();
        let key = ClosureKey::new(&spec.release.id, &spec.review.id, &spec.review.version);
        name_of(&spec, &key)
    };
    assert_eq!(name("payments-2026.11.3", "RR-4711", "3"), name("payments-2026.11.3", "RR-4711", "3"));
    let long = "x.".repeat(60);
    let names = [
        name("payments-2026.11.3", "RR-4711", "3"),
        name("payments-2026.11.3", "RR-4711", "4"),
        name("payments-2026.11.3", "RR-4712", "3"),
        name("PAYMENTS-2026.11.3", "RR-4711", "3"),
        name("payments-2026-11-3", "RR-4711", "3"),
        name("...", "!", "?"),
        name(&long, "1", "1"),
    ];
    assert!(names[0].starts_with("payments-2026-11-3-3-"), "{}", names[0]);
    for (position, name) in names.iter().enumerate() {
        assert!(!names[..position].contains(name), "{name}");
        let label = |label: &str| {
            let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            label.bytes().all(inside) && !label.starts_with('-') && !label.ends_with('-')
        };
        assert!(label(name) && name.len() <= READABLE_MAX + 21, "{name}");
    }
}

#[test]
fn ids_stay_values_in_a_selector() {
    assert_eq!(escaped("a,b=c\\d"), r"a\,b\=c\\d");
}
