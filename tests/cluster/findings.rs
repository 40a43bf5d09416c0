//! Every compared field of every system, one mutation each: a halt before any write, for the designed reason, with a
//! packet that says exactly what disagrees.
//!
//! All releases are on one stage and their closures are worked on at once, so a value of a neighbour would show.

#[path = "findings/rows.rs"]
mod rows;

use crate::releases::{self, Edit, Release};
use crate::stage::{Setup, Stage, condition, is_true, outcomes, ready};
use kube::ResourceExt;
use releaseclosure::api::{FollowUpPacket, ReleaseClosure};
use releaseclosure::sandbox::Role;
use rows::Row;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

#[tokio::test]
async fn every_mutation_of_every_compared_field_halts_before_any_write_and_says_what_disagrees() {
    let rows = rows::rows();
    let stage = Stage::with("findings", Setup { seed: releases::seed(rows.len()), ..Setup::default() }).await;
    let releases: Vec<Release> = (1..=rows.len()).map(Release).collect();
    let mut closures = Vec::new();
    for (row, release) in rows.iter().zip(&releases) {
        let mut closure = release.closure(&stage);
        if row.look_up {
            closure["spec"].as_object_mut().unwrap().remove("records");
        }
        closures.push(closure);
        row.edits.iter().for_each(|edit| release.apply(&stage, edit));
    }
    for closure in &closures {
        stage.create(closure).await;
    }
    for (row, release) in rows.iter().zip(&releases) {
        if row.found.is_empty() {
            let closure = stage.closed(&release.name()).await;
            assert_eq!(outcomes(&closure), ["Changed"; 5], "{}", row.what);
            assert_eq!(release.deliveries(&stage), 1, "{}", row.what);
        } else {
            let (closure, packet) = stage.halted(&release.name()).await;
            check_status(row, &closure);
            check_packet(row, *release, &stage, &closure, &packet);
            check_requests(row, *release, &stage);
        }
    }
    let halted = rows.iter().filter(|row| !row.found.is_empty()).count();
    assert_eq!(stage.all_packets().await.len(), halted);
    assert_eq!(stage.sandbox().deliveries().len(), rows.len() - halted);
    stage.quiet(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn what_the_playbook_allows_is_no_finding() {
    let stage = Stage::with("findings-allowed", Setup { seed: releases::seed(3), ..Setup::default() }).await;
    let rules = json!({
        "governance": {"acceptedStates": ["Accepted", "AcceptedWithNotes"]},
        "archive": {"requiredArtifacts": ["sign-off"]},
        "checklist": {"openItems": "Allow"},
        "tracker": {"approvableStates": ["InReview", "Testing"]},
    });
    stage.patch_spec("closureplaybook", "engineering-release", rules).await;
    stage.judged("closureplaybook", "engineering-release").await;
    let item = |done: bool| json!({"id": "rollback", "title": "x", "done": done});
    let sign_off = json!({"name": "s", "kind": "sign-off", "digest": "sha256:1", "url": "{url}/s"});
    for edit in [
        Edit::Patch(Role::Governance, json!({"state": "AcceptedWithNotes"})),
        Edit::Patch(Role::Archive, json!({"artifacts": [sign_off]})),
        Edit::Patch(Role::Checklist, json!({"items": [item(false), item(true)]})),
        Edit::Patch(Role::Tracker, json!({"state": "Testing"})),
    ] {
        Release(1).apply(&stage, &edit);
    }
    // What is not in the lists is a finding still.
    Release(2).apply(&stage, &Edit::Patch(Role::Governance, json!({"state": "Noted"})));
    Release(3).apply(&stage, &Edit::Patch(Role::Archive, json!({"artifacts": []})));
    for number in 1..=3 {
        stage.create(&Release(number).closure(&stage)).await;
    }
    assert_eq!(outcomes(&stage.closed(&Release(1).name()).await), ["Changed"; 5]);
    for (number, expected) in [(2, "Accepted or AcceptedWithNotes"), (3, "sign-off")] {
        let (_, packet) = stage.halted(&Release(number).name()).await;
        let found: Vec<_> = packet.spec.findings.iter().map(|finding| finding.expected.as_str()).collect();
        assert_eq!(found, [expected]);
    }
}

#[tokio::test]
async fn a_packet_holds_twenty_four_findings_and_counts_the_rest() {
    let stage = Stage::with("findings-many", Setup { seed: releases::seed(1), ..Setup::default() }).await;
    let release = Release(1);
    let link = |number: usize| {
        json!({"bundle": "load/{n}/rv1", "digest": format!("sha256:{number}"), "url": format!("{{url}}/{number}"),
            "closure": null})
    };
    let links: Vec<Value> = (0..20).map(link).collect();
    release.apply(&stage, &Edit::Patch(Role::Tracker, json!({"evidence": links})));
    let name = stage.create(&release.closure(&stage)).await;
    let (closure, packet) = stage.halted(&name).await;
    let halt = closure.status.unwrap().halt.unwrap();
    assert_eq!((halt.findings.len(), halt.findings_omitted), (24, Some(16)));
    assert_eq!((packet.spec.findings, packet.spec.findings_omitted), (halt.findings, Some(16)));
    assert!(stage.writes().is_empty(), "{:?}", stage.writes());
}

/// What the row says must be found, with this release's own values, cut as a packet cuts them.
fn expected(row: &Row, release: Release) -> Vec<Value> {
    let cut = |finding: &Value| {
        let mut finding = release.fill_in(finding);
        for field in ["expected", "observed"] {
            finding[field] = finding[field].as_str().unwrap().chars().take(128).collect::<String>().into();
        }
        finding
    };
    row.found.iter().map(cut).collect()
}

fn check_status(row: &Row, closure: &ReleaseClosure) {
    let what = &row.what;
    let reason = row.found[0]["reason"].as_str().unwrap().to_owned();
    assert_eq!(ready(closure), ("False".to_owned(), reason.clone()), "{what}");
    assert_eq!(condition(closure, "Stalled"), Some(("True".to_owned(), reason)), "{what}");
    assert_eq!(condition(closure, "Reconciling"), None, "{what}");
    assert!(!is_true(closure, "Aligned") && !is_true(closure, "CoordinatorNotified"), "{what}");
    let source = match &row.edits[0] {
        Edit::Remove(Role::Governance) => "Unknown",
        _ if row.found[0]["check"] == "C1" => "False",
        _ => "True",
    };
    assert_eq!(condition(closure, "SourceAccepted").unwrap().0, source, "{what}");
    let status = closure.status.as_ref().unwrap();
    assert_eq!(status.observed_generation, closure.metadata.generation.unwrap(), "{what}");
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == closure.metadata.generation));
    assert!(status.completion_time.is_none() && status.trace.is_none() && status.retry.is_none(), "{what}");
    assert_eq!(outcomes(closure), ["Pending"; 5], "{what}");
}

fn check_packet(row: &Row, release: Release, stage: &Stage, closure: &ReleaseClosure, packet: &FollowUpPacket) {
    let what = &row.what;
    let halt = closure.status.as_ref().unwrap().halt.as_ref().unwrap();
    let spec = serde_json::to_value(&packet.spec).unwrap();
    assert_eq!(spec["findings"], json!(expected(row, release)), "{what}");
    assert_eq!(spec["findings"], serde_json::to_value(&halt.findings).unwrap(), "{what}");
    assert_eq!(spec["cause"], row.found[0]["reason"], "{what}");
    assert_eq!(spec["haltId"], halt.id.as_str(), "{what}");
    assert_eq!(spec["closureKey"], release.key(), "{what}");
    assert_eq!(spec["closureRef"], json!({"name": release.name(), "uid": closure.uid().unwrap()}), "{what}");
    let asked = serde_json::to_value(&closure.spec).unwrap();
    for field in ["release", "review", "milestone", "evidence", "coordinator"] {
        assert_eq!(spec[field], asked[field], "{what}: {field}");
    }
    assert_eq!(spec["resolution"], json!(null), "{what}");
    let steps: Vec<_> = packet.spec.steps.iter().map(|step| (step.name.as_str(), step.outcome.as_str())).collect();
    let names = ["CloseChecklist", "ApproveTracker", "AttachEvidence", "ClearQueueEntry", "NotifyCoordinator"];
    assert_eq!(steps, names.map(|name| (name, "Pending")), "{what}");

    let instructions = &packet.spec.instructions;
    let reasons: BTreeSet<_> = row.found.iter().map(|finding| finding["reason"].as_str().unwrap()).collect();
    assert_eq!(instructions.len(), reasons.len() + 2, "{what}: {instructions:?}");
    assert!(instructions.iter().all(|line| !line.trim().is_empty()), "{what}: {instructions:?}");
    let resume = format!("kubectl releaseclosure resume -n {} {} --halt {}", stage.namespace, release.name(), halt.id);
    assert_eq!(instructions.last(), Some(&resume), "{what}");
}

/// Each of the five was asked, nothing was changed, nothing was announced.
fn check_requests(row: &Row, release: Release, stage: &Stage) {
    let what = &row.what;
    let requests = release.requests(stage);
    assert!(requests.iter().all(|request| request.method == "GET" && !request.applied), "{what}: {requests:?}");
    let roles: BTreeSet<_> = requests.iter().filter_map(|request| request.role).collect();
    let five = [Role::Governance, Role::Archive, Role::Checklist, Role::Tracker, Role::Queue];
    assert_eq!(roles, five.into(), "{what}");
    assert_eq!(requests.len(), row.reads, "{what}: {requests:?}");
    assert_eq!(release.deliveries(stage), 0, "{what}");
}
