//! CloudEvents 1.0 over HTTP, as intake: the handoff is one event, posted to one address.
//!
//! **Which event it is** say its source and its id, which is the closure key: the same handoff is the same event, however
//! often it is sent (CloudEvents 1.0, "id"). Whether a receiver drops what it knows is the receiver's own matter, so the
//! connection's settings say it. Nobody can ask a receiver what it has.
//!
//! As a channel for follow-ups, a halt is one event, whose id is the halt's.
//!
//! What a receiver answers besides its status is not read: the standard gives it no meaning.

mod rows;

pub use rows::allow_list;

use super::limits::Limits;
use super::rest::client::{Condition, Reader, Writer};
use super::rest::reply::{Came, Media};
use super::rest::table::{Fill, Request};
use super::rest::{self, Dialect};
use super::{Product, Refused, Settings, Surroundings};
use crate::closure::decide::{Change, HandoffBody, Verified};
use crate::closure::ids::System;
use crate::closure::snapshot::Trouble;
use crate::products::CloudEvents;
use crate::products::cloud_events::Mode;
use crate::roles::{Abilities, AnnounceReply, Connected, FollowUp, HaltNotice, Intake, Permit, Probe, Prober};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

static STRUCTURED: Dialect = Dialect {
    accept: "*/*",
    post: "application/cloudevents+json; charset=utf-8",
    errors: Media::Other,
    says_all_in_status: true,
    ..Dialect::PLAIN
};

static BINARY: Dialect = Dialect { post: "application/json", ..STRUCTURED };

/// Makes the connection's role. Sends nothing.
///
/// # Errors
/// The endpoint is refused, a setting is none, or a Secret does not hold what it should.
pub(super) fn connect(settings: &Settings, surroundings: Surroundings) -> Result<Connected, Refused> {
    let Product::CloudEvents(events) = &settings.product else { return Err(Refused::NotSupported) };
    let setting = "cloudEvents.window";
    let window = events.window().map_err(|_| Refused::Setting { setting, rule: "a duration such as 10m or 24h" })?;
    let dialect = match events.mode {
        Mode::Structured => &STRUCTURED,
        Mode::Binary => &BINARY,
    };
    let (reader, writer, gate): (Reader, Writer, Arc<Limits>) =
        rest::connect(settings, &events.endpoint, dialect, surroundings)?;
    let receiver = Arc::new(Receiver { reader, writer, events: (**events).clone(), window });
    Ok(Connected {
        intake: Some(receiver.clone()),
        follow_up: Some(receiver.clone()),
        ..Connected::without_roles(gate, receiver)
    })
}

struct Receiver {
    reader: Reader,
    writer: Writer,
    events: CloudEvents,
    window: Option<Duration>,
}

impl Receiver {
    fn event(&self, body: &HandoffBody) -> Option<Request> {
        let HandoffBody { release_id, review_version, service, closure_key, coordinator, links } = body;
        let mut fills = vec![
            ("closureKey", Fill::Text(closure_key)),
            ("source", Fill::Text(&self.events.source)),
            ("type", Fill::Text(self.events.event_type())),
            ("releaseId", Fill::Text(release_id)),
            ("reviewVersion", Fill::Text(review_version)),
            ("service", Fill::Text(service)),
            ("links", Fill::Links(links)),
        ];
        let row = match (self.events.mode, coordinator) {
            (Mode::Structured, None) => &rows::EVENT,
            (Mode::Structured, Some(_)) => &rows::EVENT_TO,
            (Mode::Binary, None) => &rows::DATA,
            (Mode::Binary, Some(_)) => &rows::DATA_TO,
        };
        fills.extend(coordinator.as_deref().map(|coordinator| ("coordinator", Fill::Text(coordinator))));
        row.request(&fills)
    }
}

#[async_trait]
impl Intake for Receiver {
    async fn announce(&self, order: Verified, permit: Permit) -> AnnounceReply {
        let Change::Announce(body) = order.change() else { return AnnounceReply::Refused };
        let Some(request) = self.event(body) else { return AnnounceReply::Refused };
        let event_type = self.events.event_type();
        self.post(request, permit, (&body.closure_key, event_type, &body.release_id)).await
    }
}

#[async_trait]
impl FollowUp for Receiver {
    async fn tell(&self, notice: &HaltNotice, permit: Permit) -> AnnounceReply {
        let HaltNotice { halt_id, closure_key, packet, namespace, coordinator, cause, link } = notice;
        let event_type = self.events.halt_type();
        let fills = [
            ("haltId", Fill::Text(halt_id)),
            ("source", Fill::Text(&self.events.source)),
            ("type", Fill::Text(event_type)),
            ("closureKey", Fill::Text(closure_key)),
            ("packet", Fill::Text(packet)),
            ("namespace", Fill::Text(namespace)),
            ("coordinator?", Fill::Maybe(coordinator.as_deref())),
            ("cause", Fill::Text(cause.as_str())),
            ("link?", Fill::Maybe(link.as_deref())),
        ];
        let row = match self.events.mode {
            Mode::Structured => &rows::HALT_EVENT,
            Mode::Binary => &rows::HALT_DATA,
        };
        let Some(request) = row.request(&fills) else { return AnnounceReply::Refused };
        self.post(request, permit, (halt_id, event_type, closure_key)).await
    }

    async fn probe(&self) -> Probe {
        Prober::probe(self, System::Intake).await
    }
}

impl Receiver {
    async fn post(
        &self,
        request: Request,
        permit: Permit,
        (id, event_type, subject): (&str, &str, &str),
    ) -> AnnounceReply {
        let attributes = [
            ("ce-specversion", "1.0"),
            ("ce-id", id),
            ("ce-source", self.events.source.as_str()),
            ("ce-type", event_type),
            ("ce-subject", subject),
        ];
        let condition = match self.events.mode {
            Mode::Structured => Condition::None,
            Mode::Binary => Condition::Attributes(&attributes),
        };
        match self.writer.write(permit, request, condition, |_| Some(())).await {
            Came::Success(()) => AnnounceReply::Accepted,
            Came::Problem(400 | 404 | 405 | 410 | 413 | 415 | 422) => AnnounceReply::Refused,
            Came::Problem(_) => AnnounceReply::NotSent(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => failure.announce_reply(),
        }
    }
}

#[async_trait]
impl Prober for Receiver {
    /// A receiver need not answer anything but a POST. That it answers at all, and what it says to the credentials, is what can
    /// be learned without sending an event.
    async fn probe(&self, _: System) -> Probe {
        let Some(request) = rows::RECEIVER.request(&[]) else {
            return Probe::Failed(Trouble::NotUnderstood.into());
        };
        match self.reader.probe(request, |_| Some(())).await {
            Came::Problem(404 | 410) => Probe::Unfit {
                setting: "cloudEvents.endpoint",
                what: "names nothing that is there: correct it to the address that events are posted to",
            },
            Came::Success(()) | Came::Problem(_) => Probe::Ready,
            Came::Failure(failure) => Probe::Failed(failure.why),
        }
    }

    fn abilities(&self, system: System) -> Option<Abilities> {
        let delivery = Some(self.events.delivery());
        (system == System::Intake).then_some(Abilities { delivery, window: self.window, ..Abilities::NONE })
    }
}

#[cfg(test)]
mod tests;
