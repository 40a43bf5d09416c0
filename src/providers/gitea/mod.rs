//! Gitea and Forgejo: the issues of one repository as review, checklist, tracker record and queue entry.
//!
//! **The precondition:** an issue's text has a version, and a change that names an older one is refused (409) as a whole. Every
//! change of ours changes the text (our mark is part of it), so every one of them is conditional. Closing an issue, or putting
//! it on another milestone, does not count as a change of its text; so the issue is read once more right before each change, and
//! the change is not made where anything that is compared differs from what was verified.
//!
//! **What a write costs:** one read more than the contract's budget, for that look and for the text that is changed; where an
//! issue is closed one more, for what it depends on.

#[cfg(test)]
mod fuzz_tests;
mod probe;
mod rows;
mod wire;

pub use rows::allow_list;

use super::issues::Issue;
use super::limits::{Entered, Limits};
use super::rest::client::{Reader, Success, Turn, Writer};
use super::rest::reply::{Came, Failure, Fate};
use super::rest::table::{Fill, Row};
use super::rest::{self, Dialect};
use super::{Product, Refused, Settings, Surroundings};
use crate::closure::decide::{Change, Verified};
use crate::closure::ids::{Step, is_id};
use crate::closure::snapshot::{
    ChecklistRecord, Observation, QueueRecord, ReviewRecord, TrackerRecord, Trouble, Unreachable,
};
use crate::products::Gitea;
use crate::products::issues::Headings;
use crate::roles::{Checklist, Connected, Governance, Permit, ReviewQueue, Subject, Tracker, WriteReply};
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wire::Read;

/// Most pages of a look-up, of fifty issues each.
const PAGES_MAX: u64 = 40;

static DIALECT: Dialect = Dialect { is_own: wire::is_own_error, ..Dialect::PLAIN };

/// Makes the connection's roles. Sends nothing.
///
/// # Errors
/// The endpoint is refused, or a Secret does not hold what it should.
pub(super) fn connect(settings: &Settings, surroundings: Surroundings) -> Result<Connected, Refused> {
    let gitea = product(settings)?;
    let connection = rest::connect(settings, &gitea.endpoint, &DIALECT, surroundings)?;
    Ok(roles(gitea, connection))
}

fn product(settings: &Settings) -> Result<&Gitea, Refused> {
    if let Product::Gitea(gitea) = &settings.product { Ok(gitea) } else { Err(Refused::NotSupported) }
}

fn roles(gitea: &Gitea, (reader, writer, gate): (Reader, Writer, Arc<Limits>)) -> Connected {
    let sources = Arc::new(Sources { reader, gitea: gitea.clone(), refused: AtomicBool::new(false) });
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
    gitea: Gitea,
    /// Whether the last change that was answered was refused, by Gitea itself, to whoever the token is of.
    refused: AtomicBool,
}

/// What is changed.
struct Records {
    sources: Arc<Sources>,
    writer: Writer,
}

type View<R> = fn(&Issue, &Headings) -> R;

#[async_trait]
impl Governance for Sources {
    async fn review(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<ReviewRecord> {
        let Some(id) = subject.record else { return Observation::Unreachable(Trouble::NotUnderstood.into()) };
        self.read(&rows::REVIEW, id, held, Issue::review).await
    }
}

#[async_trait]
impl Checklist for Records {
    async fn checklist(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<ChecklistRecord> {
        self.sources.find((&rows::CHECKLIST, &rows::CHECKLISTS), subject, true, held, Issue::checklist).await
    }

    async fn close(&self, order: Verified, permit: Permit) -> WriteReply<ChecklistRecord> {
        match order.step() {
            Step::CloseChecklist => {
                self.write((&rows::CHECKLIST, &rows::CLOSE_CHECKLIST), &order, permit, Issue::checklist).await
            }
            _ => WriteReply::Refused,
        }
    }
}

#[async_trait]
impl Tracker for Records {
    async fn release(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<TrackerRecord> {
        self.sources.find((&rows::RELEASE, &rows::RELEASES), subject, false, held, Issue::tracker).await
    }

    async fn update(&self, order: Verified, permit: Permit) -> WriteReply<TrackerRecord> {
        match order.step() {
            Step::ApproveTracker | Step::AttachEvidence => {
                self.write((&rows::RELEASE, &rows::CHANGE_RELEASE), &order, permit, Issue::tracker).await
            }
            _ => WriteReply::Refused,
        }
    }
}

#[async_trait]
impl ReviewQueue for Records {
    async fn entry(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<QueueRecord> {
        self.sources.find((&rows::QUEUE_ENTRY, &rows::QUEUE_ENTRIES), subject, true, held, Issue::entry).await
    }

    async fn clear(&self, order: Verified, permit: Permit) -> WriteReply<QueueRecord> {
        match order.step() {
            Step::ClearQueueEntry => {
                self.write((&rows::QUEUE_ENTRY, &rows::CLEAR_QUEUE_ENTRY), &order, permit, Issue::entry).await
            }
            _ => WriteReply::Refused,
        }
    }
}

impl Sources {
    /// The repository's holes, and these.
    fn fills<'a>(&'a self, more: &[(&'a str, Fill<'a>)]) -> Option<Vec<(&'a str, Fill<'a>)>> {
        let (owner, name) = self.gitea.owner_and_name()?;
        // The first fill names the record.
        let mut fills = more.to_vec();
        fills.push(("owner", Fill::Text(owner)));
        fills.push(("name", Fill::Text(name)));
        Some(fills)
    }

    /// Reads one issue.
    async fn read<R>(&self, row: &Row, id: &str, held: Option<&Permit>, view: View<R>) -> Observation<R> {
        let request = Some(id).filter(|id| is_id(id)).and_then(|id| self.fills(&[("id", Fill::Text(id))]));
        let Some(request) = request.and_then(|fills| row.request(&fills)) else {
            return Observation::Unreachable(Trouble::NotUnderstood.into());
        };
        let mut entered = match self.reader.enter(held).await {
            Ok(entered) => entered,
            Err(held_back) => return Observation::Unreachable(held_back),
        };
        match self.reader.get(&mut entered, request, |reply| wire::issue(&reply.body).ok()).await {
            Came::Success(read) if self.is_one(row, &read) => {
                Observation::Found(view(&read.issue, &self.gitea.headings), read.revision)
            }
            // It is a record of another role, or of none.
            Came::Success(_) => Observation::Missing,
            Came::Problem(404 | 410) => self.nothing_there(&mut entered).await,
            Came::Problem(_) => Observation::Unreachable(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => Observation::Unreachable(failure.why),
        }
    }

    /// Whether an issue is a record of the row's role: the forms of two roles may have the same headings, and only the label
    /// tells their issues apart.
    fn is_one(&self, row: &Row, read: &Read) -> bool {
        self.gitea.labels.of(row.system()).is_none_or(|label| read.labels.iter().any(|worn| worn == label))
    }

    /// What there being nothing means: Gitea says so, too, of a repository that the token may not see, and of one without issues.
    async fn nothing_there<R>(&self, entered: &mut Entered<'_>) -> Observation<R> {
        let Some(request) = self.fills(&[]).and_then(|fills| rows::REPOSITORY.request(&fills)) else {
            return Observation::Unreachable(Trouble::NotUnderstood.into());
        };
        match self.reader.get(entered, request, |reply| wire::repository(&reply.body).ok()).await {
            Came::Success(repository) if repository.keeps_issues() => Observation::Missing,
            Came::Success(_) => Observation::Unreachable(Trouble::NotUnderstood.into()),
            Came::Problem(404 | 410) => Observation::Unreachable(Trouble::Forbidden.into()),
            Came::Problem(_) => Observation::Unreachable(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => Observation::Unreachable(failure.why),
        }
    }

    /// Reads one issue by its number, or by the release in its text. `versioned`: the record is of one review version.
    async fn find<R>(
        &self,
        (by_id, all): (&Row, &Row),
        subject: Subject<'_>,
        versioned: bool,
        held: Option<&Permit>,
        view: View<R>,
    ) -> Observation<R> {
        if let Some(id) = subject.record {
            return self.read(by_id, id, held, view).await;
        }
        let mut entered = match self.reader.enter(held).await {
            Ok(entered) => entered,
            Err(held_back) => return Observation::Unreachable(held_back),
        };
        let (headings, label) = (&self.gitea.headings, self.gitea.labels.of(all.system()).unwrap_or_default());
        let mut found: Vec<Read> = Vec::new();
        for page in 1..=PAGES_MAX {
            let fills = self.fills(&[("label", Fill::Text(label)), ("page", Fill::Number(page))]);
            let Some(request) = fills.and_then(|fills| all.request(&fills)) else {
                return Observation::Unreachable(Trouble::NotUnderstood.into());
            };
            let page = match self.reader.get(&mut entered, request, |reply| wire::issues(&reply.body).ok()).await {
                Came::Success(page) => page,
                Came::Problem(404 | 410) => {
                    return match self.nothing_there(&mut entered).await {
                        // Its list is there, unless somebody has just turned the issues on.
                        Observation::Missing => Observation::Unreachable(Trouble::NotUnderstood.into()),
                        other => other,
                    };
                }
                Came::Problem(_) => return Observation::Unreachable(Trouble::NotUnderstood.into()),
                Came::Failure(failure) => return Observation::Unreachable(failure.why),
            };
            // How many a page has at most is the server's to say, so only one without any is the last.
            if page.is_empty() {
                let mut found = found.into_iter();
                return match (found.next(), found.len()) {
                    (None, _) => Observation::Missing,
                    (Some(read), 0) => Observation::Found(view(&read.issue, headings), read.revision),
                    (Some(_), more) => Observation::Ambiguous(1 + more),
                };
            }
            for read in page {
                let form = &read.issue.form;
                let wanted = form.value(&headings.release) == subject.release
                    && (!versioned || form.value(&headings.review_version) == subject.review_version);
                // Gitea ignores a label that it does not know and lists everything. And an issue that is made meanwhile
                // moves the others, so that one of them is on two pages.
                let known = found.iter().any(|other| other.issue.id == read.issue.id);
                if wanted && !known && self.is_one(all, &read) {
                    found.push(read);
                }
            }
        }
        // More than can be looked through: nobody can say that there is one and no other.
        Observation::Unreachable(Trouble::NotUnderstood.into())
    }
}

impl Records {
    /// Looks once more, and changes the issue's text, and with it whether it is closed, if it is still what was verified.
    async fn write<R>(
        &self,
        (look, change): (&Row, &Row),
        order: &Verified,
        permit: Permit,
        view: View<R>,
    ) -> WriteReply<R> {
        let gitea = &self.sources.gitea;
        let id = Fill::Text(order.record());
        let fills = self.sources.fills(&[("id", id)]).filter(|_| is_id(order.record()));
        let Some(request) = fills.and_then(|fills| look.request(&fills)) else { return WriteReply::Refused };
        let mut turn = match self.writer.turn(permit) {
            Ok(turn) => turn,
            Err(held_back) => return WriteReply::NotApplied(held_back),
        };
        let read = match turn.get(request, |reply| wire::issue(&reply.body).ok()).await {
            Came::Success(read) => read,
            Came::Problem(404 | 410) => return WriteReply::Gone,
            Came::Problem(_) => return WriteReply::NotApplied(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => return WriteReply::NotApplied(failure.why),
        };
        // Labels are no part of the revision.
        if !self.sources.is_one(look, &read) {
            return WriteReply::Gone;
        }
        if order.revision() != Some(&read.revision) {
            return WriteReply::Conflict;
        }
        if matches!(order.change(), Change::Close | Change::Clear) {
            match self.depends_on_open(id, &mut turn).await {
                Ok(false) => {}
                Ok(true) => return WriteReply::Refused,
                Err(why) => return WriteReply::NotApplied(why),
            }
        }
        let (mut issue, version) = (read.issue, read.content_version);
        let Some(()) = issue.apply(&gitea.headings, order) else { return WriteReply::Refused };
        let text = issue.form.into_text();
        let more = [("id", id), ("body", Fill::Text(&text)), ("version", Fill::Number(version))];
        let Some(request) = self.sources.fills(&more).and_then(|fills| change.request(&fills)) else {
            return WriteReply::Refused;
        };
        let understand = |reply: Success| {
            // 201 is what Gitea says of a change.
            let read = wire::issue(&reply.body).ok().filter(|_| matches!(reply.status, 200 | 201))?;
            Some((view(&read.issue, &gitea.headings), read.revision))
        };
        let came = turn.change(request, understand).await.0;
        match &came {
            Came::Failure(Failure { fate: Fate::Said(403, true), .. }) => {
                self.sources.refused.store(true, Ordering::Relaxed);
            }
            Came::Success(_) => self.sources.refused.store(false, Ordering::Relaxed),
            Came::Problem(_) | Came::Failure(_) => {}
        }
        match came {
            // 412 is no precondition here: the issue depends on another one that is open.
            Came::Problem(412) => WriteReply::Refused,
            came => came.write_reply(),
        }
    }

    /// Whether the issue depends on another one that is open. Asked before it is closed, since Gitea changes the text, our mark
    /// with it, before it finds that it does not close the issue.
    async fn depends_on_open(&self, id: Fill<'_>, turn: &mut Turn<'_>) -> Result<bool, Unreachable> {
        let request = self.sources.fills(&[("id", id)]).and_then(|fills| rows::DEPENDENCIES.request(&fills));
        let Some(request) = request else { return Err(Trouble::NotUnderstood.into()) };
        match turn.get(request, |reply| wire::any_open(&reply.body).ok()).await {
            Came::Success(open) => Ok(open),
            // The repository has dependencies turned off.
            Came::Problem(404) => Ok(false),
            Came::Problem(_) => Err(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => Err(failure.why),
        }
    }
}
