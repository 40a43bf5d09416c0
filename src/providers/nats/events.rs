//! The events of a durable consumer: pulled one at a time, handed out again until they are settled.

use super::line::Reply;
use super::rows;
use super::wire::{self, Fault};
use super::{JetStream, failure, not_the_contract, of_code};
use crate::closure::snapshot::{Trouble, Unreachable};
use crate::providers::rest::reply::{Came, Fate};
use crate::roles::{Events, PUT_OFF_MAX, Probe, Pulled, Receipt, Settled};
use async_trait::async_trait;

/// What subjects that settle an event begin with; anything else that a message wants to be replied to on is refused.
const RECEIPT: &str = "$JS.ACK.";
/// Least room of a consumer, in events that are handed out and not settled. What is put off keeps its place; a process that was
/// killed may have left as many again, and the events that come after them need some, too.
const ROOM_MIN: i64 = PUT_OFF_MAX as i64 * 2 + 100;

/// The event's number in its stream, from the subject that settles it: stream, consumer, how often it was handed out, number in the
/// stream, number at the consumer, time, how many are left. Newer servers put domain and account before these.
fn number(receipt: &str) -> Option<&str> {
    let parts: Vec<&str> = receipt.split('.').collect();
    let at = match parts.len() {
        7 => 3,
        9.. => 5,
        _ => return None,
    };
    parts.get(at).copied().filter(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

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
            (None, Some(subject)) => {
                let receipt = subject.strip_prefix(RECEIPT);
                match receipt.and_then(|receipt| Some((number(receipt)?.to_owned(), receipt.to_owned()))) {
                    Some((name, receipt)) => {
                        Came::Success(Pulled::Event { name, body: reply.body.clone(), receipt: Receipt(receipt) })
                    }
                    None => not_the_contract(),
                }
            }
            // No messages; or none within the time that it took.
            (Some(404 | 408), _) => Came::Problem(404),
            (Some(409), _) => Came::Failure(failure(Fate::Unknown, Trouble::Unavailable)),
            (Some(_) | None, _) => not_the_contract(),
        };
        match self.converse(request, entered.deadline(), false, understand).await.0 {
            Came::Success(event) => event,
            Came::Problem(_) => Pulled::Nothing,
            Came::Failure(failure) => Pulled::Unreachable(failure.why),
        }
    }

    async fn settle(&self, Receipt(receipt): &Receipt, word: Settled) -> Result<(), Unreachable> {
        let body = match word {
            Settled::Done => b"+ACK".to_vec(),
            Settled::Never => b"+TERM".to_vec(),
            Settled::Later(pause) => format!(r#"-NAK {{"delay":{}}}"#, pause.as_nanos()).into_bytes(),
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
            Some(config) if (1..ROOM_MIN).contains(&config.max_ack_pending) => unfit(
                "nats.events.consumer",
                "names a consumer that events which are put off would stop: its max_ack_pending must be at least 500",
            ),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_known_by_its_number_in_the_stream() {
        assert_eq!(ROOM_MIN, 500, "as the message about it says");
        for (receipt, expected) in [
            ("EVENTS.feed.3.17.41.1700000000000000000.2", Some("17")),
            ("hub.ABCDEF.EVENTS.feed.3.17.41.1700000000000000000.2", Some("17")),
            ("_.ABCDEF.EVENTS.feed.3.17.41.1700000000000000000.2.random", Some("17")),
            ("EVENTS.feed.3.x.41.1700000000000000000.2", None),
            ("EVENTS.feed.3..41.1700000000000000000.2", None),
            ("EVENTS.feed.3.17", None),
            ("", None),
        ] {
            assert_eq!(number(receipt), expected, "{receipt}");
        }
    }
}
