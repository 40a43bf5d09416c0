//! The contract's records as they are on the wire, and what they become.
//!
//! A reply is read straight into owned texts, once, and becomes a record or nothing: a field that is missing, of another
//! type or longer than its bound makes the whole reply not understood. Unknown fields are skipped.

use crate::closure::ids::{is_bundle, is_id};
use crate::closure::snapshot::{
    Artifact, BundleRecord, ChecklistRecord, EvidenceLink, Marker, Marking, MilestoneRef, Progress, QueueRecord,
    ReleaseRef, ReviewRecord, TrackerRecord,
};
use crate::providers::rest::json::{NotTheContract, Object, parse};
use crate::roles::{ListedReview, ReviewPage};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Most items, artifacts or links in one reply.
pub(super) const ENTRIES_MAX: usize = 1000;
/// Longest text that is no identifier (a title, a state, a digest of any kind), in bytes.
pub(super) const TEXT_MAX: usize = 256;
/// Longest address of a bundle, in bytes.
pub(super) const URL_MAX: usize = 2048;
/// Longest closure key on a marker, in bytes: three identifiers and two `@`, of whomever.
pub(super) const KEY_MAX: usize = 512;

/// Longest cursor of a list, in bytes: a feed's status keeps one.
const CURSOR_MAX: usize = 512;

type Understood<T> = Result<T, NotTheContract>;

#[derive(Deserialize)]
struct OnlyId {
    id: String,
}

#[derive(Deserialize)]
struct ReleaseWire {
    id: String,
    service: String,
    version: String,
}

#[derive(Deserialize)]
struct ReviewVersion {
    version: String,
}

#[derive(Deserialize)]
struct MilestoneWire {
    id: String,
    title: String,
}

#[derive(Deserialize)]
struct MarkerWire {
    key: String,
    uid: String,
}

/// Absent, null, or a marker: three different things.
type ClosureField = Option<Option<Object<MarkerWire>>>;

/// Called only where the key is there, so that null and absent can be told apart.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

fn id(text: String) -> Understood<String> {
    if is_id(&text) { Ok(text) } else { Err(NotTheContract) }
}

fn bundle_name(text: String) -> Understood<String> {
    if is_bundle(&text) { Ok(text) } else { Err(NotTheContract) }
}

fn bounded(text: String, max: usize) -> Understood<String> {
    if text.len() <= max { Ok(text) } else { Err(NotTheContract) }
}

fn text(text: String) -> Understood<String> {
    bounded(text, TEXT_MAX)
}

fn entries<T>(list: Vec<T>) -> Understood<Vec<T>> {
    if list.len() <= ENTRIES_MAX { Ok(list) } else { Err(NotTheContract) }
}

fn marking(closure: ClosureField) -> Understood<Marking> {
    Ok(match closure {
        None => Marking::NotCarried,
        Some(None) => Marking::Unmarked,
        Some(Some(Object(MarkerWire { key, uid }))) => {
            Marking::By(Marker { key: bounded(key, KEY_MAX)?, uid: bounded(uid, TEXT_MAX)? })
        }
    })
}

impl ReleaseWire {
    fn understood(self) -> Understood<ReleaseRef> {
        let ReleaseWire { id: release, service, version } = self;
        Ok(ReleaseRef { id: id(release)?, service: Some(text(service)?), version: Some(text(version)?) })
    }
}

impl MilestoneWire {
    fn understood(self) -> Understood<MilestoneRef> {
        let MilestoneWire { id: milestone, title } = self;
        // Titles are what people rename, and 256 characters of theirs may be four bytes each.
        Ok(MilestoneRef { id: id(milestone)?, title: bounded(title, 4 * TEXT_MAX)? })
    }
}

/// A record may be on no milestone (`null`), which is a disagreement; without the field it is not the contract's.
fn milestone_of(field: Option<Option<Object<MilestoneWire>>>) -> Understood<MilestoneRef> {
    match field {
        None => Err(NotTheContract),
        Some(None) => Ok(MilestoneRef::none()),
        Some(Some(Object(milestone))) => milestone.understood(),
    }
}

/// `{id, version, state, release, milestone, evidence, acceptedEvent}`
pub(super) fn review(body: &[u8]) -> Understood<ReviewRecord> {
    #[derive(Deserialize)]
    struct EvidenceWire {
        bundle: String,
        digest: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ReviewWire {
        id: String,
        version: String,
        state: String,
        release: Object<ReleaseWire>,
        #[serde(default, deserialize_with = "present")]
        milestone: Option<Option<Object<MilestoneWire>>>,
        evidence: Object<EvidenceWire>,
        accepted_event: Option<Object<OnlyId>>,
    }
    let ReviewWire { id: review, version, state, release, milestone, evidence: Object(evidence), accepted_event } =
        parse(body)?;
    Ok(ReviewRecord {
        id: id(review)?,
        version: id(version)?,
        state: text(state)?,
        release: release.0.understood()?,
        milestone: Some(milestone_of(milestone)?),
        evidence: Some((bundle_name(evidence.bundle)?, text(evidence.digest)?)),
        accepted_event: accepted_event.map(|event| id(event.0.id)).transpose()?,
    })
}

/// `{bundle, digest, release, review, artifacts, url}`
pub(super) fn bundle(body: &[u8], plaintext_allowed: bool) -> Understood<BundleRecord> {
    #[derive(Deserialize)]
    struct ArtifactWire {
        kind: String,
        digest: Option<String>,
    }
    #[derive(Deserialize)]
    struct BundleWire {
        bundle: String,
        digest: String,
        release: Object<OnlyId>,
        review: Object<ReviewVersion>,
        artifacts: Vec<Object<ArtifactWire>>,
        url: String,
    }
    let BundleWire { bundle, digest, release, review, artifacts, url } = parse(body)?;
    Ok(BundleRecord {
        bundle: bundle_name(bundle)?,
        digest: text(digest)?,
        release_id: id(release.0.id)?,
        review_version: id(review.0.version)?,
        artifacts: entries(artifacts)?
            .into_iter()
            .map(|Object(ArtifactWire { kind, digest })| {
                Ok(Artifact { kind: text(kind)?, digest: digest.map(text).transpose()? })
            })
            .collect::<Understood<_>>()?,
        url: bounded(url, URL_MAX)?,
        plaintext_allowed,
    })
}

/// `{id, release, review, state, items, closure}`
pub(super) fn checklist(body: &[u8]) -> Understood<ChecklistRecord> {
    #[derive(Deserialize)]
    struct ItemWire {
        id: String,
        done: bool,
    }
    #[derive(Deserialize)]
    struct ChecklistWire {
        id: String,
        release: Object<OnlyId>,
        review: Object<ReviewVersion>,
        state: String,
        items: Vec<Object<ItemWire>>,
        #[serde(default, deserialize_with = "present")]
        closure: ClosureField,
    }
    let ChecklistWire { id: checklist, release, review, state, items, closure } = parse(body)?;
    Ok(ChecklistRecord {
        id: id(checklist)?,
        release_id: id(release.0.id)?,
        review_version: id(review.0.version)?,
        state: progress(state, "Open", "Closed")?,
        open_items: entries(items)?
            .into_iter()
            .filter(|Object(item)| !item.done)
            .map(|Object(item)| id(item.id))
            .collect::<Understood<_>>()?,
        marking: marking(closure)?,
    })
}

/// `{id, release, review, state, closure}`
pub(super) fn queue_entry(body: &[u8]) -> Understood<QueueRecord> {
    #[derive(Deserialize)]
    struct QueueWire {
        id: String,
        release: Object<OnlyId>,
        review: Object<ReviewVersion>,
        state: String,
        #[serde(default, deserialize_with = "present")]
        closure: ClosureField,
    }
    let QueueWire { id: entry, release, review, state, closure } = parse(body)?;
    Ok(QueueRecord {
        id: id(entry)?,
        release_id: id(release.0.id)?,
        review_version: id(review.0.version)?,
        state: progress(state, "Pending", "Cleared")?,
        marking: marking(closure)?,
    })
}

fn progress(word: String, to_do: &str, done: &str) -> Understood<Progress> {
    let word = text(word)?;
    Ok(if word == to_do {
        Progress::ToDo(word)
    } else if word == done {
        Progress::Done(word)
    } else {
        Progress::Other(word)
    })
}

/// `{id, release, state, milestone, evidence, closure}`
pub(super) fn release(body: &[u8]) -> Understood<TrackerRecord> {
    #[derive(Deserialize)]
    struct TrackerWire<'a> {
        id: String,
        release: Object<ReleaseWire>,
        state: String,
        #[serde(default, deserialize_with = "present")]
        milestone: Option<Option<Object<MilestoneWire>>>,
        #[serde(borrow)]
        evidence: Vec<&'a RawValue>,
        #[serde(default, deserialize_with = "present")]
        closure: ClosureField,
    }
    let TrackerWire { id: tracked, release, state, milestone, evidence, closure } = parse(body)?;
    let marking = marking(closure)?;
    Ok(TrackerRecord {
        id: id(tracked)?,
        release: release.0.understood()?,
        state: text(state)?,
        milestone: milestone_of(milestone)?,
        evidence: entries(evidence)?
            .into_iter()
            .map(|raw| evidence_link(raw, marking == Marking::NotCarried))
            .collect::<Understood<_>>()?,
        marking,
    })
}

/// One link, with its text as it stands in the reply. A tracker that keeps markers may leave the key out on links that
/// have none; where the record itself has no such key, nothing can be told from that.
fn evidence_link(raw: &RawValue, record_carries_none: bool) -> Understood<EvidenceLink> {
    #[derive(Deserialize)]
    struct LinkWire {
        bundle: String,
        digest: String,
        url: String,
        #[serde(default, deserialize_with = "present")]
        closure: ClosureField,
    }
    let Object(link) = serde_json::from_str(raw.get()).map_err(|_| NotTheContract)?;
    let LinkWire { bundle, digest, url, closure } = link;
    let marking = match marking(closure)? {
        Marking::NotCarried if !record_carries_none => Marking::Unmarked,
        told => told,
    };
    Ok(EvidenceLink {
        // Other people's links are theirs: a name that could be no bundle of ours keeps nobody from being closed.
        bundle: bounded(bundle, URL_MAX)?,
        digest: text(digest)?,
        url: bounded(url, URL_MAX)?,
        marking,
        as_read: raw.get().to_owned(),
    })
}

/// `{items: […]}`, of which only the identifiers are read.
pub(super) fn listed(body: &[u8]) -> Understood<Vec<String>> {
    #[derive(Deserialize)]
    struct Listing {
        items: Vec<Object<OnlyId>>,
    }
    let Listing { items } = parse(body)?;
    entries(items)?.into_iter().map(|Object(item)| id(item.id)).collect()
}

/// `{items: […], next}`, of which only the identifiers and versions are read: the record itself is read one by one.
pub(super) fn reviews(body: &[u8]) -> Understood<ReviewPage> {
    #[derive(Deserialize)]
    struct ItemWire {
        id: String,
        version: String,
    }
    #[derive(Deserialize)]
    struct PageWire {
        items: Vec<Object<ItemWire>>,
        next: Option<String>,
    }
    let PageWire { items, next } = parse(body)?;
    let reviews = entries(items)?
        .into_iter()
        .map(|Object(ItemWire { id: review, version })| Ok(ListedReview { id: id(review)?, version: id(version)? }));
    let is_cursor = |cursor: &String| {
        (1..=CURSOR_MAX).contains(&cursor.len()) && cursor.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if !next.as_ref().is_none_or(is_cursor) {
        return Err(NotTheContract);
    }
    Ok(ReviewPage { reviews: reviews.collect::<Understood<_>>()?, next })
}

/// `{key, receivedAt}`, of which the key must be the one that was asked for.
pub(super) fn handoff(body: &[u8], asked: &str) -> Understood<()> {
    #[derive(Deserialize)]
    struct HandoffWire {
        key: String,
    }
    let HandoffWire { key } = parse(body)?;
    if key == asked { Ok(()) } else { Err(NotTheContract) }
}

#[cfg(test)]
mod tests;
