//! An issue as a record in each of four roles, and the change that an order asks for.

use super::wire::Issue;
use crate::closure::decide::{Change, Verified};
use crate::closure::ids::Step;
use crate::closure::snapshot::{
    ChecklistRecord, EvidenceLink, Marking, Progress, QueueRecord, ReleaseRef, ReviewRecord, TrackerRecord,
};
use crate::products::Redmine;
use crate::products::redmine::Fields;
use crate::providers::issues::form::{self, ENTRIES_MAX, Form, Link, cut};

/// As the accepted review. The decision is the issue's status.
pub(super) fn review(issue: &Issue, redmine: &Redmine) -> ReviewRecord {
    let fields = &redmine.fields;
    ReviewRecord {
        id: issue.id.to_string(),
        version: issue.value(Some(fields.review_version)),
        state: cut(&issue.status.name).to_owned(),
        release: release(issue, fields),
        milestone: Some(issue.milestone.clone()),
        evidence: Some((issue.value(fields.bundle), issue.value(fields.digest))),
        accepted_event: issue.whole(fields.accepted_event).map(|event| cut(event.trim()).to_owned()),
    }
}

/// As the readiness checklist: the task list in its description. Its subtasks are read apart.
pub(super) fn checklist(issue: &Issue, redmine: &Redmine) -> ChecklistRecord {
    ChecklistRecord {
        id: issue.id.to_string(),
        release_id: issue.value(Some(redmine.fields.release)),
        review_version: issue.value(Some(redmine.fields.review_version)),
        state: progress(issue, &redmine.statuses.closed),
        open_items: Form::new(issue.description.clone()).open_items(),
        marking: marking(issue, &redmine.fields, Step::CloseChecklist),
    }
}

/// As the tracker record.
pub(super) fn tracker(issue: &Issue, redmine: &Redmine) -> TrackerRecord {
    TrackerRecord {
        id: issue.id.to_string(),
        release: release(issue, &redmine.fields),
        state: cut(&issue.status.name).to_owned(),
        milestone: issue.milestone.clone(),
        evidence: links(issue.whole(redmine.fields.evidence).unwrap_or_default()),
        marking: marking(issue, &redmine.fields, Step::ApproveTracker),
    }
}

/// As an entry of the review queue.
pub(super) fn entry(issue: &Issue, redmine: &Redmine) -> QueueRecord {
    QueueRecord {
        id: issue.id.to_string(),
        release_id: issue.value(Some(redmine.fields.release)),
        review_version: issue.value(Some(redmine.fields.review_version)),
        state: progress(issue, &redmine.statuses.cleared),
        marking: marking(issue, &redmine.fields, Step::ClearQueueEntry),
    }
}

fn release(issue: &Issue, fields: &Fields) -> ReleaseRef {
    let value = |field: Option<u32>| field.map(|field| issue.value(Some(field)));
    ReleaseRef { id: issue.value(Some(fields.release)), service: value(fields.service), version: value(fields.version) }
}

/// An issue that is closed otherwise, such as a rejected one, is neither done nor to be done.
fn progress(issue: &Issue, done: &str) -> Progress {
    let word = cut(&issue.status.name).to_owned();
    if issue.status.name == done {
        Progress::Done(word)
    } else if issue.status.is_closed {
        Progress::Other(word)
    } else {
        Progress::ToDo(word)
    }
}

fn marking(issue: &Issue, fields: &Fields, step: Step) -> Marking {
    match issue.whole(fields.marker) {
        None => Marking::NotCarried,
        Some(mark) => form::marker_in(mark.trim(), step).map_or(Marking::Unmarked, Marking::By),
    }
}

/// The links in the field of evidence, one a line.
fn links(field: &str) -> Vec<EvidenceLink> {
    field.lines().filter_map(form::link).take(ENTRIES_MAX).collect()
}

/// What an order asks for, in Redmine's terms.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// Another status, and our mark in its field where there is one.
    Status(u64, Option<(u32, String)>),
    /// One line more in the field of evidence links, below what it holds.
    Link { field: u32, held: String, line: String },
}

impl Edit {
    /// The same below what somebody wrote into the field between the look and the change, and the change replaced; none where it
    /// replaced what was seen.
    pub(super) fn mended(&self, after: &Issue) -> Option<Edit> {
        let Edit::Link { field, held, line } = self else { return None };
        let theirs = after.replaced(*field, &below(held, line)).filter(|theirs| theirs != held)?;
        Some(Edit::Link { field: *field, held: theirs.to_owned(), line: line.clone() })
    }
}

/// A text with one line more, unless it has that line.
pub(super) fn below(held: &str, line: &str) -> String {
    if held.contains(line) {
        return held.to_owned();
    }
    let gap = if held.is_empty() || held.ends_with('\n') { "" } else { "\n" };
    format!("{held}{gap}{line}")
}

/// Why nothing is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Barred {
    /// The order asks for nothing that is done here.
    NotOurs,
    /// The workflow, a permission or a field's place does not let the key's user do it. The product would say 204, and leave
    /// out what it does not like.
    Forbidden,
    /// The field of our mark holds what is no mark of ours: it is a person's, and not written over.
    Taken,
}

/// The change that an order asks for, made from the issue as it is right now.
///
/// # Errors
/// It cannot be made.
pub(super) fn edit(issue: &Issue, redmine: &Redmine, order: &Verified) -> Result<Edit, Barred> {
    let statuses = &redmine.statuses;
    let wanted = match order.change() {
        Change::Close => &statuses.closed,
        Change::Clear => &statuses.cleared,
        // The playbook's word, which must be the connection's.
        Change::Approve { state } if *state == *statuses.approved => &statuses.approved,
        Change::Attach { others: _, bundle, digest, url } => {
            let marker = order.marker();
            let line = Link { bundle, digest, url, marker: &marker }.line();
            let field = redmine.fields.evidence.ok_or(Barred::Forbidden)?;
            let held = issue.whole(Some(field)).ok_or(Barred::Forbidden)?.to_owned();
            return Ok(Edit::Link { field, held, line });
        }
        Change::Approve { .. } | Change::Announce(_) => return Err(Barred::NotOurs),
    };
    let status = issue.allowed.iter().find(|status| status.name == *wanted).ok_or(Barred::Forbidden)?;
    let mark = match redmine.fields.marker {
        None => None,
        Some(field) => match issue.whole(Some(field)) {
            // A field that the issue does not show is not written either, and nobody would say so.
            None => return Err(Barred::Forbidden),
            Some(held) if !form::takes_mark(held) => return Err(Barred::Taken),
            Some(_) => Some((field, form::mark(order.step(), &order.marker()))),
        },
    };
    Ok(Edit::Status(status.id, mark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::redmine::wire;

    /// An issue whose history is of field 13: what it held, and what since.
    fn with_history(changes: &[(&str, &str)]) -> Issue {
        let of = |(old, new): &(&str, &str)| {
            let note = serde_json::json!({"details": [{"property": "attr", "name": "13", "old_value": "a", "new_value": new}]});
            let field =
                serde_json::json!({"details": [{"property": "cf", "name": "13", "old_value": old, "new_value": new}]});
            [note, field]
        };
        let journals: Vec<_> = changes.iter().flat_map(of).collect();
        let issue = serde_json::json!({"issue": {"id": 7, "project": {"id": 1}, "tracker": {"id": 6}, "subject": "Release",
            "status": {"id": 1, "name": "New", "is_closed": false}, "updated_on": "2026-11-22T23:23:13Z", "journals": journals}});
        wire::issue(issue.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_a_link_replaced_is_put_back_and_nothing_else_is() {
        let link = |held: &str| Edit::Link { field: 13, held: held.to_owned(), line: "- ours".to_owned() };
        let mended = |changes: &[(&str, &str)]| link("theirs").mended(&with_history(changes));
        let ours = "theirs\n- ours";
        assert_eq!(mended(&[]), None, "no history is to be seen");
        assert_eq!(mended(&[("", "theirs"), ("theirs", ours)]), None, "it was as it was seen");
        assert_eq!(mended(&[("theirs", "theirs\nmore"), ("theirs\nmore", ours)]), Some(link("theirs\nmore")));
        assert_eq!(mended(&[("theirs", ""), ("", ours)]), Some(link("")), "what somebody took away stays away");
        // What came after ours was written by somebody who saw it, and an earlier change to the same is not the one.
        assert_eq!(mended(&[("theirs", ours), (ours, "theirs\n- ours\nmore")]), None);
        assert_eq!(mended(&[("x", ours), (ours, "theirs"), ("theirs", ours)]), None);
        assert_eq!(Edit::Status(5, None).mended(&with_history(&[("x", ours)])), None);
    }

    #[test]
    fn a_line_is_added_once() {
        for (held, whole) in [("", "b"), ("a", "a\nb"), ("a\r\n", "a\r\nb"), ("a\nb\nc", "a\nb\nc")] {
            assert_eq!(below(held, "b"), whole, "{held:?}");
        }
    }
}
