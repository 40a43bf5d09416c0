//! A clean closure: what it costs, what it leaves behind, and that nothing happens afterwards.

use crate::stage::{Setup, Stage, condition, is_true, outcomes};
use releaseclosure::sandbox::{self, Role};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

const READS: [&str; 5] = ["governance", "archive", "checklist", "tracker", "queue"];

#[tokio::test]
async fn it_takes_fifteen_requests_in_the_designed_order_and_none_afterwards() {
    let stage = Stage::new("clean-every-write").await;
    let name = stage.start().await;
    let closure = stage.closed(&name).await;
    let requests = stage.requests();
    let first: BTreeSet<String> =
        requests[..5].iter().map(|request| request.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(first, READS.map(str::to_owned).into());
    let kinds: Vec<String> =
        requests[5..].iter().map(|request| request.rsplit_once(' ').unwrap().0.to_owned()).collect();
    let mut expected = vec![
        "PATCH checklist",
        "GET governance",
        "PATCH tracker",
        "GET governance",
        "PATCH tracker",
        "GET governance",
        "GET archive",
        "PATCH queue",
        "GET governance",
        "POST intake",
    ];
    // The two looks before the queue entry is cleared go out together.
    if kinds[5] == "GET archive" {
        expected.swap(5, 6);
    }
    assert_eq!(kinds, expected);
    assert_eq!(requests.len(), 15);

    assert_eq!(outcomes(&closure), ["Changed"; 5]);
    for kind in [
        "Ready",
        "SourceAccepted",
        "Aligned",
        "ChecklistClosed",
        "TrackerApproved",
        "EvidenceAttached",
        "QueueEntryCleared",
        "CoordinatorNotified",
    ] {
        assert!(is_true(&closure, kind), "{kind}: {:?}", condition(&closure, kind));
    }
    assert!(condition(&closure, "Reconciling").is_none() && condition(&closure, "Stalled").is_none());
    stage.quiet(Duration::from_secs(3)).await;
}

#[tokio::test]
async fn close_and_clear_takes_thirteen() {
    let policy = json!({"recheck": "CloseAndClear"});
    let stage = Stage::with("clean-close-and-clear", Setup { policy, ..Setup::default() }).await;
    let name = stage.start().await;
    stage.closed(&name).await;
    assert_eq!(stage.requests().len(), 13, "{:?}", stage.requests());
    assert_eq!(stage.count("GET", "governance"), 3);
}

#[tokio::test]
async fn the_handoff_has_exactly_the_designed_keys() {
    let stage = Stage::new("clean-handoff").await;
    let name = stage.start().await;
    stage.closed(&name).await;
    let deliveries = stage.sandbox().deliveries();
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].key, "load-00001@RR-load-00001@1");
    assert_eq!(
        deliveries[0].handoff,
        json!({"releaseId": "load-00001", "reviewVersion": "1", "service": "load",
            "closureKey": "load-00001@RR-load-00001@1", "coordinator": "release-coordinators",
            "links": [{"rel": "evidence", "url": "https://archive.example.com/load/00001/rv1"}]})
    );
    let tracker = stage.record(Role::Tracker, "REL-00001");
    assert_eq!(tracker["state"], "Approved");
    assert_eq!(tracker["evidence"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn records_are_looked_up_where_the_spec_names_none() {
    let stage = Stage::with("clean-look-up", Setup { seed: sandbox::generate(1), ..Setup::default() }).await;
    let mut closure = stage.closure(1);
    closure["spec"].as_object_mut().unwrap().remove("records");
    let name = stage.create(&closure).await;
    let closure = stage.closed(&name).await;
    assert_eq!(stage.requests().len(), 18, "{:?}", stage.requests());
    let records: Vec<_> = closure.status.unwrap().steps.into_iter().map(|step| step.record.unwrap()).collect();
    assert_eq!(records[..4], ["CHK-00001", "REL-00001", "REL-00001", "Q-00001"]);
}
