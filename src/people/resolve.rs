//! `resume NAME` and `abandon NAME`: a coordinator's decision about exactly one halt.
//!
//! The decision is put down on the halt's packet, with the resourceVersion of the packet that was shown: what somebody
//! else changed meanwhile is not decided about.

use super::cluster::{Place, ask};
use super::error::{COORDINATOR, Error, Tried, word};
use super::{Ending, clean, page, tell, wait};
use crate::api::{FollowUpPacket, ReleaseClosure};
use crate::closure::ledger::{Decision, Halt, Handoff};
use crate::closure::reason::Reason;
use crate::settings::{Abandon, Resolve, Resume};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use std::io::{BufRead, IsTerminal, Write};

/// Releases the halt of a closure.
///
/// # Errors
/// There is no halt, or another one; it is resolved already; the API server does not allow it.
pub async fn resume(resume: &Resume) -> Result<Ending, Error> {
    resolve(&resume.resolve, Decision::Resume, resume.handoff.map(Handoff::from)).await
}

/// Gives a closure up.
///
/// # Errors
/// As [`resume`].
pub async fn abandon(abandon: &Abandon) -> Result<Ending, Error> {
    resolve(&abandon.resolve, Decision::Abandon, None).await
}

async fn resolve(wanted: &Resolve, decision: Decision, handoff: Option<Handoff>) -> Result<Ending, Error> {
    let place = Place::find(&wanted.cluster).await?;
    let closure: ReleaseClosure = place.get("releaseclosure", &wanted.name).await?;
    let halt = latched(&closure, wanted)?;
    check_handoff(&halt, decision, handoff)?;
    let packet: FollowUpPacket = match place.get("followuppacket", &halt.packet_ref.name).await {
        Err(Error::NotFound { .. }) => return Err(Error::NoPacket(halt.packet_ref.name)),
        found => found?,
    };
    if let Some(resolution) = &packet.spec.resolution {
        return Err(Error::Resolved {
            halt: halt.id,
            decision: word(resolution.decision),
            by: clean(&resolution.resolved_by),
        });
    }
    let user = whoami(&place).await?;
    tell(&page::halted(place.namespace(), &wanted.name, &halt));
    tell(&format!("\n{}", intention(decision, handoff, &user)));
    if !wanted.yes && !confirmed() {
        return Err(Error::NotConfirmed);
    }
    put_down(&place, &packet, &halt, decision, handoff, &user, wanted.note.as_deref()).await?;
    tell(&format!("{}: {} is stored, by {}", wanted.name, word(decision), clean(&user)));
    if wanted.wait {
        return wait::follow(&place, &wanted.name, wanted.timeout, Some(&halt.id)).await;
    }
    Ok(Ending::Done)
}

/// The halt that is meant.
fn latched(closure: &ReleaseClosure, wanted: &Resolve) -> Result<Halt, Error> {
    let halt = closure.status.as_ref().and_then(|status| status.halt.clone());
    let halt = halt.ok_or_else(|| Error::NotHalted(wanted.name.clone()))?;
    match &wanted.halt {
        Some(named) if *named != halt.id => {
            Err(Error::OtherHalt { name: wanted.name.clone(), latched: clean(&halt.id), named: clean(named) })
        }
        _ => Ok(halt),
    }
}

/// The API server holds to the same rule, in the words of a schema.
fn check_handoff(halt: &Halt, decision: Decision, handoff: Option<Handoff>) -> Result<(), Error> {
    let asked = halt.cause == Reason::NotificationUncertain && decision == Decision::Resume;
    match handoff {
        None if asked => Err(Error::HandoffNeeded),
        Some(_) if !asked => Err(Error::HandoffUnasked(halt.cause.as_str())),
        _ => Ok(()),
    }
}

fn intention(decision: Decision, handoff: Option<Handoff>, user: &str) -> String {
    let what = match (decision, handoff) {
        (Decision::Resume, None) => {
            "release this halt: everything is verified from the start, then the closure goes on"
        }
        (Decision::Resume, Some(Handoff::Delivered)) => {
            "release this halt and say that the handoff arrived: it counts as done, and is not sent again"
        }
        (Decision::Resume, Some(Handoff::NotDelivered)) => {
            "release this halt and say that the handoff did not arrive: after verification it is sent once"
        }
        (Decision::Abandon, _) => "give this closure up for good: nothing more is read or written for it",
    };
    format!("As {} you are about to {what}.", clean(user))
}

fn confirmed() -> bool {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return false;
    }
    let mut stderr = std::io::stderr();
    let asked = write!(stderr, "Type yes to do so: ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    asked.is_ok() && stdin.lock().read_line(&mut answer).is_ok() && answer.trim() == "yes"
}

/// The user, as the API server sees them.
async fn whoami(place: &Place) -> Result<String, Error> {
    let tried = Tried {
        verb: "create",
        what: "selfsubjectreviews",
        name: "",
        namespace: place.namespace(),
        role: "every user may, by default",
    };
    let api: Api<SelfSubjectReview> = Api::all(place.client());
    let review = ask(&tried, api.create(&PostParams::default(), &SelfSubjectReview::default())).await?;
    let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
    user.ok_or_else(|| Error::Refused("it does not say who you are".to_owned()))
}

async fn put_down(
    place: &Place,
    packet: &FollowUpPacket,
    halt: &Halt,
    decision: Decision,
    handoff: Option<Handoff>,
    user: &str,
    note: Option<&str>,
) -> Result<(), Error> {
    let mut resolution = json!({"decision": decision, "haltId": halt.id, "resolvedBy": user});
    if let Some(handoff) = handoff {
        resolution["handoff"] = json!(handoff);
    }
    if let Some(note) = note {
        resolution["note"] = json!(note);
    }
    let version = packet.metadata.resource_version.as_deref();
    let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"resolution": resolution}});
    let name = halt.packet_ref.name.as_str();
    let tried = Tried { verb: "patch", what: "followuppackets", name, namespace: place.namespace(), role: COORDINATOR };
    let api = place.api::<FollowUpPacket>();
    ask(&tried, api.patch(name, &PatchParams::default(), &Patch::Merge(patch))).await.map(|_| ())
}
