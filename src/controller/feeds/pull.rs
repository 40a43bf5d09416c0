//! Taking from a stream: one event after the other, each settled when its closure is there, or when there will be none.
//!
//! **Invariant:** an event is acknowledged only after the object exists. Whatever comes between the two, a crash, a lost
//! acknowledgement, another leader, the event is handed out again and meets the object. An event whose record makes no closure is
//! put off, so that it comes again when the record may have been put right, and holds up no other; after an hour it is ended.

use super::admit::{self, For};
use super::book::Came;
use super::{Entry, Feeds, explain};
use crate::api::AcceptanceFeed;
use crate::api::acceptance_feed::Stream;
use crate::closure::reason::Reason;
use crate::feeds::again::Turn;
use crate::feeds::{Answer, Format, Outcome, Source, event};
use crate::roles::{Pulled, Settled};
use crate::spans::Delivery;
use http::HeaderMap;
use kube::ResourceExt as _;
use std::time::Instant;
use tracing::Instrument as _;

/// Most events of one turn: after them it goes on at the next one.
const EVENTS_MAX: usize = 1000;

/// What is said of an event; none where it is to be handed out again in the stream's own time.
const fn word(outcome: Outcome, again: Option<Turn>) -> Option<Settled> {
    match (outcome, again) {
        (_, Some(Turn::First(pause) | Turn::Again(pause))) => Some(Settled::Later(pause)),
        (Outcome::Ignored | Outcome::Malformed, _) | (_, Some(Turn::Over)) => Some(Settled::Never),
        (outcome, None) if outcome.is_remembered() => Some(Settled::Done),
        _ => None,
    }
}

/// One event of a stream.
struct Taken {
    /// Which one.
    name: String,
    /// What it says.
    body: Vec<u8>,
}

impl Feeds {
    /// Takes what there is, where nobody else is at it.
    pub(super) async fn pull(&self, feed: &AcceptanceFeed, entry: &Entry, stream: &Stream) {
        let Ok(mut turn) = entry.polling.clone().try_lock_owned() else { return };
        *turn = Some(Instant::now());
        let namespace = feed.namespace().unwrap_or_default();
        let events = match self.context.connections.events(&namespace, &stream.connection_ref).await {
            Ok(events) => events,
            Err(unusable) => {
                *entry.trouble() = Some((unusable.reason, unusable.message));
                return;
            }
        };
        for _ in 0..EVENTS_MAX {
            let (event, receipt) = match events.next().await {
                Pulled::Event { name, body, receipt } => (Taken { name, body }, receipt),
                Pulled::Nothing => {
                    *entry.trouble() = None;
                    return;
                }
                Pulled::Unreachable(_) => {
                    let why = "The stream of events gives no answer; its connection's status may say more.";
                    *entry.trouble() = Some((Reason::FeedHindered, why.to_owned()));
                    return;
                }
            };
            let told = Delivery::begin(Source::Nats.label());
            told.is_for(&namespace, &feed.name_any());
            let taking = self.take_event(feed, entry, stream, &told, event);
            let (outcome, again) = taking.instrument(told.span()).await;
            let settled = match word(outcome, again) {
                Some(word) => events.settle(&receipt, word).instrument(told.span()).await.is_ok(),
                None => true,
            };
            told.ended(outcome.label());
            if !settled || outcome.answer() == Answer::Later {
                return;
            }
        }
    }

    async fn take_event(
        &self,
        feed: &AcceptanceFeed,
        entry: &Entry,
        stream: &Stream,
        told: &Delivery,
        event: Taken,
    ) -> (Outcome, Option<Turn>) {
        let namespace = feed.namespace().unwrap_or_default();
        // What lies in a stream is plain JSON; who may put it there, the stream's own permissions say.
        let pointer = stream.review_id_pointer.as_deref();
        let named = event::review(Format::StandardWebhooks, pointer, &HeaderMap::new(), &event.body);
        let nameless = if named.is_ok() { Outcome::Ignored } else { Outcome::Malformed };
        let Ok(Some(review)) = named else {
            return (self.note(Source::Nats, feed, entry, nameless, Came::default(), None).await, None);
        };
        let name = feed.name_any();
        let (playbook, template) = (&feed.spec.playbook_ref, &feed.spec.template);
        let made_by = told.context(event::trace_parent(&event.body));
        let of = For { namespace: &namespace, feed: &name, playbook, template, made_by };
        let admitted = admit::admit(&self.context, &of, &review).await;
        let turn = if admitted.outcome.may_come_right() {
            Some(entry.handed_out().put_off(event.name, Instant::now()))
        } else {
            if admitted.outcome.is_remembered() {
                entry.handed_out().settle(&event.name);
            }
            None
        };
        explain(feed, &review, &admitted, turn);
        if admitted.trouble.is_some() {
            *entry.trouble() = admitted.trouble;
        }
        let came = Came { event: None, review: Some(review), closure: admitted.closure, why: admitted.why };
        (self.note(Source::Nats, feed, entry, admitted.outcome, came, None).await, turn)
    }
}
