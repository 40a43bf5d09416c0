//! Whether streams and permissions are such that nothing is lost, and which setting is wrong where they are not.

use super::line::{Reply, Silence};
use super::rows::{self, Row};
use super::wire::{self, Fault, Stored, Stream};
use super::{JetStream, failure, not_the_contract};
use crate::closure::decide::Delivery;
use crate::closure::ids::System;
use crate::closure::snapshot::Trouble;
use crate::providers::rest::reply::{Came, Fate};
use crate::roles::{Abilities, Concurrency, Gate as _, Probe, Prober};
use async_trait::async_trait;
use std::time::Duration;
use tokio::time::Instant;

/// The names of a role's settings.
struct Names {
    stream: &'static str,
    prefix: &'static str,
}

const QUEUE: Names = Names { stream: "nats.queue.stream", prefix: "nats.queue.subjectPrefix" };
const INTAKE: Names = Names { stream: "nats.intake.stream", prefix: "nats.intake.subjectPrefix" };

fn unfit(setting: &'static str, what: &'static str) -> Probe {
    Probe::Unfit { setting, what }
}

/// What is wrong with a stream.
fn misfit(stream: &Stream, names: &Names, subject: &str, kept_for: Option<Duration>) -> Option<Probe> {
    let bounded = stream.max_msgs > 0 || stream.max_bytes > 0;
    let too_short = |kept: Duration| stream.max_age > 0 && u128::from(stream.max_age) < kept.as_nanos();
    let what = if !stream.takes(subject) {
        return Some(unfit(names.prefix, "is not among the stream's subjects: add it there, with .> behind it"));
    } else if stream.no_ack {
        "names a stream that acknowledges nothing: set its no_ack to false"
    } else if stream.sealed {
        "names a sealed stream, which takes no messages"
    } else if stream.retention != "limits" {
        "names a stream that forgets messages that were consumed: its retention must be limits"
    } else if stream.storage != "file" {
        "names a stream that is kept in memory, which a restart empties: its storage must be file"
    } else if bounded && stream.discard != "new" {
        "names a stream that throws old messages away when it is full: set its discard to new"
    } else if kept_for.is_some_and(too_short) {
        "names a stream whose max_age is shorter than keptFor: lengthen it, or say keptFor as it is"
    } else if kept_for.is_none() && stream.max_age > 0 {
        "names a stream that forgets messages by age: set its max_age to 0 (for an intake, keptFor may say how long it keeps them)"
    } else {
        return None;
    };
    Some(unfit(names.stream, what))
}

impl JetStream {
    /// One request of a probe.
    pub(super) async fn look<T>(
        &self,
        row: &Row,
        fills: &[(&str, &str)],
        denied: &'static str,
        understand: impl FnOnce(&Reply) -> Came<T>,
    ) -> Result<T, Probe> {
        let Some(request) = row.request("probe", fills, Vec::new()) else {
            return Err(Probe::Failed(Trouble::NotUnderstood.into()));
        };
        if let Err(held_back) = self.limits.may_probe() {
            return Err(Probe::Failed(held_back));
        }
        let deadline = Instant::now() + self.limits.timeout();
        match self.exchange(request, deadline, true, understand).await {
            (Came::Success(found), _) => Ok(found),
            (_, Some(Silence::TlsOnly)) => {
                Err(unfit("nats.endpoint", "names a server that speaks TLS only: it must begin with tls://"))
            }
            (_, Some(Silence::Denied)) => Err(unfit("nats", denied)),
            (_, Some(Silence::NotSent(Trouble::Forbidden))) => {
                Err(unfit("nats", "is of a user who may receive no replies: allow to subscribe to _INBOX.>"))
            }
            (Came::Problem(_), _) => Err(Probe::Failed(Trouble::NotUnderstood.into())),
            (Came::Failure(failure), _) => Err(Probe::Failed(failure.why)),
        }
    }

    async fn found(&self, system: System) -> Result<(), Probe> {
        if system == System::Governance {
            return self.consumer_fits().await;
        }
        let (rows, names, stream, prefix, kept_for) = match (system, &self.nats.queue, &self.nats.intake) {
            (System::Queue, Some(queue), _) => {
                ((&rows::QUEUE_STREAM, &rows::QUEUE_PROBE), QUEUE, &queue.stream, &queue.subject_prefix, None)
            }
            (System::Intake, _, Some(intake)) => {
                let rows = (&rows::INTAKE_STREAM, &rows::INTAKE_PROBE);
                (rows, INTAKE, &intake.stream, &intake.subject_prefix, self.kept_for)
            }
            (System::Queue, None, _) => {
                return Err(unfit("nats.queue", "is missing: say its stream and subjectPrefix"));
            }
            (System::Intake, _, None) => {
                return Err(unfit("nats.intake", "is missing: say its stream and subjectPrefix"));
            }
            _ => {
                return Err(unfit(
                    "allowedRoles",
                    "may only be Queue, Intake and (for events) Governance for this product",
                ));
            }
        };
        let fills = [("stream", stream.as_str()), ("prefix", prefix.as_str())];
        let denied = "is of a user who may not ask about the stream: allow to publish to $JS.API.STREAM.INFO.<stream>";
        let understand = |reply: &Reply| match wire::stream(&reply.body) {
            Ok(Ok(config)) => Came::Success(Some(config)),
            Ok(Err(Fault { err_code: Fault::NO_STREAM, .. })) => Came::Success(None),
            Ok(Err(Fault { code, .. })) => Came::Failure(failure(Fate::Said(code, true), super::of_code(code))),
            Err(_) => not_the_contract(),
        };
        let Some(config) = self.look(rows.0, &fills, denied, understand).await? else {
            return Err(unfit(names.stream, "names no stream of this account: correct it, or make the stream"));
        };
        let subject = match system {
            System::Queue => format!("{prefix}.release.version"),
            _ => format!("{prefix}.digest"),
        };
        if let Some(misfit) = misfit(&config, &names, &subject, kept_for) {
            return Err(misfit);
        }
        let denied = "is of a user who may not publish: allow it to publish to the subjects below subjectPrefix";
        let understand = |reply: &Reply| match wire::stored(&reply.body, stream) {
            // As it must be: the message names a stream that there is not.
            Ok(Stored::Refused(Fault { err_code: Fault::OTHER_STREAM, .. })) => Came::Success(()),
            Ok(Stored::Refused(Fault { code, .. })) => {
                Came::Failure(failure(Fate::Said(code, true), super::of_code(code)))
            }
            Ok(Stored::Under(_) | Stored::Duplicate) | Err(_) => not_the_contract(),
        };
        self.look(rows.1, &fills, denied, understand).await
    }
}

#[async_trait]
impl Prober for JetStream {
    async fn probe(&self, system: System) -> Probe {
        // A connection is probed in one of its roles, and each has a stream of its own.
        let all = [
            (System::Governance, self.nats.events.is_some()),
            (System::Queue, self.nats.queue.is_some()),
            (System::Intake, self.nats.intake.is_some()),
        ];
        let others = all.into_iter().filter(|(other, is_given)| *is_given && *other != system);
        for system in std::iter::once(system).chain(others.map(|(other, _)| other)) {
            if let Err(found) = self.found(system).await {
                return found;
            }
        }
        Probe::Ready
    }

    fn abilities(&self, system: System) -> Option<Abilities> {
        match system {
            System::Queue if self.nats.queue.is_some() => Some(Abilities {
                concurrency: Some(Concurrency::CompareAndSwap),
                marker: Some(true),
                carries: Abilities::all_fields(system),
                ..Abilities::NONE
            }),
            System::Intake if self.nats.intake.is_some() => Some(Abilities {
                delivery: Some(Delivery::IdempotencyKey),
                window: self.kept_for,
                can_look_up: true,
                ..Abilities::NONE
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_may_lose_something_does_not_fit() {
        let good = || Stream { subjects: vec!["h.>".to_owned()], ..Stream::default() };
        let day = u64::try_from(Duration::from_secs(86_400).as_nanos()).unwrap();
        let setting = |stream: Stream, kept_for| match misfit(&stream, &INTAKE, "h.digest", kept_for) {
            Some(Probe::Unfit { setting, .. }) => Some(setting),
            Some(other) => panic!("{other:?}"),
            None => None,
        };
        assert_eq!(setting(good(), None), None);
        assert_eq!(setting(Stream { max_msgs: 9, discard: "new".into(), ..good() }, None), None);
        assert_eq!(setting(Stream { max_age: day, ..good() }, Some(Duration::from_secs(86_400))), None);
        let prefix = Stream { subjects: vec!["other.>".to_owned()], ..good() };
        assert_eq!(setting(prefix, None), Some("nats.intake.subjectPrefix"));
        for bad in [
            Stream { retention: "workqueue".into(), ..good() },
            Stream { retention: "interest".into(), ..good() },
            Stream { storage: "memory".into(), ..good() },
            Stream { max_msgs: 9, ..good() },
            Stream { max_bytes: 9, ..good() },
            Stream { max_age: day, ..good() },
            Stream { no_ack: true, ..good() },
            Stream { sealed: true, ..good() },
        ] {
            let told = format!("{bad:?}");
            assert_eq!(setting(bad, None), Some("nats.intake.stream"), "{told}");
        }
        let short = Stream { max_age: day - 1, ..good() };
        assert_eq!(setting(short, Some(Duration::from_secs(86_400))), Some("nats.intake.stream"));
    }
}
