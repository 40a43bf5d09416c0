//! Halts and their packets. The latch is the status; the packet follows from it, and a resolution comes back through it.

use super::cache::{Hold, Holding, HoldingSpec, HoldingStatus, Name};
use super::context::Context;
use super::draft::{Draft, Stored};
use super::events::Happening;
use super::pass::{Ended, Next, PassError, Subject};
use super::playbooks::Resolved;
use super::record;
use crate::api::conditions::{self, Stamp, Standing, Truth};
use crate::api::follow_up_packet::{ClosureRef, PacketStep};
use crate::api::{FollowUpPacket, FollowUpPacketSpec};
use crate::closure::accepted::Accepted;
use crate::closure::halt::{self, Released, Resolution};
use crate::closure::ids::System;
use crate::closure::ledger::{Decision, Finding, Halt, Ledger, NameRef, PastHalt, printable};
use crate::closure::packet;
use crate::closure::reason::Reason;
use crate::telemetry::{After, Ending};
use kube::ResourceExt as _;
use kube::api::{Api, ObjectMeta, PostParams};
use std::time::Duration;
use tracing::{info, warn};

fn api(context: &Context, namespace: &str) -> Api<FollowUpPacket> {
    Api::namespaced(context.client.clone(), namespace)
}

/// Puts the links for people's eyes on findings.
#[must_use]
pub fn with_links(mut findings: Vec<Finding>, resolved: &Resolved) -> Vec<Finding> {
    for finding in &mut findings {
        finding.link = link(resolved, finding.system, finding.record.as_deref());
    }
    findings
}

fn link(resolved: &Resolved, system: System, record: Option<&str>) -> Option<String> {
    let template = resolved.connections[system as usize].record_link.as_deref()?;
    let escaped: String = url::form_urlencoded::byte_serialize(record?.as_bytes()).collect();
    Some(template.replace("{id}", &escaped.replace('+', "%20")))
        .filter(|link| link.len() <= crate::closure::ledger::LINK_MAX)
}

/// Latches a halt in the status, then makes its packet. There is no packet of a halt that is not latched: where the status
/// had changed, the next pass decides anew.
///
/// # Errors
/// Where the API server takes neither; a halt that is stored gets its packet at the next pass.
pub async fn latch(
    context: &Context,
    subject: &Subject,
    accepted: &Accepted,
    mut draft: Draft,
    findings: Vec<Finding>,
) -> Result<Ended, PassError> {
    let Some(halt) = draft.latch(&subject.uid, findings, context.now()) else {
        return Ok((Ending::Nothing, Next::AtOnce));
    };
    let ledger = draft.ledger.clone();
    if record::store_fact(context, subject, draft).await? == Stored::Steps {
        return Ok((Ending::Conflict, Next::AtOnce));
    }
    info!(closure = %accepted.key(), halt = halt.id, cause = %halt.cause, "halted");
    make(context, subject, accepted, &ledger, &halt).await?;
    let note = format!("{} Resolve followuppacket {} to release it.", halt.cause.sentence(), halt.packet_ref.name);
    context.events.tell(&subject.object, Happening::Halted, halt.cause.as_str(), note);
    Ok((Ending::Halted, Next::OnChange))
}

/// Makes the packet of a halt from the status alone: after the halt, after a crash, after somebody deleted it.
async fn make(
    context: &Context,
    subject: &Subject,
    accepted: &Accepted,
    ledger: &Ledger,
    halt: &Halt,
) -> Result<(), PassError> {
    let link_of =
        |system| halt.findings.iter().find(|finding| finding.system == system).and_then(|finding| finding.link.clone());
    let steps = ledger.steps.iter().map(|step| PacketStep {
        name: step.name,
        outcome: step.outcome,
        record: step.record.clone(),
        link: link_of(step.system),
    });
    let spec = FollowUpPacketSpec {
        closure_ref: ClosureRef { name: subject.name.clone(), uid: subject.uid.clone() },
        closure_key: accepted.key().as_str().to_owned(),
        halt_id: halt.id.clone(),
        halted_at: halt.at,
        cause: halt.cause,
        coordinator: accepted.coordinator().map(str::to_owned),
        release: accepted.release().clone(),
        review: accepted.review().clone(),
        milestone: accepted.milestone().clone(),
        evidence: accepted.evidence().clone(),
        findings: halt.findings.clone(),
        findings_omitted: halt.findings_omitted,
        steps: steps.collect(),
        instructions: packet::instructions(halt, accepted, &subject.namespace, &subject.name)
            .into_iter()
            .map(|line| printable(&line, 1024))
            .collect(),
        resolution: None,
    };
    let name = &halt.packet_ref.name;
    let object = FollowUpPacket::new(name, spec);
    let holding = holding(subject, name, accepted, halt);
    context.holds.making(&holding);
    let counting = context.tally.change().await;
    let made = api(context, &subject.namespace).create(&PostParams::default(), &object).await;
    match &made {
        Ok(_) => context.tally.halted(&object.spec),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(_) => context.tally.doubt(),
    }
    drop(counting);
    // Held from now on, unless the watch knows better: somebody may have resolved it before the reply was here.
    context.holds.made(&holding, made.is_ok());
    match made {
        Ok(_) => info!(closure = %accepted.key(), packet = name, "a follow-up packet was made"),
        // Of one that was there the watch tells.
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(error) => return Err(PassError::Packet(error)),
    }
    Ok(())
}

fn holding(subject: &Subject, name: &str, accepted: &Accepted, halt: &Halt) -> Holding {
    Holding {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(subject.namespace.clone()),
            ..ObjectMeta::default()
        },
        spec: HoldingSpec {
            closure_key: accepted.key().as_str().to_owned(),
            closure_ref: Name { name: subject.name.clone() },
            halt_id: halt.id.clone(),
            cause: halt.cause.as_str().to_owned(),
            resolution: None,
        },
        status: HoldingStatus::default(),
    }
}

/// Attends to a halted closure: its packet is there, and its resolution is acted on; while it is suspended, neither is looked
/// at. No system is asked anything.
///
/// # Errors
/// Where the API server does not do its part.
pub async fn attend(
    context: &Context,
    subject: &Subject,
    accepted: &Accepted,
    mut draft: Draft,
) -> Result<Ended, PassError> {
    context.forget(&subject.uid);
    let Some(halt) = draft.ledger.halt.clone() else { return Ok((Ending::Nothing, Next::OnChange)) };
    let name = halt.packet_ref.name.clone();
    let known = context.holds.of_key(&subject.namespace, accepted.key().as_str());
    let is_open = known.iter().any(|(packet, hold)| *packet == name && !hold.abandoned);
    let packet = if is_open || subject.object.spec.suspend {
        None
    } else {
        let packet = api(context, &subject.namespace).get_opt(&name).await.map_err(PassError::Packet)?;
        if packet.is_none() {
            make(context, subject, accepted, &draft.ledger, &halt).await?;
        }
        packet
    };
    let Some((packet, resolution)) =
        packet.and_then(|packet| packet.spec.resolution.clone().map(|answer| (packet, answer)))
    else {
        draft.standing = Standing::Unchanged;
        record::store(context, subject, draft).await?;
        return Ok((Ending::Nothing, Next::OnChange));
    };
    let resolution = Resolution {
        decision: resolution.decision,
        halt_id: resolution.halt_id,
        handoff: resolution.handoff,
        resolved_by: Some(resolution.resolved_by),
    };
    let released = halt::resolve(&mut draft.ledger, &resolution, context.now());
    let by = resolution.resolved_by.as_deref().unwrap_or("somebody");
    match released {
        Released::Resumed => {
            draft.standing = Standing::Working;
            record::store(context, subject, draft).await?;
            context.holds.forget(&subject.namespace, accepted.key().as_str(), &name);
            let waited = Duration::try_from(context.now().duration_since(halt.at)).unwrap_or_default();
            context.metrics.resumed(After::Halt, waited);
            info!(closure = %accepted.key(), halt = halt.id, by, "resumed");
            context.events.tell(
                &subject.object,
                Happening::Resumed,
                &halt.id,
                format!("Halt {} was released by {by}.", halt.id),
            );
        }
        Released::Abandoned => {
            draft.abandon(accepted, &subject.uid, context.now());
            record::store(context, subject, draft).await?;
            info!(closure = %accepted.key(), halt = halt.id, by, "abandoned");
            context.events.tell(&subject.object, Happening::Abandoned, &halt.id, format!("Given up by {by}."));
        }
        Released::Rejected => {
            draft.standing = Standing::Unchanged;
            record::store(context, subject, draft).await?;
            let note = format!("The resolution on followuppacket {name} does not answer halt {}.", halt.id);
            context.events.tell(&subject.object, Happening::ResumeRejected, &halt.id, note);
        }
    }
    say(context, &packet, released).await;
    let next = if released == Released::Resumed { Next::AtOnce } else { Next::OnChange };
    let ending = if released == Released::Abandoned { Ending::Halted } else { Ending::Nothing };
    Ok((ending, next))
}

/// Takes over the halt of another object of the same closure, from its packet. No system is asked anything.
///
/// # Errors
/// Where the API server does not do its part.
pub async fn take_over(
    context: &Context,
    subject: &Subject,
    accepted: &Accepted,
    mut draft: Draft,
    (name, hold): (String, Hold),
) -> Result<Ended, PassError> {
    context.forget(&subject.uid);
    let Some(packet) = api(context, &subject.namespace).get_opt(&name).await.map_err(PassError::Packet)? else {
        context.holds.forget(&subject.namespace, accepted.key().as_str(), &name);
        return Ok((Ending::Nothing, Next::AtOnce));
    };
    let FollowUpPacketSpec { halt_id, halted_at, cause, findings, findings_omitted, resolution, .. } =
        packet.spec.clone();
    let packet_ref = NameRef { name: name.clone() };
    let decision = resolution.as_ref().map(|resolution| resolution.decision);
    match (decision, resolution) {
        (Some(Decision::Resume), _) => {
            context.holds.forget(&subject.namespace, accepted.key().as_str(), &name);
            Ok((Ending::Nothing, Next::AtOnce))
        }
        (Some(Decision::Abandon), Some(resolution)) => {
            let (resolved_by, resolved_at) = (Some(resolution.resolved_by), context.now());
            let (decision, handoff) = (Decision::Abandon, None);
            let past = PastHalt {
                id: halt_id,
                cause,
                at: halted_at,
                packet_ref,
                decision,
                handoff,
                resolved_by,
                resolved_at,
                superseded: None,
            };
            draft.ledger.put_by(past);
            draft.abandon(accepted, &subject.uid, context.now());
            record::store(context, subject, draft).await?;
            let note =
                format!("This closure was given up before, see followuppacket {name}; delete that to start afresh.");
            context.events.tell(&subject.object, Happening::Abandoned, "TakeOver", note);
            Ok((Ending::Halted, Next::OnChange))
        }
        _ => {
            info!(closure = %accepted.key(), packet = name, cause = hold.cause, "an earlier halt of this closure holds it");
            let halt = Halt { id: halt_id, cause, at: halted_at, packet_ref, findings, findings_omitted };
            draft.halted(&halt);
            draft.ledger.halt = Some(halt);
            record::store(context, subject, draft).await?;
            // Where the object that halted is gone, this one says on which channel.
            context.tell_untold(&subject.namespace);
            let note = format!("Held by followuppacket {name}, of an earlier object of this closure.");
            context.events.tell(&subject.object, Happening::Halted, "TakeOver", note);
            Ok((Ending::Halted, Next::OnChange))
        }
    }
}

/// Says on a packet what became of its resolution. The closure has acted already, so a failure is only logged: the
/// condition is for people.
async fn say(context: &Context, packet: &FollowUpPacket, released: Released) {
    let (truth, reason, message) = match released {
        Released::Resumed => {
            (Truth::True, Reason::Resumed, "The halt was released, and everything is verified from the start.")
        }
        Released::Abandoned => (Truth::True, Reason::Abandoned, "The closure was given up."),
        Released::Rejected => {
            (Truth::False, Reason::Rejected, "No closure is halted by this packet; its resolution does nothing.")
        }
    };
    let name = packet.name_any();
    if let Err(error) =
        set_condition(context, packet.clone(), (conditions::RESOLVED, truth, reason.as_str(), message)).await
    {
        warn!(%error, packet = name, "the packet does not say what became of its resolution");
    }
}

/// Sets one condition of a packet, and leaves the others as they are, also where somebody else writes one meanwhile. Writes
/// nothing where it says so already, or is gone.
///
/// # Errors
/// The API server does not take it.
pub(super) async fn set_condition(
    context: &Context,
    mut packet: FollowUpPacket,
    (kind, truth, reason, message): (&str, Truth, &'static str, &str),
) -> Result<(), kube::Error> {
    let (namespace, name) = (packet.namespace().unwrap_or_default(), packet.name_any());
    let uid = packet.uid();
    let api = api(context, &namespace);
    loop {
        let stamp = Stamp { generation: packet.metadata.generation.unwrap_or_default(), now: context.now() };
        let before = packet.status.take().unwrap_or_default();
        let mut status = before.clone();
        conditions::set(&mut status.conditions, kind, truth, reason, message, stamp);
        if status == before {
            return Ok(());
        }
        packet.metadata.managed_fields = None;
        packet.status = Some(status);
        match api.replace_status(&name, &PostParams::default(), &packet).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_conflict() => match api.get_opt(&name).await? {
                Some(fresh) if fresh.uid() == uid => packet = fresh,
                _ => return Ok(()),
            },
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// A packet was resolved, changed or deleted: wakes the closures it concerns. Where none is halted by it, a resolution
/// does nothing and the packet says so.
///
/// # Errors
/// Where the packet cannot be read.
pub async fn heed(context: &Context, namespace: &str, key: &str, name: &str) -> Result<(), kube::Error> {
    // A pass that acts on this very resolution is let finish first.
    let turn = context.keys.lock((namespace.to_owned(), key.to_owned())).await;
    let mut halted = false;
    for (closure, _) in context.siblings.of_key(namespace, key) {
        let reference = kube::runtime::reflector::ObjectRef::new(&closure).within(namespace);
        // A packet has the name of its halt.
        let halt = context.closures.get(&reference).and_then(|closure| closure.status.halt.clone());
        halted |= halt.is_some_and(|halt| halt.id == name);
        // The receiver lives as long as the controller.
        let _ = context.wake.send(reference);
    }
    drop(turn);
    if halted {
        return Ok(());
    }
    let Some(packet) = api(context, namespace).get_opt(name).await? else { return Ok(()) };
    let Some(resolution) = &packet.spec.resolution else { return Ok(()) };
    let told = packet
        .status
        .as_ref()
        .is_some_and(|status| conditions::find(&status.conditions, conditions::RESOLVED).is_some());
    if !told {
        let released = match resolution.decision {
            // It holds every later object of the closure.
            Decision::Abandon => Released::Abandoned,
            Decision::Resume => Released::Rejected,
        };
        say(context, &packet, released).await;
    }
    Ok(())
}
