//! The tables: after which request what changes, which writes had been made by the halt, and what it found.

use crate::releases::{Edit, OTHER_DIGEST};
use releaseclosure::sandbox::Role::{self, Archive, Checklist, Governance, Queue, Tracker};
use serde_json::{Value, json};

/// One change between two requests.
pub struct Row {
    /// What people had done before the closure began.
    pub before: Vec<Edit>,
    /// The request after which the change comes.
    pub after: After,
    pub edit: Edit,
    /// The writes that were made, in order.
    pub changes: Vec<&'static str>,
    /// The steps that were found done.
    pub already: Vec<&'static str>,
    /// The findings, as check, reason, system and field; none: it closes.
    pub found: Vec<&'static str>,
}

/// A request: the nth of its kind.
#[derive(Clone, Copy)]
pub struct After {
    pub method: &'static str,
    pub role: Role,
    pub field: Option<&'static str>,
    pub nth: u64,
}

impl Row {
    pub fn what(&self) -> String {
        let After { method, role, field, nth } = self.after;
        let edit = match &self.edit {
            Edit::Patch(role, patch) => format!("{role} {patch}"),
            Edit::Remove(role) => format!("{role} is gone"),
            Edit::Set(role, field, value) => format!("{role} {field} {value}"),
            Edit::Copy(role, _) => format!("{role} is there twice"),
        };
        format!("after {method} {role} {} number {nth}: {edit}", field.unwrap_or_default())
    }
}

const CHANGES: [&str; 5] =
    ["CloseChecklist", "ApproveTracker", "AttachEvidence", "ClearQueueEntry", "NotifyCoordinator"];

/// The four writes to records, in their order.
const WRITES: [(Role, &str); 4] = [(Checklist, "state"), (Tracker, "state"), (Tracker, "evidence"), (Queue, "state")];

fn after_write(index: usize) -> After {
    let (role, field) = WRITES[index];
    After { method: "PATCH", role, field: Some(field), nth: 1 }
}

fn after_read(role: Role, nth: u64) -> After {
    After { method: "GET", role, field: None, nth }
}

/// A change, after which the first so many writes are made.
fn row(after: After, edit: Edit, changes: usize, found: &[&'static str]) -> Row {
    let changes = CHANGES[..changes].to_vec();
    Row { before: Vec::new(), after, edit, changes, already: Vec::new(), found: found.to_vec() }
}

/// Each with what it is found as.
fn source_changes() -> Vec<(Edit, &'static str)> {
    let patch = |patch: Value| Edit::Patch(Governance, patch);
    vec![
        (patch(json!({"state": "Reopened"})), "C1 SourceNotAccepted governance state"),
        (patch(json!({"version": "{v}0"})), "C2 ReviewVersionConflict governance version"),
        (patch(json!({"release": {"id": "load-99999"}})), "C3 ReleaseMismatch governance release.id"),
        (patch(json!({"release": {"service": "other"}})), "C3 ReleaseMismatch governance release.service"),
        (patch(json!({"release": {"version": "9"}})), "C3 ReleaseMismatch governance release.version"),
        (patch(json!({"milestone": {"id": "m-99999"}})), "C4 MilestoneMismatch governance milestone.id"),
        (patch(json!({"milestone": {"title": "M 0"}})), "C4 MilestoneMismatch governance milestone.title"),
        (patch(json!({"evidence": {"bundle": "load/0"}})), "C5 EvidenceMismatch governance evidence.bundle"),
        (patch(json!({"evidence": {"digest": OTHER_DIGEST}})), "C5 EvidenceMismatch governance evidence.digest"),
        (patch(json!({"acceptedEvent": {"id": "evt-0"}})), "C16 AcceptanceStale governance acceptedEvent.id"),
        (patch(json!({"id": "RR-load-99999"})), "C14 RecordMismatch governance id"),
        (Edit::Remove(Governance), "C14 RecordMissing governance id"),
    ]
}

fn archive_changes() -> Vec<(Edit, Vec<&'static str>)> {
    let patch = |patch: Value| Edit::Patch(Archive, patch);
    let moved = ["C13 ConflictingClosure tracker evidence.url", "C15 PartialStateConflict tracker evidence.bundle"];
    let mut unfit = vec!["C10 EvidenceLinkUnfit archive url"];
    unfit.extend(moved);
    let empty = vec!["C11 ArtifactMissing archive artifacts.kind"; 3];
    vec![
        (patch(json!({"bundle": "load/99999/rv1"})), vec!["C10 EvidenceMismatch archive bundle"]),
        (patch(json!({"digest": OTHER_DIGEST})), vec!["C10 EvidenceMismatch archive digest"]),
        (patch(json!({"release": {"id": "load-99999"}})), vec!["C10 EvidenceMismatch archive release.id"]),
        (patch(json!({"review": {"version": "{v}0"}})), vec!["C10 EvidenceMismatch archive review.version"]),
        (patch(json!({"artifacts": []})), empty),
        // The link that this closure has attached by then leads nowhere.
        (patch(json!({"url": "{url}/moved"})), moved.to_vec()),
        (patch(json!({"url": "{url}?moved"})), unfit),
        (Edit::Remove(Archive), vec!["C10 EvidenceMissing archive bundle"]),
    ]
}

/// The source is read again right before each write; archive link and milestone before the queue entry is cleared.
pub fn every_write() -> Vec<Row> {
    let mut rows = Vec::new();
    for write in 0..4 {
        for (edit, found) in source_changes() {
            rows.push(row(after_write(write), edit, write + 1, &[found]));
        }
    }
    // At most one write lands after the source has changed: the one that was under way when it was last read. After the
    // last read that is the announcement.
    for read in 1..=5 {
        let found: &[&str] = if read < 5 { &["C1 SourceNotAccepted governance state"] } else { &[] };
        let reopened = Edit::Patch(Governance, json!({"state": "Reopened"}));
        rows.push(row(after_read(Governance, read as u64), reopened, read, found));
    }
    rows.extend(both_policies());
    rows.extend(checklist());
    rows.extend(tracker());
    rows.extend(queue());
    rows
}

/// The source is read again only before the queue entry is cleared and before the announcement.
pub fn close_and_clear() -> Vec<Row> {
    let mut rows = Vec::new();
    for write in 0..4 {
        for (edit, found) in source_changes() {
            rows.push(row(after_write(write), edit, (write + 1).max(3), &[found]));
        }
    }
    for (read, changes) in [(1, 3), (2, 4), (3, 5)] {
        let found: &[&str] = if read < 3 { &["C1 SourceNotAccepted governance state"] } else { &[] };
        let reopened = Edit::Patch(Governance, json!({"state": "Reopened"}));
        rows.push(row(after_read(Governance, read), reopened, changes, found));
    }
    rows.extend(both_policies());
    rows
}

fn renamed() -> Edit {
    Edit::Patch(Tracker, json!({"milestone": {"title": "M 0"}}))
}

/// What the policy makes no difference to.
fn both_policies() -> Vec<Row> {
    let mut rows = Vec::new();
    for write in 0..3 {
        rows.extend(archive_changes().into_iter().map(|(edit, found)| row(after_write(write), edit, 3, &found)));
    }
    // Once the entry is cleared, nobody asks the archive any more.
    rows.push(row(after_write(3), Edit::Remove(Archive), 5, &[]));
    let found = ["C7 MilestoneRenamed tracker milestone.title"];
    // The tracker's own precondition stops its writes.
    rows.push(row(after_write(0), renamed(), 1, &found));
    rows.push(row(after_write(1), renamed(), 2, &found));
    // The reply to the tracker's last write is what confirms the milestone; what comes after it comes too late.
    rows.push(row(after_write(2), renamed(), 5, &[]));
    // Where the tracker is not written to, it is read again before the entry is cleared.
    let done =
        json!({"state": "Approved", "evidence": [{"bundle": "load/{n}/rv1", "digest": "{digest}", "url": "{url}"}]});
    rows.push(Row {
        before: vec![Edit::Patch(Tracker, done)],
        already: vec!["ApproveTracker", "AttachEvidence"],
        ..row(after_write(0), renamed(), 1, &found)
    });
    rows
}

/// Between the look at the checklist and its write.
fn checklist() -> Vec<Row> {
    let patch = |patch: Value| Edit::Patch(Checklist, patch);
    let open = json!({"items": [{"id": "rollback", "title": "x", "done": false}]});
    let edits = [
        (patch(json!({"release": {"id": "load-99999"}})), "C9 ChecklistMismatch checklist release.id"),
        (patch(json!({"review": {"version": "0"}})), "C9 ChecklistMismatch checklist review.version"),
        (patch(json!({"state": "Void"})), "C9 ChecklistStateUnexpected checklist state"),
        (patch(open), "C9 ChecklistItemsOpen checklist items.done"),
        (patch(other_marker()), "C13 ConflictingClosure checklist closure.key"),
        (patch(json!({"id": "CHK-99999"})), "C14 RecordMismatch checklist id"),
        (Edit::Remove(Checklist), "C14 RecordMissing checklist id"),
    ];
    edits.into_iter().map(|(edit, found)| row(after_read(Checklist, 1), edit, 0, &[found])).collect()
}

fn other_marker() -> Value {
    json!({"closure": {"key": "load-99999@RR-load-99999@7", "uid": "of-another-object"}})
}

/// Between the look at the tracker record and a write to it.
fn tracker() -> Vec<Row> {
    let patch = |patch: Value| Edit::Patch(Tracker, patch);
    let link =
        json!({"evidence": [{"bundle": "load/{n}/rv1", "digest": OTHER_DIGEST, "url": "{url}", "closure": null}]});
    let mut rows = Vec::new();
    for write in 0..2 {
        for (edit, found) in [
            (patch(json!({"release": {"id": "load-99999"}})), "C6 TrackerReleaseMismatch tracker release.id"),
            (patch(json!({"release": {"service": "x"}})), "C6 TrackerReleaseMismatch tracker release.service"),
            (patch(json!({"release": {"version": "x"}})), "C6 TrackerReleaseMismatch tracker release.version"),
            (patch(json!({"milestone": {"id": "m-99999"}})), "C7 MilestoneMismatch tracker milestone.id"),
            (patch(link.clone()), "C13 ConflictingClosure tracker evidence.digest"),
            (patch(other_marker()), "C13 ConflictingClosure tracker closure.key"),
            (Edit::Remove(Tracker), "C14 RecordMissing tracker id"),
        ] {
            rows.push(row(after_write(write), edit, write + 1, &[found]));
        }
    }
    let (other, moved) = ("C14 RecordMismatch tracker id", "C15 PartialStateConflict tracker id");
    rows.push(row(after_write(0), patch(json!({"id": "REL-99999"})), 1, &[other]));
    // What was approved was another record.
    rows.push(row(after_write(1), patch(json!({"id": "REL-99999"})), 2, &[other, moved]));
    let state = |word: &str| patch(json!({ "state": word }));
    let (unexpected, undone) = ("C8 TrackerStateUnexpected tracker state", "C15 PartialStateConflict tracker state");
    rows.push(row(after_write(0), state("Blocked"), 1, &[unexpected]));
    rows.push(row(after_write(1), state("Blocked"), 2, &[unexpected, undone]));
    // Somebody takes the approval back.
    rows.push(row(after_write(1), state("InReview"), 2, &[undone]));
    rows
}

/// At any time before the entry is cleared.
fn queue() -> Vec<Row> {
    let patch = |patch: Value| Edit::Patch(Queue, patch);
    let mut rows = Vec::new();
    for after in [after_read(Queue, 1), after_write(0), after_write(1), after_write(2)] {
        for (edit, found) in [
            (patch(json!({"release": {"id": "load-99999"}})), "C12 QueueEntryMismatch queue release.id"),
            (patch(json!({"review": {"version": "0"}})), "C12 QueueEntryMismatch queue review.version"),
            (patch(json!({"state": "Void"})), "C12 QueueEntryStateUnexpected queue state"),
            (patch(other_marker()), "C13 ConflictingClosure queue closure.key"),
            (patch(json!({"id": "Q-99999"})), "C14 RecordMismatch queue id"),
            (Edit::Remove(Queue), "C14 RecordMissing queue id"),
        ] {
            rows.push(row(after, edit, 3, &[found]));
        }
    }
    rows
}
