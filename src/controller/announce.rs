//! Telling people of halts, on the channel that the playbook names.
//!
//! **Level by level:** what is told of is a packet that nobody has resolved and that does not say it was announced; after a
//! crash, after a new channel was named, after the channel was away. All that is told stands in the packet, and the packet
//! follows from the stored halt, so that nothing is ever told of a halt that is not stored.
//!
//! **Invariant:** nothing of a closure waits for any of this, or is changed by it. A telling has places of its own, a
//! connection of its own, and writes the packet's status alone.

use super::agenda;
use super::cache::{Entry as _, Hold, Holding};
use super::context::Context;
use super::packets;
use super::pass::Next;
use crate::api::FollowUpPacket;
use crate::api::closure_playbook::ConnectionRef;
use crate::api::conditions::{self, Truth};
use crate::api::parse::Backoff;
use crate::closure::reason::Reason;
use crate::roles::{AnnounceReply, HaltNotice};
use crate::telemetry::Told;
use futures::stream;
use kube::ResourceExt as _;
use kube::api::Api;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tracing::{info, warn};

/// Tellings under way at once. Each ends within a connection's timeout.
const PLACES: usize = 32;
/// When to look again at what an administrator has to put right, where no change wakes it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a packet says of a channel that has not answered, or is left alone because it did not.
const UNAVAILABLE: (&str, &str) = ("ChannelUnavailable", "The channel gives no answer. It is tried again by itself.");

/// A packet to tell of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Telling {
    /// Its namespace.
    pub namespace: String,
    /// The closure key that it holds.
    pub key: String,
    /// Its name, which is the halt's id.
    pub packet: String,
}

/// Tells of every packet that `woken` names until it is told, resolved or gone.
pub(super) async fn keep(context: &Arc<Context>, woken: mpsc::UnboundedReceiver<Telling>) {
    let woken = stream::unfold(woken, |mut woken| async { woken.recv().await.map(|telling| (telling, woken)) });
    let places = Arc::new(Semaphore::new(PLACES));
    let failures: Arc<Mutex<HashMap<Telling, u32>>> = Arc::default();
    agenda::keep(woken, |telling: Telling| {
        let (context, places, failures) = (context.clone(), places.clone(), failures.clone());
        async move {
            // It is never closed, so the wait does not fail.
            let _place = places.acquire().await;
            let tried = tell(&context, &telling).await;
            let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
            match tried {
                Tried::Over => {
                    failures.remove(&telling);
                    Next::OnChange
                }
                Tried::Later(pause) => Next::After(pause),
                Tried::Failed { initial, max, least } => {
                    let count = failures.entry(telling).and_modify(|count| *count += 1).or_insert(0);
                    let plain = initial.saturating_mul(1 << (*count).min(20)).min(max);
                    Next::After(plain.mul_f64(1.0 - 0.25 * fastrand::f64()).max(least))
                }
            }
        }
    })
    .await;
}

/// What came of one try.
enum Tried {
    /// Nothing more is to be done, or not before something changes.
    Over,
    /// Something has to be put right.
    Later(Duration),
    /// It was not told.
    Failed { initial: Duration, max: Duration, least: Duration },
}

async fn tell(context: &Context, telling: &Telling) -> Tried {
    let Telling { namespace, key, packet: name } = telling;
    let holds = context.holds.of_key(namespace, key);
    let Some((_, hold)) = holds.into_iter().find(|(held, _)| held == name) else { return Tried::Over };
    if hold.abandoned || hold.announced {
        return Tried::Over;
    }
    let Some((channel, backoff)) = channel_of(context, telling, &hold.closure) else { return Tried::Over };
    let (initial, max) = (backoff.initial, backoff.max);
    let api: Api<FollowUpPacket> = Api::namespaced(context.client.clone(), namespace);
    let packet = match api.get_opt(name).await {
        Ok(Some(packet)) => packet,
        Ok(None) => return Tried::Over,
        Err(error) => {
            warn!(%error, namespace, packet = name, "a packet could not be read, so nobody was told of it");
            return Tried::Failed { initial, max, least: Duration::from_secs(1) };
        }
    };
    let told =
        packet.status.as_ref().is_some_and(|status| conditions::is_true(&status.conditions, conditions::ANNOUNCED));
    if told || packet.spec.resolution.is_some() {
        return Tried::Over;
    }
    let connected = match context.connections.channel(namespace, &channel).await {
        Ok(connected) => connected,
        Err(unusable) => {
            context.metrics.follow_up(Told::Unusable);
            say(context, packet, Err((unusable.reason.as_str(), unusable.message.as_str()))).await;
            // A change of the connection or the playbook wakes it.
            return Tried::Later(PATIENCE);
        }
    };
    let Some(follow_up) = &connected.follow_up else {
        context.metrics.follow_up(Told::Unusable);
        say(context, packet, Err((Reason::RoleNotAllowed.as_str(), "The channel's product cannot play this role.")))
            .await;
        return Tried::Later(PATIENCE);
    };
    let permit = match connected.gate.permit().await {
        Ok(permit) => permit,
        Err(held_back) => {
            // Whoever waits for a turn among others is not kept from it; whoever stands before a closed door is.
            if connected.gate.congested() {
                context.metrics.follow_up(Told::HeldBack);
                say(context, packet, Err(UNAVAILABLE)).await;
            }
            return Tried::Failed { initial, max, least: held_back.retry_after.unwrap_or_default() };
        }
    };
    // As any request that changes something: not while another replica may be at it.
    if !context.fence.secure(connected.gate.timeout()).await {
        return Tried::Failed { initial, max, least: Duration::from_secs(1) };
    }
    let reply = follow_up.tell(&notice(&packet), permit).await;
    let (word, least) = match reply {
        AnnounceReply::Accepted | AnnounceReply::AlreadyThere => (Ok(()), Duration::ZERO),
        AnnounceReply::Conflict => (
            Err(("ChannelRefused", "The channel knows this halt by another content. It is tried again by itself.")),
            Duration::ZERO,
        ),
        AnnounceReply::Refused => {
            (Err(("ChannelRefused", "The channel refuses it. It is tried again by itself.")), Duration::ZERO)
        }
        AnnounceReply::NotSent(why) | AnnounceReply::Unknown(why) => {
            (Err(UNAVAILABLE), why.retry_after.unwrap_or_default())
        }
    };
    context.metrics.follow_up(match reply {
        AnnounceReply::Accepted | AnnounceReply::AlreadyThere => Told::Announced,
        AnnounceReply::Conflict | AnnounceReply::Refused => Told::Refused,
        AnnounceReply::NotSent(_) | AnnounceReply::Unknown(_) => Told::Unavailable,
    });
    if word.is_ok() {
        info!(closure = key, namespace, packet = name, "people were told of a halt");
    }
    match (say(context, packet, word).await, word) {
        (true, Ok(())) => Tried::Over,
        // Without a word on the packet it is told again rather than never: the channel knows it by its key.
        (false, Ok(())) | (_, Err(_)) => Tried::Failed { initial, max, least },
    }
}

/// The channel of the playbook of the closure that halted, or of another object of the same closure where that one is gone.
fn channel_of(context: &Context, telling: &Telling, closure: &str) -> Option<(ConnectionRef, Backoff)> {
    let objects = context.objects(&[(telling.namespace.clone(), telling.key.clone())]);
    let own = objects.iter().find(|object| object.name == closure);
    let object = context.closures.get(own.or(objects.first())?)?;
    context.playbooks.follow_up(&telling.namespace, &object.spec.playbook_ref.reference()?)
}

/// What is told of a packet: the same whenever it is told.
fn notice(packet: &FollowUpPacket) -> HaltNotice {
    let spec = &packet.spec;
    HaltNotice {
        halt_id: spec.halt_id.clone(),
        closure_key: spec.closure_key.clone(),
        packet: packet.name_any(),
        namespace: packet.namespace().unwrap_or_default(),
        coordinator: spec.coordinator.clone(),
        cause: spec.cause,
        link: spec.findings.iter().find_map(|finding| finding.link.clone()),
    }
}

/// Says on a packet whether people were told. Tells whether the packet says so now.
async fn say(context: &Context, packet: FollowUpPacket, told: Result<(), (&'static str, &str)>) -> bool {
    let (truth, reason, message) = match told {
        Ok(()) => (Truth::True, "Announced", "People were told of this halt."),
        Err((reason, message)) => (Truth::False, reason, message),
    };
    let name = packet.name_any();
    match packets::set_condition(context, packet, (conditions::ANNOUNCED, truth, reason, message)).await {
        Ok(()) => true,
        Err(error) => {
            warn!(%error, packet = name, "the packet does not say whether people were told");
            false
        }
    }
}

impl Context {
    /// Wakes the telling of a halt, where nobody was told of it.
    pub fn tell(&self, packet: &Holding) {
        let (key, hold) = Hold::of(packet);
        if !hold.announced {
            let (namespace, packet) = (packet.namespace().unwrap_or_default(), packet.name_any());
            // The receiver lives as long as the controller.
            let _ = self.tell.send(Telling { namespace, key, packet });
        }
    }

    /// Wakes the telling of every halt of a namespace (of all, for an empty `home`) of which nobody was told.
    pub fn tell_untold(&self, home: &str) {
        let all = self.holds.named(|of, hold| (home.is_empty() || home == of) && !hold.abandoned && !hold.announced);
        for ((namespace, key), packet) in all {
            // The receiver lives as long as the controller.
            let _ = self.tell.send(Telling { namespace, key, packet });
        }
    }
}
