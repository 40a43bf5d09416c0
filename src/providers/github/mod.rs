//! GitHub: the issues of one repository as review, checklist, tracker record and queue entry.
//!
//! **The precondition:** there is none. GitHub takes no condition with a change, so that nothing is ever written that a person may
//! be writing, too: an issue is closed by a change of that field alone, a tracker record is approved by one label more, and
//! evidence is attached by one comment more. Right before each, the record is read once more, and the change is not made where anything
//! differs from what was verified. What is left is the time between that read and the change.
//!
//! **The mark:** an evidence link bears ours, in its comment. An issue that is closed and a label that is put on bear none: GitHub
//! has nothing that could be set by the same request without writing over something else.
//!
//! **What a write costs:** the read before it; for a tracker record one after it, since what is answered to a label or a comment
//! is not the record; and each read of a tracker record takes one request more for every fifty comments.

mod app;
#[cfg(test)]
mod fuzz_tests;
mod rows;
mod sources;
mod wire;

pub use rows::allow_list;

use super::limits::{Entered, Limits};
use super::rest::client::{Reader, Success, Writer};
use super::rest::particulars::{Credentials, Particulars, Throttle};
use super::rest::reply::Came;
use super::rest::table::{Fill, Request, Row};
use super::rest::{self, Dialect};
use super::{Product, Refused, Settings, Surroundings};
use crate::closure::decide::{Change, Verified};
use crate::closure::ids::{Step, is_id};
use crate::closure::snapshot::{ChecklistRecord, Observation, QueueRecord, Revision, TrackerRecord, Trouble};
use crate::providers::issues::form::Link;
use crate::roles::{Checklist, Connected, Permit, ReviewQueue, Subject, Tracker, WriteReply};
use app::Tokens;
use async_trait::async_trait;
use sources::{Missed, Sources, View};
use std::sync::Arc;
use wire::Comment;

static DIALECT: Dialect =
    Dialect { accept: "application/vnd.github+json", is_own: wire::is_own_error, ..Dialect::PLAIN };

const HEADERS: &[(&str, &str)] = &[("x-github-api-version", "2022-11-28")];

/// Makes the connection's roles. Sends nothing.
///
/// # Errors
/// The endpoint is refused, or a Secret does not hold what it should.
pub(super) fn connect(settings: &Settings, surroundings: Surroundings) -> Result<Connected, Refused> {
    let Product::GitHub(github) = &settings.product else { return Err(Refused::NotSupported) };
    let mut settings = settings.clone();
    let tokens = match (&github.app, github.owner_and_name()) {
        // What the Secret holds is the App's key then, and goes nowhere.
        (Some(app), Some((_, name))) => Some(Arc::new(Tokens::new(app.clone(), name, settings.token.take().as_ref())?)),
        (Some(_), None) => {
            return Err(Refused::Setting { setting: "github.repository", rule: "an owner, a slash and a name" });
        }
        (None, _) => None,
    };
    let throttle = Some(Throttle { by_headers: wire::wait_by_headers, by_words: wire::wait_by_words });
    let credentials = tokens.clone().map(|tokens| tokens as Arc<dyn Credentials>);
    let particulars = Particulars { headers: HEADERS, throttle, credentials, seal: None };
    let (reader, writer, gate): (Reader, Writer, Arc<Limits>) =
        rest::connect_as(&settings, &github.endpoint, &DIALECT, particulars, surroundings)?;
    let sources = Arc::new(Sources::new(reader, (**github).clone(), tokens));
    let records = Arc::new(Records { sources: sources.clone(), writer });
    Ok(Connected {
        governance: Some(sources.clone()),
        checklist: Some(records.clone()),
        tracker: Some(records.clone()),
        queue: Some(records),
        ..Connected::without_roles(gate, sources)
    })
}

/// What is changed.
struct Records {
    sources: Arc<Sources>,
    writer: Writer,
}

#[async_trait]
impl Checklist for Records {
    async fn checklist(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<ChecklistRecord> {
        self.sources.record((&rows::CHECKLIST, &rows::CHECKLISTS), subject, held, sources::checklist).await
    }

    async fn close(&self, order: Verified, permit: Permit) -> WriteReply<ChecklistRecord> {
        match order.step() {
            Step::CloseChecklist => {
                self.shut((&rows::CHECKLIST, &rows::CLOSE_CHECKLIST), &order, permit, sources::checklist).await
            }
            _ => WriteReply::Refused,
        }
    }
}

#[async_trait]
impl ReviewQueue for Records {
    async fn entry(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<QueueRecord> {
        self.sources.record((&rows::QUEUE_ENTRY, &rows::QUEUE_ENTRIES), subject, held, sources::entry).await
    }

    async fn clear(&self, order: Verified, permit: Permit) -> WriteReply<QueueRecord> {
        match order.step() {
            Step::ClearQueueEntry => {
                self.shut((&rows::QUEUE_ENTRY, &rows::CLEAR_QUEUE_ENTRY), &order, permit, sources::entry).await
            }
            _ => WriteReply::Refused,
        }
    }
}

#[async_trait]
impl Tracker for Records {
    async fn release(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<TrackerRecord> {
        self.sources.tracked(subject, held).await
    }

    async fn update(&self, order: Verified, permit: Permit) -> WriteReply<TrackerRecord> {
        let Some((request, shows)) = self.addition(&order) else { return WriteReply::Refused };
        let mut turn = match self.writer.turn(permit) {
            Ok(turn) => turn,
            Err(held_back) => return WriteReply::NotApplied(held_back),
        };
        match self.look(turn.place(), order.record(), None).await {
            Ok((_, revision)) if order.revision() == Some(&revision) => {}
            Ok(_) => return WriteReply::Conflict,
            Err(missed) => return unread(missed),
        }
        let (added, mut after) = turn.change(request, shows).await;
        let added = match outcome(added) {
            Ok(added) => added,
            Err(reply) => return reply,
        };
        // What was answered is the label, or the comment. The record is read again, in what time is left.
        match self.look(after.place(), order.record(), added).await {
            Ok((record, revision)) => WriteReply::Answered(record, revision),
            Err(Missed::Unreachable(why)) => WriteReply::Unknown(why),
            Err(Missed::Missing | Missed::Ambiguous(_)) => WriteReply::Unknown(Trouble::NotUnderstood.into()),
        }
    }
}

type Shows = Box<dyn FnOnce(Success) -> Option<Option<Comment>> + Send>;

impl Records {
    /// What an order adds to a tracker record, and how the answer shows it. None where there is no place for it.
    fn addition(&self, order: &Verified) -> Option<(Request, Shows)> {
        let id = Some(order.record()).filter(|id| is_id(id))?;
        let Sources { github, .. } = &*self.sources;
        match (order.step(), order.change()) {
            (Step::ApproveTracker, Change::Approve { state }) => {
                let label = github.label_of(state)?.to_owned();
                let fills = [("id", Fill::Text(id)), ("label", Fill::Text(&label))];
                let request = self.sources.request(&rows::APPROVE, &fills)?;
                let shows = move |reply: Success| {
                    let worn = wire::labels(&reply.body).ok()?;
                    worn.iter().any(|worn| worn.eq_ignore_ascii_case(&label)).then_some(None)
                };
                Some((request, Box::new(shows)))
            }
            (Step::AttachEvidence, Change::Attach { others: _, bundle, digest, url }) => {
                let link = Link { bundle, digest, url, marker: &order.marker() }.line();
                let body = format!("Evidence of the accepted release-readiness review:\n\n{link}");
                let fills = [("id", Fill::Text(id)), ("body", Fill::Text(&body))];
                let request = self.sources.request(&rows::ATTACH, &fills)?;
                let shows = |reply: Success| {
                    let comment = wire::comment(&reply.body).ok().filter(|_| reply.status == 201)?;
                    Some(Some(comment))
                };
                Some((request, Box::new(shows)))
            }
            _ => None,
        }
    }

    /// The tracker record now, with a comment that is known to be there.
    async fn look(
        &self,
        entered: &mut Entered<'_>,
        id: &str,
        added: Option<Comment>,
    ) -> Result<(TrackerRecord, Revision), Missed> {
        let read = self.sources.issue(entered, &rows::RELEASE, id).await?;
        self.sources.with_evidence(entered, read, added).await
    }

    /// Looks once more, and closes the issue if it is still what was verified.
    async fn shut<R>(
        &self,
        (look, change): (&Row, &Row),
        order: &Verified,
        permit: Permit,
        view: View<R>,
    ) -> WriteReply<R> {
        let id = Some(order.record()).filter(|id| is_id(id));
        let request = id.and_then(|id| self.sources.request(change, &[("id", Fill::Text(id))]));
        let Some(request) = request else { return WriteReply::Refused };
        let mut turn = match self.writer.turn(permit) {
            Ok(turn) => turn,
            Err(held_back) => return WriteReply::NotApplied(held_back),
        };
        match self.sources.issue(turn.place(), look, order.record()).await {
            Ok(read) if order.revision() == Some(&read.revision) => {}
            Ok(_) => return WriteReply::Conflict,
            Err(missed) => return unread(missed),
        }
        let shows = |reply: Success| {
            let read = wire::issue(&reply.body).ok().filter(|_| reply.status == 200)?;
            Some((view(&read, &self.sources.github.headings), read.revision))
        };
        match outcome(turn.change(request, shows).await.0) {
            Ok((record, revision)) => WriteReply::Answered(record, revision),
            Err(reply) => reply,
        }
    }
}

/// What it comes to that the record could not be read right before a change.
fn unread<R>(missed: Missed) -> WriteReply<R> {
    match missed {
        Missed::Missing => WriteReply::Gone,
        Missed::Unreachable(why) => WriteReply::NotApplied(why),
        Missed::Ambiguous(_) => WriteReply::Refused,
    }
}

/// What a change comes to that did not succeed.
fn outcome<T, R>(came: Came<T>) -> Result<T, WriteReply<R>> {
    Err(match came {
        Came::Success(shown) => return Ok(shown),
        // It was there a moment ago: GitHub says 404 to whoever may read and not write.
        Came::Problem(404) => WriteReply::NotApplied(Trouble::Forbidden.into()),
        Came::Problem(410) => WriteReply::Gone,
        Came::Problem(_) => WriteReply::Refused,
        Came::Failure(failure) if failure.nothing_applied() => WriteReply::NotApplied(failure.why),
        Came::Failure(failure) => WriteReply::Unknown(failure.why),
    })
}

#[cfg(test)]
mod tests;
