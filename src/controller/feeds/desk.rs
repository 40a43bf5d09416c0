//! Webhooks: who signed it, whether it was taken before, which review it names; then it is as any other hint.

use super::admit::{self, For};
use super::book::Came;
use super::{Feeds, SECRET_AGE_MAX, SECRET_AGE_MIN, explain};
use crate::api::AcceptanceFeed;
use crate::closure::reason::Reason;
use crate::feeds::server::{Delivery, Desk};
use crate::feeds::{Format, Outcome, Source, event};
use crate::spans::{self, TraceParent};
use async_trait::async_trait;
use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use std::sync::atomic::{AtomicUsize, Ordering};
use tracing::Instrument as _;

/// A delivery under way.
struct InHand<'a>(&'a AtomicUsize);

impl<'a> InHand<'a> {
    fn new(count: &'a AtomicUsize) -> InHand<'a> {
        count.fetch_add(1, Ordering::SeqCst);
        InHand(count)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Desk for Feeds {
    async fn take(&self, delivery: Delivery) -> Outcome {
        let _in_hand = InHand::new(&self.in_hand);
        let told = spans::Delivery::begin(Source::Webhook.label());
        let outcome = self.receive(delivery, &told).instrument(told.span()).await;
        told.ended(outcome.label());
        outcome
    }
}

impl Feeds {
    async fn receive(&self, delivery: Delivery, told: &spans::Delivery) -> Outcome {
        let feed = self.context.feeds.get(&ObjectRef::new(&delivery.name).within(&delivery.namespace));
        let Some(feed) = feed.filter(|feed| feed.spec.webhook.is_some()) else {
            // What came in badly is answered as it is where there is a feed: nobody who cannot sign learns which there are.
            let outcome = delivery.body.err().unwrap_or(Outcome::Unknown);
            // There is no status to tell it on.
            self.context.metrics.feed_event(Source::Webhook, outcome);
            return outcome;
        };
        told.is_for(&delivery.namespace, &delivery.name);
        self.take_for(&feed, delivery, told).await
    }

    async fn take_for(&self, feed: &AcceptanceFeed, delivery: Delivery, told: &spans::Delivery) -> Outcome {
        let Delivery { namespace, name, headers, body } = delivery;
        let entry = self.entry(feed);
        let mut came = Came::default();
        let Some(webhook) = &feed.spec.webhook else { return Outcome::Unknown };
        let body = match body {
            Ok(body) => body,
            Err(outcome) => return self.note(Source::Webhook, feed, &entry, outcome, came, None).await,
        };
        let mut signed = Err(Outcome::WronglySigned);
        for age in [SECRET_AGE_MAX, SECRET_AGE_MIN] {
            // Where no secret can be read nothing can be verified, and a sender who could sign is to come again.
            let Ok(keys) = self.keys(feed, &entry, age).await else {
                return self.note(Source::Webhook, feed, &entry, Outcome::Unready, came, None).await;
            };
            signed = keys.verify(&headers, &body, Timestamp::now());
            // A secret that was put in a moment ago.
            if signed != Err(Outcome::WronglySigned) {
                break;
            }
        }
        let signed = match signed {
            Ok(signed) => signed,
            Err(outcome) => return self.note(Source::Webhook, feed, &entry, outcome, came, None).await,
        };
        came.event = signed.id;
        // Only who can sign is told that a feed is suspended.
        if feed.spec.suspend {
            return self.note(Source::Webhook, feed, &entry, Outcome::Unready, came, None).await;
        }
        let print = signed.fingerprint;
        let _turn = entry.turns.lock(print).await;
        if entry.book().knows(&print) {
            return self.note(Source::Webhook, feed, &entry, Outcome::Replayed, came, Some(&print)).await;
        }
        let review = match event::review(webhook.format, webhook.review_id_pointer.as_deref(), &headers, &body) {
            Ok(Some(review)) => review,
            Ok(None) => return self.note(Source::Webhook, feed, &entry, Outcome::Ignored, came, None).await,
            Err(event::Malformed) => {
                return self.note(Source::Webhook, feed, &entry, Outcome::Malformed, came, None).await;
            }
        };
        // Of what is signed as a whole, the event's own word counts; a header is nobody's signature's business.
        let sender = match webhook.format {
            Format::CloudEvents => event::trace_parent(&body).or_else(|| TraceParent::of_headers(&headers)),
            _ => TraceParent::of_headers(&headers),
        };
        let made_by = told.context(sender);
        drop(body);
        let (playbook, template) = (&feed.spec.playbook_ref, &feed.spec.template);
        let of = For { namespace: &namespace, feed: &name, playbook, template, made_by };
        let admitted = admit::admit(&self.context, &of, &review).await;
        explain(feed, &review, &admitted, None);
        came.review = Some(review);
        came.closure = admitted.closure;
        came.why = admitted.why;
        // Of playbook and connection the feed's condition tells by itself.
        let hindered = admitted.trouble.filter(|(reason, _)| *reason == Reason::FeedHindered);
        if hindered.is_some() || admitted.outcome.is_remembered() {
            *entry.trouble() = hindered;
        }
        self.note(Source::Webhook, feed, &entry, admitted.outcome, came, Some(&print)).await
    }
}
