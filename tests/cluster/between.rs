//! What changes between two requests: whatever is looked at again before a write stops it, and all that come after it.
//!
//! A person's edit follows a request of the operator as closely as can be: it is made when the request has been served,
//! before its caller has the reply. All releases of a test are worked on at once.

#[path = "between/rows.rs"]
mod rows;

use crate::releases::{self, Edit, Release};
use crate::stage::{Setup, Stage, condition, outcomes, ready};
use rows::{After, Row};
use serde_json::json;
use std::time::Duration;

const STEPS: [&str; 5] = ["CloseChecklist", "ApproveTracker", "AttachEvidence", "ClearQueueEntry", "NotifyCoordinator"];

#[tokio::test]
async fn a_change_after_any_write_stops_every_later_write_before_which_it_is_looked_at_again() {
    play("between-every-write", "EveryWrite", rows::every_write()).await;
}

#[tokio::test]
async fn close_and_clear_looks_at_the_source_again_before_clearing_and_announcing_only() {
    play("between-close-and-clear", "CloseAndClear", rows::close_and_clear()).await;
}

async fn play(namespace: &str, recheck: &str, rows: Vec<Row>) {
    let policy = json!({"recheck": recheck, "retry": {"initial": "200ms", "max": "2s"}});
    let seed = releases::seed(rows.len());
    let stage = Stage::with(namespace, Setup { seed, policy, ..Setup::default() }).await;
    let releases: Vec<Release> = (1..=rows.len()).map(Release).collect();
    for (row, release) in rows.iter().zip(&releases) {
        row.before.iter().for_each(|edit| release.apply(&stage, edit));
        arm(&stage, *release, row);
    }
    for release in &releases {
        stage.create(&release.closure(&stage)).await;
    }
    for (row, release) in rows.iter().zip(&releases) {
        check(&stage, *release, row).await;
    }
    let closed = rows.iter().filter(|row| row.found.is_empty()).count();
    assert_eq!(stage.sandbox().deliveries().len(), closed, "a handoff of a halted closure");
    stage.quiet(Duration::from_secs(2)).await;
}

/// Sets the rule by which a person edits right after the request.
fn arm(stage: &Stage, release: Release, row: &Row) {
    let After { method, role, field, nth } = row.after;
    let mut matches = json!({"role": role.name(), "method": method, "record": release.record(role), "nth": nth});
    if let Some(field) = field {
        matches["field"] = json!(field);
    }
    let edit = match &row.edit {
        Edit::Patch(role, patch) => {
            json!({"role": role.name(), "record": release.record(*role), "patch": release.fill_in(patch)})
        }
        Edit::Remove(role) => json!({"role": role.name(), "record": release.record(*role), "delete": true}),
        Edit::Copy(..) | Edit::Set(..) => unreachable!("a rule has no such edit"),
    };
    stage.fault(json!({"match": matches, "action": {"edit": edit}}));
}

async fn check(stage: &Stage, release: Release, row: &Row) {
    let what = row.what();
    let expected: Vec<&str> = STEPS
        .into_iter()
        .map(|step| match step {
            _ if row.changes.contains(&step) => "Changed",
            _ if row.already.contains(&step) => "AlreadyDone",
            _ => "Pending",
        })
        .collect();
    let closure = if row.found.is_empty() {
        stage.closed(&release.name()).await
    } else {
        let (closure, packet) = stage.halted(&release.name()).await;
        let found = packet
            .spec
            .findings
            .iter()
            .map(|finding| format!("{:?} {} {} {}", finding.check, finding.reason, finding.system, finding.field));
        assert_eq!(found.collect::<Vec<_>>(), row.found, "{what}");
        let reason = row.found[0].split(' ').nth(1).unwrap().to_owned();
        assert_eq!(packet.spec.cause.as_str(), reason, "{what}");
        assert_eq!(ready(&closure), ("False".to_owned(), reason.clone()), "{what}");
        assert_eq!(condition(&closure, "Stalled"), Some(("True".to_owned(), reason)), "{what}");
        assert_eq!(release.deliveries(stage), 0, "{what}");
        let told: Vec<_> = packet.spec.steps.iter().map(|step| step.outcome.as_str()).collect();
        assert_eq!(told, expected, "{what}: what the packet says of the steps");
        closure
    };
    assert_eq!(release.changes(stage), row.changes, "{what}: what was changed");
    assert_eq!(outcomes(&closure), expected, "{what}");
    let done = expected.iter().filter(|outcome| **outcome != "Pending").count();
    assert_eq!(closure.status.unwrap().progress, Some(format!("{done}/5")), "{what}");
}
