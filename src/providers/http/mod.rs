//! The closure HTTP contract, version 1, in all six roles and as a channel for follow-ups.
//!
//! `rows` is the allow-list that every request is made from; `wire` understands what came back; here that becomes what the
//! roles promise.
//!
//! **Architecture invariant:** governance and archive are played by [`Sources`], which has a reader and no writer.

mod follow_up;
mod rows;
mod wire;

pub use rows::allow_list;

use super::limits::Limits;
use super::rest::client::{Condition, Reader, Success, Writer};
use super::rest::json::NotTheContract;
use super::rest::reply::{Came, Media};
use super::rest::table::{Fill, Request, Row};
use super::rest::transport::Transport;
use super::rest::{self, Dialect};
use super::{Product, Refused, Settings, Surroundings};
use crate::closure::decide::{Change, Delivery, HandoffBody, Verified};
use crate::closure::ids::{System, is_bundle, is_id};
use crate::closure::snapshot::{
    BundleRecord, ChecklistRecord, Observation, QueueRecord, ReviewRecord, Revision, TrackerRecord, Trouble,
};
use crate::roles::{
    Abilities, AnnounceReply, Archive, Checklist, Concurrency, Connected, Governance, HandoffSighting, Intake, Listed,
    Permit, Probe, Prober, ReviewQueue, Subject, Tracker, WriteReply,
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::Arc;

/// An identifier that no closure uses, for probes.
const PROBE_ID: &str = "releaseclosure-probe";
/// The only state a tracker of this contract offers for approval.
pub const APPROVED: &str = "Approved";
/// Longest entity tag, in bytes: statuses keep revisions, and theirs are bounded.
const ETAG_MAX: usize = 128;

/// RFC 9457's problem documents are its errors; a 404 without one is no answer.
pub(super) static DIALECT: Dialect = Dialect {
    accept: "application/json, application/problem+json",
    patch: "application/merge-patch+json",
    errors: Media::Problem,
    ..Dialect::PLAIN
};

/// Makes the connection's roles. Sends nothing.
///
/// # Errors
/// The endpoint is refused, or a Secret does not hold what it should.
pub(super) fn connect(settings: &Settings, surroundings: Surroundings) -> Result<Connected, Refused> {
    let Product::Http { endpoint, delivery } = &settings.product else { return Err(Refused::NotSupported) };
    Ok(roles(settings, *delivery, rest::connect(settings, endpoint, &DIALECT, surroundings)?))
}

/// The connection's roles over somebody else's transport: for systems that are played in memory.
///
/// # Errors
/// The endpoint is refused, the token is none, or a limit is none.
pub fn connect_over(settings: &Settings, transport: Arc<dyn Transport>) -> Result<Connected, Refused> {
    let Product::Http { endpoint, delivery } = &settings.product else { return Err(Refused::NotSupported) };
    Ok(roles(settings, *delivery, rest::connect_over(settings, endpoint, &DIALECT, transport)?))
}

fn roles(settings: &Settings, delivery: Delivery, (reader, writer, gate): (Reader, Writer, Arc<Limits>)) -> Connected {
    let plaintext_allowed = settings.allow_plaintext;
    let sources = Arc::new(Sources { reader: reader.clone(), plaintext_allowed, delivery });
    let records = Arc::new(Records { reader, writer });
    Connected {
        gate,
        governance: Some(sources.clone()),
        archive: Some(sources.clone()),
        checklist: Some(records.clone()),
        tracker: Some(records.clone()),
        queue: Some(records.clone()),
        intake: Some(records.clone()),
        events: None,
        follow_up: Some(records),
        prober: sources,
    }
}

/// What is only read. Has no way to write.
struct Sources {
    reader: Reader,
    plaintext_allowed: bool,
    delivery: Delivery,
}

/// What is changed, and announced to.
struct Records {
    reader: Reader,
    writer: Writer,
}

#[async_trait]
impl Governance for Sources {
    async fn review(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<ReviewRecord> {
        let id = subject.record.filter(|id| is_id(id));
        let request = id.and_then(|id| rows::REVIEW.request(&[("id", Fill::Text(id))]));
        read(&self.reader, request, held, |reply| Some((wire::review(&reply.body).ok()?, any_revision(&reply)))).await
    }

    async fn accepted(&self, state: &str, after: Timestamp, cursor: Option<&str>) -> Listed {
        let time = after.to_string();
        let mut fills = vec![("state", Fill::Text(state)), ("time", Fill::Text(&time))];
        let request = match cursor {
            None => rows::REVIEWS.request(&fills),
            Some(cursor) => {
                fills.push(("cursor", Fill::Text(cursor)));
                rows::REVIEWS_FROM.request(&fills)
            }
        };
        let Some(request) = request else { return Listed::Unreachable(Trouble::NotUnderstood.into()) };
        let mut entered = match self.reader.enter(None).await {
            Ok(entered) => entered,
            Err(held_back) => return Listed::Unreachable(held_back),
        };
        match self.reader.get(&mut entered, request, |reply| wire::reviews(&reply.body).ok()).await {
            Came::Success(page) => Listed::Page(page),
            Came::Problem(404 | 405) => Listed::NotOffered,
            Came::Problem(_) => Listed::Unreachable(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => Listed::Unreachable(failure.why),
        }
    }
}

#[async_trait]
impl Archive for Sources {
    async fn bundle(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<BundleRecord> {
        let name = subject.record.filter(|name| is_bundle(name));
        let request = name.and_then(|name| rows::BUNDLE.request(&[("bundle", Fill::Text(name))]));
        read(&self.reader, request, held, |reply| {
            Some((wire::bundle(&reply.body, self.plaintext_allowed).ok()?, any_revision(&reply)))
        })
        .await
    }
}

#[async_trait]
impl Checklist for Records {
    async fn checklist(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<ChecklistRecord> {
        find(&self.reader, subject, (&rows::CHECKLIST, &rows::CHECKLISTS_OF), held, wire::checklist).await
    }

    async fn close(&self, order: Verified, permit: Permit) -> WriteReply<ChecklistRecord> {
        let request = match order.change() {
            Change::Close => change(&rows::CLOSE_CHECKLIST, &order, &[]),
            Change::Approve { .. } | Change::Attach { .. } | Change::Clear | Change::Announce(_) => None,
        };
        write(&self.writer, request, &order, permit, wire::checklist).await
    }
}

#[async_trait]
impl Tracker for Records {
    async fn release(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<TrackerRecord> {
        find(&self.reader, subject, (&rows::RELEASE, &rows::RELEASES_OF), held, wire::release).await
    }

    async fn update(&self, order: Verified, permit: Permit) -> WriteReply<TrackerRecord> {
        let request = match order.change() {
            Change::Approve { state } if state == APPROVED => change(&rows::APPROVE_RELEASE, &order, &[]),
            Change::Attach { others, bundle, digest, url } => {
                let ours = [
                    ("others,", Fill::Others(others)),
                    ("bundle", Fill::Text(bundle)),
                    ("digest", Fill::Text(digest)),
                    ("url", Fill::Text(url)),
                ];
                change(&rows::ATTACH_EVIDENCE, &order, &ours)
            }
            Change::Approve { .. } | Change::Close | Change::Clear | Change::Announce(_) => None,
        };
        write(&self.writer, request, &order, permit, wire::release).await
    }
}

#[async_trait]
impl ReviewQueue for Records {
    async fn entry(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<QueueRecord> {
        find(&self.reader, subject, (&rows::QUEUE_ENTRY, &rows::QUEUE_ENTRIES_OF), held, wire::queue_entry).await
    }

    async fn clear(&self, order: Verified, permit: Permit) -> WriteReply<QueueRecord> {
        let request = match order.change() {
            Change::Clear => change(&rows::CLEAR_QUEUE_ENTRY, &order, &[]),
            Change::Close | Change::Approve { .. } | Change::Attach { .. } | Change::Announce(_) => None,
        };
        write(&self.writer, request, &order, permit, wire::queue_entry).await
    }
}

#[async_trait]
impl Intake for Records {
    async fn handoff(&self, key: &str, held: Option<&Permit>) -> HandoffSighting {
        let Some(request) = rows::HANDOFF.request(&[("key", Fill::Text(key))]) else {
            return HandoffSighting::Unreachable(Trouble::NotUnderstood.into());
        };
        let mut entered = match self.reader.enter(held).await {
            Ok(entered) => entered,
            Err(held_back) => return HandoffSighting::Unreachable(held_back),
        };
        match self.reader.get(&mut entered, request, |reply| wire::handoff(&reply.body, key).ok()).await {
            Came::Success(()) => HandoffSighting::There,
            Came::Problem(404 | 410) => HandoffSighting::NotThere,
            Came::Problem(_) => HandoffSighting::Unreachable(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => HandoffSighting::Unreachable(failure.why),
        }
    }

    async fn announce(&self, order: Verified, permit: Permit) -> AnnounceReply {
        let key = order.key().as_str();
        let request = match order.change() {
            Change::Announce(body) => announcement(body),
            Change::Close | Change::Approve { .. } | Change::Attach { .. } | Change::Clear => None,
        };
        let Some(request) = request else { return AnnounceReply::Refused };
        let understand = |reply: Success| match (reply.status, wire::handoff(&reply.body, key)) {
            (201, Ok(())) => Some(AnnounceReply::Accepted),
            (200, Ok(())) => Some(AnnounceReply::AlreadyThere),
            (_, Ok(()) | Err(NotTheContract)) => None,
        };
        // An intake that knows no keys ignores the header.
        match self.writer.write(permit, request, Condition::IdempotencyKey(key), understand).await {
            Came::Success(reply) => reply,
            Came::Problem(409) => AnnounceReply::Conflict,
            Came::Problem(400 | 404 | 405 | 410 | 415 | 422) => AnnounceReply::Refused,
            Came::Problem(_) => AnnounceReply::NotSent(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => failure.announce_reply(),
        }
    }
}

#[async_trait]
impl Prober for Sources {
    async fn probe(&self, system: System) -> Probe {
        let (ask, name) = match system {
            System::Governance => (&rows::REVIEW, "id"),
            System::Archive => (&rows::BUNDLE, "bundle"),
            System::Checklist => (&rows::CHECKLIST, "id"),
            System::Tracker => (&rows::RELEASE, "id"),
            System::Queue => (&rows::QUEUE_ENTRY, "id"),
            System::Intake => (&rows::HANDOFF, "key"),
        };
        let Some(request) = ask.request(&[(name, Fill::Text(PROBE_ID))]) else {
            return Probe::Failed(Trouble::NotUnderstood.into());
        };
        match self.reader.probe(request, |_| Some(())).await {
            Came::Success(()) | Came::Problem(404) => Probe::Ready,
            // Who knows no keys need not offer the look-up either.
            Came::Problem(405) if system == System::Intake && self.delivery == Delivery::None => Probe::Ready,
            Came::Problem(_) => Probe::Failed(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => Probe::Failed(failure.why),
        }
    }

    fn abilities(&self, system: System) -> Option<Abilities> {
        let written = matches!(system, System::Checklist | System::Tracker | System::Queue);
        Some(Abilities {
            concurrency: written.then_some(Concurrency::CompareAndSwap),
            marker: written.then_some(true),
            carries: Abilities::all_fields(system),
            delivery: (system == System::Intake).then_some(self.delivery),
            can_look_up: system == System::Intake && self.delivery != Delivery::None,
            ..Abilities::NONE
        })
    }
}

/// Reads one record by its id.
async fn read<R>(
    reader: &Reader,
    request: Option<Request>,
    held: Option<&Permit>,
    understand: impl FnOnce(Success) -> Option<(R, Revision)>,
) -> Observation<R> {
    // The core checks its identifiers; without one there is nothing to ask for.
    let Some(request) = request else { return Observation::Unreachable(Trouble::NotUnderstood.into()) };
    let mut entered = match reader.enter(held).await {
        Ok(entered) => entered,
        Err(held_back) => return Observation::Unreachable(held_back),
    };
    reader.get(&mut entered, request, understand).await.observation()
}

/// Reads one record by its id, or looks it up by its release first. A look-up carries no entity tag, hence two reads.
async fn find<R>(
    reader: &Reader,
    subject: Subject<'_>,
    (by_id, by_release): (&Row, &Row),
    held: Option<&Permit>,
    parse: fn(&[u8]) -> Result<R, NotTheContract>,
) -> Observation<R> {
    let nothing_to_ask = || Observation::Unreachable(Trouble::NotUnderstood.into());
    let understand = |reply: Success| Some((parse(&reply.body).ok()?, strong_revision(&reply)?));
    if let Some(id) = subject.record {
        let request = Some(id).filter(|id| is_id(id)).and_then(|id| by_id.request(&[("id", Fill::Text(id))]));
        return read(reader, request, held, understand).await;
    }
    if !is_id(subject.release) || !is_id(subject.review_version) {
        return nothing_to_ask();
    }
    let fills = [("release", Fill::Text(subject.release)), ("reviewVersion", Fill::Text(subject.review_version))];
    let Some(request) = by_release.request(&fills) else { return nothing_to_ask() };
    let mut entered = match reader.enter(held).await {
        Ok(entered) => entered,
        Err(held_back) => return Observation::Unreachable(held_back),
    };
    let found = match reader.get(&mut entered, request, |reply| wire::listed(&reply.body).ok()).await {
        Came::Success(found) => found,
        // A look-up that finds nothing is an empty list; no such path is no answer.
        Came::Problem(_) => return Observation::Unreachable(Trouble::NotUnderstood.into()),
        Came::Failure(failure) => return Observation::Unreachable(failure.why),
    };
    let id = match found.as_slice() {
        [] => return Observation::Missing,
        [id] => id,
        several => return Observation::Ambiguous(several.len()),
    };
    let Some(request) = by_id.request(&[("id", Fill::Text(id))]) else { return nothing_to_ask() };
    reader.get(&mut entered, request, understand).await.observation()
}

/// A request that changes the order's record, with the order's marker. None where its record is no identifier.
fn change(row: &Row, order: &Verified, more: &[(&str, Fill<'_>)]) -> Option<Request> {
    let marker = order.marker();
    let mut fills = Vec::with_capacity(3 + more.len());
    fills.push(("id", Fill::Text(order.record())));
    fills.push(("key", Fill::Text(&marker.key)));
    fills.push(("uid", Fill::Text(&marker.uid)));
    fills.extend_from_slice(more);
    Some(row).filter(|_| is_id(order.record()))?.request(&fills)
}

/// The handoff as it was fixed with the intent.
fn announcement(body: &HandoffBody) -> Option<Request> {
    let HandoffBody { release_id, review_version, service, closure_key, coordinator, links } = body;
    let mut fills = vec![
        ("closureKey", Fill::Text(closure_key)),
        ("releaseId", Fill::Text(release_id)),
        ("reviewVersion", Fill::Text(review_version)),
        ("service", Fill::Text(service)),
        ("links", Fill::Links(links)),
    ];
    let Some(coordinator) = coordinator else { return rows::ANNOUNCE.request(&fills) };
    fills.push(("coordinator", Fill::Text(coordinator)));
    rows::ANNOUNCE_TO.request(&fills)
}

/// Sends one change. `request` is None where the contract has none for the order: then it is refused, unsent.
async fn write<R>(
    writer: &Writer,
    request: Option<Request>,
    order: &Verified,
    permit: Permit,
    parse: fn(&[u8]) -> Result<R, NotTheContract>,
) -> WriteReply<R> {
    let Some(request) = request else { return WriteReply::Refused };
    // Every read of this contract has a revision; a change without one must not go out.
    let Some(Revision(revision)) = order.revision() else {
        return WriteReply::NotApplied(Trouble::NotUnderstood.into());
    };
    let understand = |reply: Success| {
        let contract = reply.status == 200;
        contract.then_some(())?;
        Some((parse(&reply.body).ok()?, strong_revision(&reply)?))
    };
    writer.write(permit, request, Condition::IfMatch(revision), understand).await.write_reply()
}

/// A strong entity tag, to the letter.
fn strong_revision(reply: &Success) -> Option<Revision> {
    let etag = reply.etag.as_deref().filter(|etag| etag.len() <= ETAG_MAX)?;
    let inner = etag.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('"') { None } else { Some(Revision(etag.to_owned())) }
}

/// Records that are never written need no entity tag.
fn any_revision(reply: &Success) -> Revision {
    Revision(reply.etag.as_deref().filter(|etag| etag.len() <= ETAG_MAX).unwrap_or_default().to_owned())
}

#[cfg(test)]
pub(crate) mod tests;
