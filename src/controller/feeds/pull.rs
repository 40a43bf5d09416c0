//! Taking from a stream: one event after the other, each settled when its closure is there, or when there will be none.
//!
//! **Invariant:** an event is acknowledged only after the object exists. Whatever comes between the two, a crash, a lost
//! acknowledgement, another leader, the event is handed out again and meets the object.

use super::admit::{self, For};
use super::book::Came;
use super::{Entry, Feeds};
use crate::api::AcceptanceFeed;
use crate::api::acceptance_feed::Stream;
use crate::closure::reason::Reason;
use crate::feeds::{Answer, Format, Outcome, Source, event};
use crate::roles::{Pulled, Settled};
use crate::spans::Delivery;
use http::HeaderMap;
use kube::ResourceExt as _;
use std::time::Instant;
use tracing::Instrument as _;

/// Most events of one turn: after them it goes on at the next one.
const EVENTS_MAX: usize = 1000;

/// What is said of an event; none where it is to be handed out again.
const fn word(outcome: Outcome) -> Option<Settled> {
    match outcome {
        outcome if outcome.is_remembered() => Some(Settled::Done),
        Outcome::NotAccepted | Outcome::Incomplete | Outcome::NotAllowed | Outcome::Ignored | Outcome::Malformed => {
            Some(Settled::Never)
        }
        _ => None,
    }
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
            let (body, receipt) = match events.next().await {
                Pulled::Event { body, receipt } => (body, receipt),
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
            let taking = self.take_event(feed, entry, stream, &told, &body);
            let outcome = taking.instrument(told.span()).await;
            let settled = match word(outcome) {
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
        body: &[u8],
    ) -> Outcome {
        let namespace = feed.namespace().unwrap_or_default();
        // What lies in a stream is plain JSON; who may put it there, the stream's own permissions say.
        let pointer = stream.review_id_pointer.as_deref();
        let review = match event::review(Format::StandardWebhooks, pointer, &HeaderMap::new(), body) {
            Ok(Some(review)) => review,
            Ok(None) => return self.note(Source::Nats, feed, entry, Outcome::Ignored, Came::default(), None).await,
            Err(event::Malformed) => {
                return self.note(Source::Nats, feed, entry, Outcome::Malformed, Came::default(), None).await;
            }
        };
        let name = feed.name_any();
        let (playbook, template) = (&feed.spec.playbook_ref, &feed.spec.template);
        let made_by = told.context(event::trace_parent(body));
        let of = For { namespace: &namespace, feed: &name, playbook, template, made_by };
        let admitted = admit::admit(&self.context, &of, &review).await;
        if admitted.trouble.is_some() {
            *entry.trouble() = admitted.trouble;
        }
        let came = Came { event: None, review: Some(review), closure: admitted.closure };
        self.note(Source::Nats, feed, entry, admitted.outcome, came, None).await
    }
}
