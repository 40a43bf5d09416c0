//! Redmine: the issues of one project as review, checklist, tracker record and queue entry.
//!
//! **The precondition:** Redmine has one (`lock_version`), and tells nobody who comes with an API key what it is now; so it
//! cannot be had. The issue is read once more right before each change, and the change is not made where anything that is
//! compared differs from what was verified. What happens between that look and the change is not seen: `ReadVerifyWrite`.
//!
//! **What a 2xx says:** nothing. Redmine leaves out of a change what a workflow, a permission or a field's place does not
//! let the user do, and says 204. So the issue is read again after each change, and what that shows is the reply.
//!
//! An evidence link is added to a field that is written as a whole. What somebody adds in between is what the issue's history says
//! that ours replaced, and is put back at once by a second change.
//!
//! **What a write costs:** two reads more than the contract's budget, within the one timeout.

#[cfg(test)]
mod fuzz_tests;
mod probe;
mod records;
mod rows;
mod wire;

pub use rows::allow_list;

use super::limits::{Entered, Limits};
use super::rest::client::{Reader, Success, Writer};
use super::rest::reply::Came;
use super::rest::table::{Fill, Request, Row};
use super::rest::{self, Dialect, Shown};
use super::{Product, Refused, Settings, Surroundings};
use crate::closure::decide::Verified;
use crate::closure::ids::Step;
use crate::closure::snapshot::{
    ChecklistRecord, Observation, QueueRecord, ReviewRecord, Revision, TrackerRecord, Trouble, Unreachable,
};
use crate::products::Redmine;
use crate::roles::{Checklist, Connected, Governance, Permit, ReviewQueue, Subject, Tracker, WriteReply};
use async_trait::async_trait;
use records::{Barred, Edit};
use rows::Rows;
use std::sync::Arc;
use wire::Issue;

/// Most pages of a look-up, of a hundred issues each.
const PAGES_MAX: u64 = 40;
/// Most open subtasks of a checklist that are told.
const SUBTASKS_MAX: usize = 100;
/// The highest number of an issue.
const ID_MAX: u32 = i32::MAX as u32;

static DIALECT: Dialect = Dialect {
    is_own: wire::is_own_error,
    token: Shown::Header("x-redmine-api-key"),
    really: |status, body| if wire::is_conflict(status, body) { 409 } else { status },
    ..Dialect::PLAIN
};

/// Makes the connection's roles. Sends nothing.
///
/// # Errors
/// The endpoint is refused, or a Secret does not hold what it should.
pub(super) fn connect(settings: &Settings, surroundings: Surroundings) -> Result<Connected, Refused> {
    let redmine = product(settings)?;
    let connection = rest::connect(settings, &redmine.endpoint, &DIALECT, surroundings)?;
    Ok(roles(redmine, connection))
}

fn product(settings: &Settings) -> Result<&Redmine, Refused> {
    if let Product::Redmine(redmine) = &settings.product { Ok(redmine) } else { Err(Refused::NotSupported) }
}

fn roles(redmine: &Redmine, (reader, writer, gate): (Reader, Writer, Arc<Limits>)) -> Connected {
    let sources = Arc::new(Sources { reader, redmine: redmine.clone() });
    let records = Arc::new(Records { sources: sources.clone(), writer });
    Connected {
        governance: Some(sources.clone()),
        checklist: Some(records.clone()),
        tracker: Some(records.clone()),
        queue: Some(records),
        ..Connected::without_roles(gate, sources)
    }
}

/// What is only read. Has no way to write.
struct Sources {
    reader: Reader,
    redmine: Redmine,
}

/// What is changed.
struct Records {
    sources: Arc<Sources>,
    writer: Writer,
}

/// Makes a record of an issue.
type View<R> = fn(&Issue, &Redmine) -> R;

#[async_trait]
impl Governance for Sources {
    async fn review(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<ReviewRecord> {
        if subject.record.is_none() {
            return not_understood();
        }
        let tracker = &self.redmine.trackers.review;
        let (found, _) = self.look(&rows::OF_REVIEWS, tracker, subject, true, held).await;
        found.view(records::review, &self.redmine)
    }
}

#[async_trait]
impl Checklist for Records {
    async fn checklist(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<ChecklistRecord> {
        let Sources { redmine, .. } = &*self.sources;
        let tracker = &redmine.trackers.checklist;
        let (found, entered) = self.sources.look(&rows::OF_CHECKLISTS, tracker, subject, true, held).await;
        let issue = match (&found, entered) {
            (Found::One(issue), Some(entered)) if !issue.status.is_closed => (issue.id, entered),
            _ => return found.view(records::checklist, redmine),
        };
        // What Redmine itself keeps a checklist open for. A closed one has none that are open.
        let open = match self.sources.subtasks(issue.0, issue.1).await {
            Ok(open) => open,
            Err(why) => return Observation::Unreachable(why),
        };
        match found.view(records::checklist, redmine) {
            Observation::Found(mut record, revision) => {
                record.open_items.extend(open);
                Observation::Found(record, revision)
            }
            other => other,
        }
    }

    async fn close(&self, order: Verified, permit: Permit) -> WriteReply<ChecklistRecord> {
        match order.step() {
            Step::CloseChecklist => self.write(&rows::OF_CHECKLISTS, &order, permit, records::checklist).await,
            _ => WriteReply::Refused,
        }
    }
}

#[async_trait]
impl Tracker for Records {
    async fn release(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<TrackerRecord> {
        let Sources { redmine, .. } = &*self.sources;
        let tracker = &redmine.trackers.release;
        let (found, _) = self.sources.look(&rows::OF_RELEASES, tracker, subject, false, held).await;
        found.view(records::tracker, redmine)
    }

    async fn update(&self, order: Verified, permit: Permit) -> WriteReply<TrackerRecord> {
        match order.step() {
            Step::ApproveTracker => self.write(&rows::OF_RELEASES, &order, permit, records::tracker).await,
            Step::AttachEvidence => self.write(&rows::OF_EVIDENCE, &order, permit, records::tracker).await,
            _ => WriteReply::Refused,
        }
    }
}

#[async_trait]
impl ReviewQueue for Records {
    async fn entry(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<QueueRecord> {
        let Sources { redmine, .. } = &*self.sources;
        let tracker = &redmine.trackers.queue;
        let (found, _) = self.sources.look(&rows::OF_QUEUE, tracker, subject, true, held).await;
        found.view(records::entry, redmine)
    }

    async fn clear(&self, order: Verified, permit: Permit) -> WriteReply<QueueRecord> {
        match order.step() {
            Step::ClearQueueEntry => self.write(&rows::OF_QUEUE, &order, permit, records::entry).await,
            _ => WriteReply::Refused,
        }
    }
}

/// What a look-up came to.
enum Found {
    One(Box<Issue>),
    None,
    Several(usize),
    Unreachable(Unreachable),
}

impl Found {
    fn view<R>(self, view: View<R>, redmine: &Redmine) -> Observation<R> {
        match self {
            Found::One(issue) => Observation::Found(view(&issue, redmine), issue.revision),
            Found::None => Observation::Missing,
            Found::Several(count) => Observation::Ambiguous(count),
            Found::Unreachable(why) => Observation::Unreachable(why),
        }
    }
}

fn not_understood<R>() -> Observation<R> {
    Observation::Unreachable(Trouble::NotUnderstood.into())
}

/// What a failed read comes to, for what is not about one record.
fn trouble<T>(came: Came<T>) -> Unreachable {
    match came {
        Came::Failure(failure) => failure.why,
        Came::Success(_) | Came::Problem(_) => Trouble::NotUnderstood.into(),
    }
}

/// What a person wrote where our mark is to stand is not written over.
fn taken<R>(record: &str) -> WriteReply<R> {
    tracing::warn!(
        record,
        "the field that `redmine.fields.marker` names holds somebody's words: empty it there, or name another field; nothing was sent"
    );
    WriteReply::Refused
}

/// A number that an issue may have.
fn number(id: &str) -> Option<u64> {
    let number: u32 = id.parse().ok()?;
    // No leading zero, no sign: one record has one id.
    ((1..=ID_MAX).contains(&number) && number.to_string() == id).then_some(number.into())
}

impl Sources {
    /// One request below the project.
    fn request(&self, row: &Row, more: &[(&str, Fill<'_>)]) -> Option<Request> {
        // The first fill names the record.
        let mut fills = more.to_vec();
        fills.push(("project", Fill::Text(&self.redmine.project)));
        row.request(&fills)
    }

    /// Reads one issue by its number, or looks for it by the release in its field. `versioned`: the record is of one review
    /// version. The place in the limits is handed on, for what else is to be read.
    async fn look<'a>(
        &'a self,
        rows: &Rows,
        tracker: &str,
        subject: Subject<'_>,
        versioned: bool,
        held: Option<&'a Permit>,
    ) -> (Found, Option<Entered<'a>>) {
        let mut entered = match self.reader.enter(held).await {
            Ok(entered) => entered,
            Err(held_back) => return (Found::Unreachable(held_back), None),
        };
        let found = match subject.record {
            Some(id) => self.read(&mut entered, rows, tracker, id).await,
            None => self.find(&mut entered, rows.by_field, tracker, subject, versioned).await,
        };
        (found, Some(entered))
    }

    /// Reads one issue of the project and tracker.
    async fn read(&self, entered: &mut Entered<'_>, rows: &Rows, tracker: &str, id: &str) -> Found {
        // What is no number is no issue's.
        let Some(number) = number(id) else { return Found::None };
        let fills = [("id", Fill::Text(id)), ("offset", Fill::Number(0))];
        let Some(request) = self.request(rows.by_id, &fills) else {
            return Found::Unreachable(Trouble::NotUnderstood.into());
        };
        let one = |reply: Success| {
            let (issues, total) = wire::issues(&reply.body).ok()?;
            let fits = total <= 1 && issues.iter().all(|issue| issue.id == number);
            fits.then(|| issues.into_iter().find(|issue| issue.tracker == tracker))
        };
        match self.reader.get(entered, request, one).await {
            Came::Success(Some(issue)) => return Found::One(Box::new(issue)),
            Came::Success(None) => {}
            other => return Found::Unreachable(trouble(other)),
        }
        // A list leaves out what may not be seen, which is not what is not there.
        let Some(request) = self.request(rows.now, &fills) else {
            return Found::Unreachable(Trouble::NotUnderstood.into());
        };
        match self.reader.get(entered, request, |reply| wire::issue(&reply.body).ok()).await {
            // It is in another project, or of another tracker.
            Came::Success(_) | Came::Problem(404 | 410) => Found::None,
            other => Found::Unreachable(trouble(other)),
        }
    }

    /// Looks for the one issue of the project and tracker that is of the release.
    async fn find(
        &self,
        entered: &mut Entered<'_>,
        row: &Row,
        tracker: &str,
        subject: Subject<'_>,
        versioned: bool,
    ) -> Found {
        let fields = &self.redmine.fields;
        let mut found: Vec<Issue> = Vec::new();
        let mut seen = 0;
        for _ in 0..PAGES_MAX {
            let fills = [
                ("value", Fill::Text(subject.release)),
                ("field", Fill::Number(fields.release.into())),
                ("offset", Fill::Number(seen)),
            ];
            let Some(request) = self.request(row, &fills) else { break };
            let (page, total) = match self.reader.get(entered, request, |reply| wire::issues(&reply.body).ok()).await {
                Came::Success(page) => page,
                other => return Found::Unreachable(trouble(other)),
            };
            let last = page.is_empty();
            seen += page.len() as u64;
            // Redmine does not filter by a field that it does not use as a filter, and says nothing.
            found.extend(page.into_iter().filter(|issue| {
                issue.tracker == tracker
                    && issue.value(Some(fields.release)) == subject.release
                    && (!versioned || issue.value(Some(fields.review_version)) == subject.review_version)
            }));
            if last || seen >= total {
                // An issue that moved from one page to another is still one.
                found.sort_by_key(|issue| issue.id);
                found.dedup_by_key(|issue| issue.id);
                let count = found.len();
                return match found.pop() {
                    None => Found::None,
                    Some(issue) if count == 1 => Found::One(Box::new(issue)),
                    Some(_) => Found::Several(count),
                };
            }
        }
        // More than can be looked through: nobody can say that there is one and no other.
        Found::Unreachable(Trouble::NotUnderstood.into())
    }

    /// The subtasks of an issue that are open, by number and subject.
    async fn subtasks(&self, id: u64, mut entered: Entered<'_>) -> Result<Vec<String>, Unreachable> {
        let id = id.to_string();
        let fills = [("id", Fill::Text(&id)), ("offset", Fill::Number(0))];
        let request = self.request(&rows::SUBTASKS, &fills).ok_or(Trouble::NotUnderstood)?;
        match self.reader.get(&mut entered, request, |reply| wire::issues(&reply.body).ok()).await {
            Came::Success((open, _)) => {
                let told = open.iter().take(SUBTASKS_MAX);
                Ok(told
                    .map(|task| super::issues::form::cut(&format!("#{} {}", task.id, task.subject)).to_owned())
                    .collect())
            }
            other => Err(trouble(other)),
        }
    }
}

impl Records {
    /// Looks once more, changes what the order says if the issue is still what was verified, and looks what came of it.
    async fn write<R>(&self, rows: &Rows, order: &Verified, permit: Permit, view: View<R>) -> WriteReply<R> {
        let redmine = &self.sources.redmine;
        let (id, nothing) = (order.record(), || WriteReply::NotApplied(Trouble::Forbidden.into()));
        let now = || self.sources.request(rows.now, &[("id", Fill::Text(id))]).filter(|_| number(id).is_some());
        let (Some(before), Some(after)) = (now(), now()) else { return WriteReply::Refused };
        let mut turn = match self.writer.turn(permit) {
            Ok(turn) => turn,
            Err(held_back) => return WriteReply::NotApplied(held_back),
        };
        let before = match turn.get(before, |reply| wire::issue(&reply.body).ok()).await {
            Came::Success(issue) => issue,
            Came::Problem(404 | 410) => return WriteReply::Gone,
            other => return WriteReply::NotApplied(trouble(other)),
        };
        if order.revision() != Some(&before.revision) {
            return WriteReply::Conflict;
        }
        let edit = match records::edit(&before, redmine, order) {
            Ok(edit) => edit,
            Err(Barred::NotOurs) => return WriteReply::Refused,
            Err(Barred::Forbidden) => return nothing(),
            Err(Barred::Taken) => return taken(id),
        };
        let Some(request) = self.change(order, &edit) else { return WriteReply::Refused };
        let understand = |reply: Success| (reply.status == 204).then_some(());
        let (came, mut turn) = turn.change(request, understand).await;
        match came {
            Came::Success(()) => {}
            Came::Problem(status) => return Came::<(R, Revision)>::Problem(status).write_reply(),
            Came::Failure(failure) => return Came::<(R, Revision)>::Failure(failure).write_reply(),
        }
        let mut seen = turn.get(after.clone(), |reply| wire::issue(&reply.body).ok()).await;
        // The link is there. What somebody wrote in the moment before it is put back, with the link below.
        if let Came::Success(issue) = &seen
            && let Some(mended) = edit.mended(issue)
        {
            let Some(request) = self.change(order, &mended) else { return WriteReply::Refused };
            let (came, mut turn) = turn.mend(request, understand).await;
            let Came::Success(()) = came else { return WriteReply::Unknown(trouble(came)) };
            seen = turn.get(after, |reply| wire::issue(&reply.body).ok()).await;
        }
        match seen {
            // It is what it was: the yes was none. Redmine takes down a time of change even then.
            Came::Success(issue) if issue.content == before.content => nothing(),
            Came::Success(issue) => WriteReply::Answered(view(&issue, redmine), issue.revision),
            other => WriteReply::Unknown(trouble(other)),
        }
    }

    fn change(&self, order: &Verified, edit: &Edit) -> Option<Request> {
        let id = ("id", Fill::Text(order.record()));
        let (marked, unmarked) = match order.step() {
            Step::CloseChecklist => (&rows::CLOSE_CHECKLIST, &rows::CLOSE_CHECKLIST_UNMARKED),
            Step::ApproveTracker => (&rows::APPROVE_RELEASE, &rows::APPROVE_RELEASE_UNMARKED),
            Step::ClearQueueEntry => (&rows::CLEAR_QUEUE_ENTRY, &rows::CLEAR_QUEUE_ENTRY_UNMARKED),
            Step::AttachEvidence => (&rows::ATTACH_EVIDENCE, &rows::ATTACH_EVIDENCE),
            Step::NotifyCoordinator => return None,
        };
        match edit {
            Edit::Status(status, None) => unmarked.request(&[id, ("status", Fill::Number(*status))]),
            Edit::Status(status, Some((field, mark))) => {
                let more = [("field", Fill::Number((*field).into())), ("mark", Fill::Text(mark))];
                marked.request(&[id, ("status", Fill::Number(*status)), more[0], more[1]])
            }
            Edit::Link { field, held, line } => {
                let links = records::below(held, line);
                marked.request(&[id, ("field", Fill::Number((*field).into())), ("links", Fill::Text(&links))])
            }
        }
    }
}
