//! What is known of one feed, as its status tells it. Pure: what is written when is for [`super`] to say.

use crate::api::acceptance_feed::{Count, LAST_MESSAGE_MAX, LastEvent, LastRefusal, Position};
use crate::api::conditions::{self, Condition, Stamp, Truth};
use crate::api::{AcceptanceFeed, AcceptanceFeedStatus};
use crate::closure::reason::Reason;
use crate::feeds::Outcome;
use crate::feeds::seen::Seen;
use jiff::Timestamp;
use kube::ResourceExt as _;
use std::collections::BTreeMap;

/// Whether a feed can be used: the condition Ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Its status.
    pub(super) truth: Truth,
    /// Why.
    pub(super) reason: Reason,
    /// For people.
    pub(super) message: String,
}

impl Verdict {
    /// It can.
    pub(super) fn ready() -> Verdict {
        Verdict { truth: Truth::True, reason: Reason::Ready, message: Reason::Ready.sentence().to_owned() }
    }

    /// It cannot.
    pub(super) fn not(reason: Reason, message: impl Into<String>) -> Verdict {
        Verdict { truth: Truth::False, reason, message: message.into() }
    }
}

/// What came of one event.
#[derive(Clone, Debug, Default)]
pub(super) struct Came {
    /// The sender's id of it.
    pub(super) event: Option<String>,
    /// The review that it names.
    pub(super) review: Option<String>,
    /// The closure that was made, or was there.
    pub(super) closure: Option<String>,
    /// Why no closure came of it, where the record says that.
    pub(super) why: Option<String>,
}

/// What is known of one feed.
#[derive(Clone, Debug)]
pub(super) struct Book {
    seen: Seen,
    counts: BTreeMap<Outcome, i64>,
    last_event: Option<LastEvent>,
    last_refusal: Option<LastRefusal>,
    position: Option<Position>,
    conditions: Vec<Condition>,
    verdict: Option<Verdict>,
    generation: i64,
    /// Counts changes; what is stored says up to which.
    version: u64,
    /// The last change that must be stored before anybody is answered.
    needed: u64,
}

impl Book {
    /// As the last process left it.
    pub(super) fn of(status: &AcceptanceFeedStatus) -> Book {
        let AcceptanceFeedStatus {
            observed_generation,
            conditions,
            path: _,
            last_event,
            last_refusal,
            counts,
            seen,
            position,
        } = status.clone();
        Book {
            seen: Seen::from_text(&seen.unwrap_or_default()),
            counts: counts.into_iter().map(|Count { outcome, count }| (outcome, count)).collect(),
            last_event,
            last_refusal,
            position,
            conditions,
            verdict: None,
            generation: observed_generation,
            version: 0,
            needed: 0,
        }
    }

    /// Takes down what became of an event. Returns the version to be stored before it is answered: for a delivery that is
    /// remembered this one, for any other the last that was.
    pub(super) fn note(&mut self, outcome: Outcome, came: Came, fingerprint: Option<&[u8; 32]>, at: Timestamp) -> u64 {
        *self.counts.entry(outcome).or_default() += 1;
        if outcome.is_refusal() {
            self.last_refusal = Some(LastRefusal { at, outcome });
        } else {
            let Came { event, review, closure, why } = came;
            let message = why.map(|why| why.chars().take(LAST_MESSAGE_MAX).collect());
            self.last_event = Some(LastEvent { at, outcome, event, review, closure, message });
        }
        self.version += 1;
        if let Some(fingerprint) = fingerprint.filter(|_| outcome.is_remembered()) {
            self.seen.remember(fingerprint);
            self.needed = self.version;
        }
        self.needed
    }

    /// Whether a delivery was taken before.
    pub(super) fn knows(&self, fingerprint: &[u8; 32]) -> bool {
        self.seen.knows(fingerprint)
    }

    /// How far a feed that asks has come.
    pub(super) fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// It has come further.
    pub(super) fn has_come_to(&mut self, position: Position) {
        if self.position.as_ref() != Some(&position) {
            self.position = Some(position);
            self.version += 1;
        }
    }

    /// Whether it can be used.
    pub(super) fn judged(&mut self, verdict: Verdict, generation: i64) {
        if self.verdict.as_ref() != Some(&verdict) || self.generation != generation {
            self.verdict = Some(verdict);
            self.generation = generation;
            self.version += 1;
        }
    }

    /// The status, and which version of the book it tells.
    pub(super) fn status(&mut self, feed: &AcceptanceFeed, now: Timestamp) -> (u64, AcceptanceFeedStatus) {
        if let Some(Verdict { truth, reason, message }) = &self.verdict {
            let stamp = Stamp { generation: self.generation, now };
            conditions::set(&mut self.conditions, conditions::READY, *truth, reason.as_str(), message, stamp);
        }
        let seen = Some(self.seen.to_text()).filter(|text| !text.is_empty());
        let status = AcceptanceFeedStatus {
            observed_generation: self.generation,
            conditions: self.conditions.clone(),
            path: feed.spec.path(&feed.namespace().unwrap_or_default(), &feed.name_any()),
            last_event: self.last_event.clone(),
            last_refusal: self.last_refusal.clone(),
            counts: self.counts.iter().map(|(outcome, count)| Count { outcome: *outcome, count: *count }).collect(),
            seen,
            position: self.position.clone(),
        };
        (self.version, status)
    }

    /// Which version it is.
    pub(super) fn version(&self) -> u64 {
        self.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::AcceptanceFeedSpec;
    use serde_json::json;

    fn feed() -> AcceptanceFeed {
        let spec: AcceptanceFeedSpec = serde_json::from_value(json!({
            "playbookRef": {"name": "p"},
            "webhook": {"format": "GitHub", "secretRefs": [{"name": "s", "key": "k"}]},
        }))
        .unwrap();
        let mut feed = AcceptanceFeed::new("f", spec);
        feed.metadata.namespace = Some("n".to_owned());
        feed
    }

    #[test]
    fn what_a_status_holds_is_known_to_the_next_process_and_it_is_small() {
        let mut book = Book::of(&AcceptanceFeedStatus::default());
        let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
        for number in 0..2000_u32 {
            let mut print = [0; 32];
            print[..4].copy_from_slice(&number.to_be_bytes());
            let came = Came {
                event: Some("e".repeat(128)),
                review: Some("r".repeat(128)),
                closure: Some("c".repeat(253)),
                why: Some("ä".repeat(1000)),
            };
            let version = book.note(Outcome::Created, came, Some(&print), now);
            assert_eq!(version, u64::from(number) + 1, "to be stored before it is answered");
        }
        for outcome in Outcome::ALL {
            assert_eq!(book.note(*outcome, Came::default(), None, now), 2000, "{outcome:?} need not be stored at once");
        }
        book.judged(Verdict::not(Reason::SecretNotFound, "x".repeat(1024)), 3);
        let (version, status) = book.status(&feed(), now);
        assert_eq!(version, book.version());
        let text = serde_json::to_string(&status).unwrap();
        assert!(text.len() < 16 << 10, "{} bytes", text.len());
        assert_eq!(status.path.as_deref(), Some("/feeds/n/f"));
        assert_eq!(status.last_refusal.as_ref().unwrap().outcome, Outcome::Busy);

        let next = Book::of(&serde_json::from_str(&text).unwrap());
        let print = |number: u32| {
            let mut print = [0; 32];
            print[..4].copy_from_slice(&number.to_be_bytes());
            print
        };
        assert!(next.knows(&print(1999)) && next.knows(&print(976)) && !next.knows(&print(975)));
        assert!(book.knows(&print(0)), "this process knows more");
        assert_eq!(next.counts[&Outcome::Created], 2001);
    }
}
