//! Telling of a halt, under its id.

use super::{PROBE_ID, Records, rows, wire};
use crate::closure::snapshot::Trouble;
use crate::providers::rest::client::{Condition, Success};
use crate::providers::rest::json::NotTheContract;
use crate::providers::rest::reply::Came;
use crate::providers::rest::table::{Fill, Request};
use crate::roles::{AnnounceReply, FollowUp, HaltNotice, Permit, Probe};
use async_trait::async_trait;

fn request(notice: &HaltNotice) -> Option<Request> {
    let HaltNotice { halt_id, closure_key, packet, namespace, coordinator, cause, link } = notice;
    rows::FOLLOW_UP.request(&[
        ("haltId", Fill::Text(halt_id)),
        ("closureKey", Fill::Text(closure_key)),
        ("packet", Fill::Text(packet)),
        ("namespace", Fill::Text(namespace)),
        ("coordinator?", Fill::Maybe(coordinator.as_deref())),
        ("cause", Fill::Text(cause.as_str())),
        ("link?", Fill::Maybe(link.as_deref())),
    ])
}

#[async_trait]
impl FollowUp for Records {
    async fn tell(&self, notice: &HaltNotice, permit: Permit) -> AnnounceReply {
        let key = notice.halt_id.as_str();
        let Some(request) = request(notice) else { return AnnounceReply::Refused };
        // The receipt is that of a handoff.
        let understand = |reply: Success| match (reply.status, wire::handoff(&reply.body, key)) {
            (201, Ok(())) => Some(AnnounceReply::Accepted),
            (200, Ok(())) => Some(AnnounceReply::AlreadyThere),
            (_, Ok(()) | Err(NotTheContract)) => None,
        };
        match self.writer.write(permit, request, Condition::IdempotencyKey(key), understand).await {
            Came::Success(reply) => reply,
            Came::Problem(409) => AnnounceReply::Conflict,
            Came::Problem(400 | 404 | 405 | 410 | 415 | 422) => AnnounceReply::Refused,
            Came::Problem(_) => AnnounceReply::NotSent(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => failure.announce_reply(),
        }
    }

    async fn probe(&self) -> Probe {
        let Some(request) = rows::FOLLOW_UP_TOLD.request(&[("haltId", Fill::Text(PROBE_ID))]) else {
            return Probe::Failed(Trouble::NotUnderstood.into());
        };
        match self.reader.probe(request, |_| Some(())).await {
            // A channel need not answer questions.
            Came::Success(()) | Came::Problem(404 | 405) => Probe::Ready,
            Came::Problem(_) => Probe::Failed(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => Probe::Failed(failure.why),
        }
    }
}
