//! Jira: the issues of one project as review, checklist, tracker record and queue entry. Jira Cloud speaks version 3 of the API, a
//! Data Center version 2; what is used of them differs in the search and in how long texts are written.
//!
//! **The precondition:** Jira takes none. A status is changed by a transition, which a workflow has from certain statuses only; its
//! id is looked up right before each change, together with the record, and nothing is sent where anything that is compared
//! differs from what was verified. The cloud refuses a transition that meets another one (409): `Serialized`, in a Data Center
//! `ReadVerifyWrite`. A remote link is added without touching the others, under the closure's key: added twice, it is one.
//!
//! **What is not there:** Jira says 404 to whoever may not look, and in the cloud nobody tells a revoked token so: it is taken for
//! nobody's, who sees less. So what is not found is missing only where the project can be seen by whoever the token says.
//!
//! **What a write costs:** the transitions, the record before it, and the record after it, within the one timeout.

#[cfg(test)]
mod fuzz_tests;
mod probe;
mod records;
mod rows;
mod sources;
mod text;
mod wire;

pub use rows::allow_list;

use super::limits::Limits;
use super::rest::client::{Reader, Success, Writer};
use super::rest::reply::Came;
use super::rest::table::{Fill, Request};
use super::rest::{self, Dialect, Shown};
use super::{Product, Refused, Settings, Surroundings};
use crate::closure::decide::{Change, Verified};
use crate::closure::ids::Step;
use crate::closure::snapshot::{ChecklistRecord, Observation, QueueRecord, TrackerRecord, Trouble};
use crate::products::Jira;
use crate::products::jira::{Deployment, Source};
use crate::providers::issues::form;
use crate::roles::{Checklist, Connected, Permit, ReviewQueue, Subject, Tracker, WriteReply};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use records::{Record, SHORT_MAX};
use rows::Ways;
use secrecy::{ExposeSecret, SecretString};
use sources::{Missed, Seen, Sources, trouble};
use std::sync::Arc;
use wire::Transition;

static BEARER: Dialect = Dialect { is_own: wire::is_own_error, ..Dialect::PLAIN };
static BASIC: Dialect = Dialect { is_own: wire::is_own_error, token: Shown::Basic, ..Dialect::PLAIN };

/// Makes the connection's roles. Sends nothing.
///
/// # Errors
/// The endpoint is refused, a setting is none, or a Secret does not hold what it should.
pub(super) fn connect(settings: &Settings, surroundings: Surroundings) -> Result<Connected, Refused> {
    let Product::Jira(jira) = &settings.product else { return Err(Refused::NotSupported) };
    checked(jira)?;
    let mut settings = settings.clone();
    let dialect = match &jira.user {
        None => &BEARER,
        Some(user) => {
            let token = settings.token.take().ok_or(Refused::Token)?;
            let token = token.expose_secret().trim_ascii();
            // White space within would be hidden by the encoding, from a check that it is to meet.
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(Refused::Token);
            }
            settings.token = Some(SecretString::from(STANDARD.encode(format!("{user}:{token}"))));
            &BASIC
        }
    };
    let (reader, writer, gate): (Reader, Writer, Arc<Limits>) =
        rest::connect(&settings, &jira.endpoint, dialect, surroundings)?;
    let sources = Arc::new(Sources::new(reader, (**jira).clone()));
    let records = Arc::new(Records { sources: sources.clone(), writer });
    Ok(Connected {
        governance: Some(sources.clone()),
        checklist: Some(records.clone()),
        tracker: Some(records.clone()),
        queue: Some(records),
        ..Connected::without_roles(gate, sources)
    })
}

/// Whether the settings can be had of this Jira at all.
fn checked(jira: &Jira) -> Result<(), Refused> {
    for (setting, source) in jira.fields.given() {
        let rule = match Source::of(source) {
            None => {
                "the id of a custom field (`customfield_` and its number), `label:` and how it begins, or `property:` and its key"
            }
            Some(Source::Property(_)) if jira.deployment == Deployment::DataCenter => {
                "a custom field or a label: the search of a Data Center tells no properties"
            }
            Some(_) => continue,
        };
        return Err(Refused::Setting { setting, rule });
    }
    Ok(())
}

/// What is changed.
struct Records {
    sources: Arc<Sources>,
    writer: Writer,
}

#[async_trait]
impl Checklist for Records {
    async fn checklist(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<ChecklistRecord> {
        self.sources.observe(subject, held).await
    }

    async fn close(&self, order: Verified, permit: Permit) -> WriteReply<ChecklistRecord> {
        match order.step() {
            Step::CloseChecklist => self.write(&order, permit).await,
            _ => WriteReply::Refused,
        }
    }
}

#[async_trait]
impl Tracker for Records {
    async fn release(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<TrackerRecord> {
        self.sources.observe(subject, held).await
    }

    async fn update(&self, order: Verified, permit: Permit) -> WriteReply<TrackerRecord> {
        match order.step() {
            Step::ApproveTracker | Step::AttachEvidence => self.write(&order, permit).await,
            _ => WriteReply::Refused,
        }
    }
}

#[async_trait]
impl ReviewQueue for Records {
    async fn entry(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<QueueRecord> {
        self.sources.observe(subject, held).await
    }

    async fn clear(&self, order: Verified, permit: Permit) -> WriteReply<QueueRecord> {
        match order.step() {
            Step::ClearQueueEntry => self.write(&order, permit).await,
            _ => WriteReply::Refused,
        }
    }
}

/// What an order asks for, in Jira's terms.
enum Wanted<'a> {
    /// This status, by one of these ways.
    Status(&'a str, &'static Ways),
    /// A remote link.
    Link { bundle: &'a str, digest: &'a str, url: &'a str },
}

impl Records {
    fn wanted<'a>(&'a self, order: &'a Verified) -> Option<Wanted<'a>> {
        let statuses = &self.sources.jira.statuses;
        match order.change() {
            Change::Close => Some(Wanted::Status(&statuses.closed, &rows::CLOSE)),
            Change::Clear => Some(Wanted::Status(&statuses.cleared, &rows::CLEAR)),
            // The playbook's word, which must be the connection's.
            Change::Approve { state } if *state == *statuses.approved => {
                Some(Wanted::Status(&statuses.approved, &rows::APPROVE))
            }
            // Jira takes no longer title, and what is cut off would be another bundle.
            Change::Attach { others: _, bundle, digest, url } if bundle.len() <= SHORT_MAX => {
                Some(Wanted::Link { bundle, digest, url })
            }
            Change::Attach { .. } | Change::Approve { .. } | Change::Announce(_) => None,
        }
    }

    /// Looks what ways there are and whether the record is still what was verified, makes the change, and looks what came of it.
    async fn write<R: Record>(&self, order: &Verified, permit: Permit) -> WriteReply<R> {
        let (sources, id) = (&self.sources, order.record());
        let Some(wanted) = self.wanted(order).filter(|_| sources.is_key(id)) else { return WriteReply::Refused };
        let mut turn = match self.writer.turn(permit) {
            Ok(turn) => turn,
            Err(held_back) => return WriteReply::NotApplied(held_back),
        };
        let mut open = Vec::new();
        if let Wanted::Status(_, ways) = &wanted {
            let Some(request) = sources.request(ways.all, &[("id", Fill::Text(id))]) else {
                return WriteReply::Refused;
            };
            open = match turn.get(request, |reply| wire::transitions(&reply.body).ok()).await {
                Came::Success(open) => open,
                Came::Problem(404 | 410) => return unread(sources.missing(turn.place()).await),
                other => return WriteReply::NotApplied(trouble(other)),
            };
        }
        // The record last: between this look and the change nothing is asked.
        let before: Seen<R> = match sources.read(turn.place(), id).await {
            Ok(before) => before,
            Err(missed) => return unread(missed),
        };
        if order.revision() != Some(&before.revision) {
            return WriteReply::Conflict;
        }
        let request = match &wanted {
            // What a person wrote where our mark is to stand is not written over.
            Wanted::Status(..) if !form::takes_mark(&before.mark) => {
                tracing::warn!(
                    record = id,
                    "the field that `jira.fields.marker` names holds somebody's words: empty it there, or name another field; \
                     nothing was sent"
                );
                return WriteReply::Refused;
            }
            Wanted::Status(status, ways) => match self.way(&open, status) {
                Some(way) => self.transit(order, ways, way),
                // The workflow has none from here, or none for the token's user, or none with the field of our mark.
                None => return WriteReply::NotApplied(Trouble::Forbidden.into()),
            },
            Wanted::Link { bundle, digest, url } => {
                let global_id = records::global_id(&order.marker().key);
                // What stands under our key already is not what was ordered, and somebody's doing: it is not written over.
                if before.links.iter().any(|link| link.global_id.as_deref() == Some(&global_id)) {
                    return WriteReply::Refused;
                }
                let summary = records::summary(digest, &order.marker());
                let link = [("globalId", &*global_id), ("url", url), ("bundle", bundle), ("summary", &*summary)];
                let link = link.map(|(name, text)| (name, Fill::Text(text)));
                sources.request(&rows::ATTACH_EVIDENCE, &[&[("id", Fill::Text(id))][..], &link].concat())
            }
        };
        let Some(request) = request else { return WriteReply::Refused };
        let understand = |reply: Success| match wanted {
            Wanted::Status(..) => (reply.status == 204).then_some(()),
            Wanted::Link { .. } => wire::added(reply.status, &reply.body),
        };
        let (came, mut after) = turn.change(request, understand).await;
        match came {
            Came::Success(()) => {}
            // It was there a moment ago: whoever may not look any more is told 404, too.
            Came::Problem(404) => return WriteReply::NotApplied(Trouble::Forbidden.into()),
            Came::Problem(status) => return Came::<(R, _)>::Problem(status).write_reply(),
            Came::Failure(failure) => return Came::<(R, _)>::Failure(failure).write_reply(),
        }
        match sources.read(after.place(), id).await {
            Ok(Seen { record, revision, .. }) => WriteReply::Answered(record, revision),
            Err(Missed::Unreachable(why)) => WriteReply::Unknown(why),
            Err(Missed::Missing | Missed::Ambiguous(_)) => WriteReply::Unknown(Trouble::NotUnderstood.into()),
        }
    }

    /// The transition that leads to a status. Its screen has the field of our mark where there is one, since Jira refuses what is
    /// not on it; and asks for nothing else, which is a person's to say.
    fn way<'a>(&self, open: &'a [Transition], status: &str) -> Option<&'a Transition> {
        let marker = self.sources.jira.fields.marker.as_deref();
        open.iter().find(|way| way.to == status && way.takes(marker))
    }

    fn transit(&self, order: &Verified, ways: &Ways, way: &Transition) -> Option<Request> {
        let fills = [("id", Fill::Text(order.record())), ("transition", Fill::Text(&way.id))];
        let Some(field) = &self.sources.jira.fields.marker else {
            return self.sources.request(ways.unmarked, &fills);
        };
        // A short text holds no more, and half a mark is somebody else's.
        let mark = Some(form::mark(order.step(), &order.marker())).filter(|mark| mark.len() <= SHORT_MAX)?;
        let mark = [("field", Fill::Text(field)), ("mark", Fill::Text(&mark))];
        self.sources.request(ways.marked, &[&fills[..], &mark].concat())
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
