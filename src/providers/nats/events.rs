//! The events of a durable consumer: pulled one at a time, handed out again until they are settled.

use super::line::Reply;
use super::rows;
use super::wire::{self, Fault};
use super::{JetStream, failure, not_the_contract, of_code};
use crate::closure::snapshot::{Trouble, Unreachable};
use crate::providers::rest::reply::{Came, Fate};
use crate::roles::{Events, Probe, Pulled, Receipt, Settled};
use async_trait::async_trait;

/// What subjects that settle an event begin with; anything else that a message wants to be replied to on is refused.
const RECEIPT: &str = "$JS.ACK.";

#[async_trait]
impl Events for JetStream {
    async fn next(&self) -> Pulled {
        let nothing_to_ask = || Pulled::Unreachable(Trouble::NotUnderstood.into());
        let Some(events) = &self.nats.events else { return nothing_to_ask() };
        let fills = [("stream", events.stream.as_str()), ("consumer", events.consumer.as_str())];
        let body = br#"{"batch":1,"no_wait":true}"#.to_vec();
        let Some(request) = rows::NEXT_EVENT.request(&events.consumer, &fills, body) else { return nothing_to_ask() };
        let mut entered = match self.limits.enter(None).await {
            Ok(entered) => entered,
            Err(held_back) => return Pulled::Unreachable(held_back),
        };
        if let Err(why) = entered.may_send() {
            return Pulled::Unreachable(why);
        }
        let understand = |reply: &Reply| match (reply.status, &reply.reply_to) {
            (None, Some(subject)) => match subject.strip_prefix(RECEIPT) {
                Some(receipt) => Came::Success((reply.body.clone(), Receipt(receipt.to_owned()))),
                None => not_the_contract(),
            },
            // No messages; or none within the time that it took.
            (Some(404 | 408), _) => Came::Problem(404),
            (Some(409), _) => Came::Failure(failure(Fate::Unknown, Trouble::Unavailable)),
            (Some(_) | None, _) => not_the_contract(),
        };
        match self.converse(request, entered.deadline(), false, understand).await.0 {
            Came::Success((body, receipt)) => Pulled::Event { body, receipt },
            Came::Problem(_) => Pulled::Nothing,
            Came::Failure(failure) => Pulled::Unreachable(failure.why),
        }
    }

    async fn settle(&self, Receipt(receipt): &Receipt, word: Settled) -> Result<(), Unreachable> {
        let body = match word {
            Settled::Done => b"+ACK".to_vec(),
            Settled::Never => b"+TERM".to_vec(),
        };
        let request = rows::SETTLE_EVENT.request(receipt, &[("receipt", receipt)], body);
        let request = request.ok_or(Unreachable::from(Trouble::NotUnderstood))?;
        let mut entered = self.limits.enter(None).await?;
        entered.may_send()?;
        // The server says that it has it, with nothing in it.
        let understand = |_: &Reply| Came::Success(());
        match self.exchange(request, entered.deadline(), false, understand).await.0 {
            Came::Success(()) => Ok(()),
            Came::Problem(_) => Err(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => Err(failure.why),
        }
    }
}

impl JetStream {
    /// Whether the consumer is one that a feed can rely on.
    pub(super) async fn consumer_fits(&self) -> Result<(), Probe> {
        let unfit = |setting, what| Err(Probe::Unfit { setting, what });
        let Some(events) = &self.nats.events else {
            return unfit("nats.events", "is missing: say its stream and consumer");
        };
        let fills = [("stream", events.stream.as_str()), ("consumer", events.consumer.as_str())];
        let denied = "is of a user who may not ask about the consumer: allow to publish to $JS.API.CONSUMER.INFO.<stream>.<consumer>";
        let understand = |reply: &Reply| match wire::consumer(&reply.body) {
            Ok(Ok(config)) => Came::Success(Some(config)),
            Ok(Err(Fault { err_code: Fault::NO_STREAM | Fault::NO_CONSUMER, .. })) => Came::Success(None),
            Ok(Err(Fault { code, .. })) => Came::Failure(failure(Fate::Said(code, true), of_code(code))),
            Err(_) => not_the_contract(),
        };
        match self.look(&rows::EVENTS_CONSUMER, &fills, denied, understand).await? {
            None => unfit("nats.events.consumer", "names no consumer of that stream: correct it, or make the consumer"),
            Some(config) if config.ack_policy != "explicit" => unfit(
                "nats.events.consumer",
                "names a consumer that takes events for done unasked: its ack_policy must be explicit",
            ),
            Some(config) if config.durable_name.is_empty() => {
                unfit("nats.events.consumer", "names a consumer that the server forgets: it must be durable")
            }
            Some(config) if !config.deliver_subject.is_empty() => {
                unfit("nats.events.consumer", "names a consumer that pushes: it must be one that is pulled from")
            }
            Some(_) => Ok(()),
        }
    }
}
