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
    /// Another value of the field of evidence links.
    Links(u32, String),
}

/// Why nothing is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Barred {
    /// The order asks for nothing that is done here.
    NotOurs,
    /// The workflow, a permission or a field's place does not let the key's user do it. The product would say 204, and leave
    /// out what it does not like.
    Forbidden,
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
            let link = Link { bundle, digest, url, marker: &marker }.line();
            let field = redmine.fields.evidence.ok_or(Barred::Forbidden)?;
            let before = issue.whole(Some(field)).ok_or(Barred::Forbidden)?;
            let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
            return Ok(Edit::Links(field, format!("{before}{gap}{link}")));
        }
        Change::Approve { .. } | Change::Announce(_) => return Err(Barred::NotOurs),
    };
    let status = issue.allowed.iter().find(|status| status.name == *wanted).ok_or(Barred::Forbidden)?;
    let mark = match redmine.fields.marker {
        None => None,
        // A field that the issue does not show is not written either, and nobody would say so.
        Some(field) if issue.whole(Some(field)).is_none() => return Err(Barred::Forbidden),
        Some(field) => Some((field, form::mark(order.step(), &order.marker()))),
    };
    Ok(Edit::Status(status.id, mark))
}
