//! Slack, as intake: the handoff is one message in one channel. Likewise as a channel for follow-ups: a halt is one message.
//!
//! **What a repeated message is:** another message. Slack documents no way to post one only once, and what a channel holds
//! can be read back only as far as it is kept; so where a reply was lost, a person is asked, who can look.
//!
//! Slack says what is wrong in the body of a 200. What a message says to machines is in its metadata.

#[cfg(test)]
mod fuzz_tests;
mod rows;

pub use rows::allow_list;

use super::rest::client::{Condition, Reader, Writer};
use super::rest::json;
use super::rest::reply::Came;
use super::rest::table::{Fill, Request};
use super::rest::{self, Dialect};
use super::{Product, Refused, Settings, Surroundings};
use crate::closure::decide::{Change, Delivery, HandoffBody, Verified};
use crate::closure::ids::System;
use crate::closure::snapshot::Trouble;
use crate::products::Slack;
use crate::roles::{Abilities, AnnounceReply, Connected, FollowUp, HaltNotice, Intake, Permit, Probe, Prober};
use async_trait::async_trait;
use serde::Deserialize;
use std::sync::Arc;

static DIALECT: Dialect = Dialect { post: "application/json; charset=utf-8", really, ..Dialect::PLAIN };

/// Makes the connection's role. Sends nothing.
///
/// # Errors
/// The endpoint is refused, or a Secret does not hold what it should.
pub(super) fn connect(settings: &Settings, surroundings: Surroundings) -> Result<Connected, Refused> {
    let Product::Slack(slack) = &settings.product else { return Err(Refused::NotSupported) };
    let (reader, writer, gate) = rest::connect(settings, &slack.endpoint, &DIALECT, surroundings)?;
    let channel = Arc::new(Channel { reader, writer, slack: (**slack).clone() });
    Ok(Connected {
        intake: Some(channel.clone()),
        follow_up: Some(channel.clone()),
        ..Connected::without_roles(gate, channel)
    })
}

struct Channel {
    reader: Reader,
    writer: Writer,
    slack: Slack,
}

#[derive(Deserialize)]
struct Reply {
    ok: bool,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    channel: Option<serde_json::Value>,
}

/// What HTTP would say: 401, 403, 404 no such channel (or none that the bot may see), 410 an archived one, 422 the message itself,
/// 429, 500. A reply that is none of Slack's is left as it is.
/// <https://docs.slack.dev/reference/methods/chat.postMessage>, "Errors".
fn really(status: u16, body: &[u8]) -> u16 {
    let Ok(Reply { ok: false, error: Some(error), channel: _ }) = json::parse(body) else { return status };
    match error.as_str() {
        "invalid_auth" | "not_authed" | "token_revoked" | "token_expired" | "account_inactive" => 401,
        "missing_scope"
        | "not_in_channel"
        | "no_permission"
        | "access_denied"
        | "ekm_access_denied"
        | "restricted_action"
        | "restricted_action_read_only_channel"
        | "org_login_required"
        | "team_access_not_granted"
        | "not_allowed_token_type" => 403,
        "channel_not_found" => 404,
        "is_archived" => 410,
        "ratelimited" | "rate_limited" | "message_limit_exceeded" | "team_added_to_org" => 429,
        // Of these Slack says that the message may have been posted all the same.
        "fatal_error" | "internal_error" | "service_unavailable" | "request_timeout" => 500,
        _ => 422,
    }
}

/// A reply that says yes; tells whether the channel that it is about is archived.
fn said_yes(body: &[u8]) -> Option<bool> {
    let Reply { ok, error: _, channel } = json::parse(body).ok()?;
    let archived = || channel.as_ref()?.get("is_archived")?.as_bool();
    ok.then(|| archived().unwrap_or_default())
}

/// The message, for people. What others wrote cannot address anybody or look like a link: see [`escaped`].
fn text(body: &HandoffBody) -> String {
    let HandoffBody { release_id, review_version, service, closure_key: _, coordinator, links } = body;
    let mut text = format!(
        "Release {} of {} is closed: review version {}, checklist, tracker and queue agree.",
        escaped(release_id),
        escaped(service),
        escaped(review_version),
    );
    for link in links {
        text.push_str(&format!("\n{}: {}", escaped(&link.rel), escaped(&link.url)));
    }
    if let Some(coordinator) = coordinator {
        text.push_str(&format!("\nFor: {}", escaped(coordinator)));
    }
    text
}

/// What people are told of a halt.
fn halt_text(notice: &HaltNotice) -> String {
    let HaltNotice { halt_id: _, closure_key, packet, namespace, coordinator, cause, link } = notice;
    let mut text = format!(
        "The closure of {} is halted: {} Packet {} in namespace {} says what to do.",
        escaped(closure_key),
        cause.sentence(),
        escaped(packet),
        escaped(namespace),
    );
    if let Some(link) = link {
        text.push_str(&format!("\nrecord: {}", escaped(link)));
    }
    if let Some(coordinator) = coordinator {
        text.push_str(&format!("\nFor: {}", escaped(coordinator)));
    }
    text
}

/// The three characters with which Slack's own markup begins and ends.
/// <https://docs.slack.dev/messaging/formatting-message-text>, "Escaping text".
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Channel {
    fn message(&self, body: &HandoffBody) -> Option<Request> {
        rows::MESSAGE.request(&[
            ("closureKey", Fill::Text(&body.closure_key)),
            ("channel", Fill::Text(&self.slack.channel)),
            ("text", Fill::Text(&text(body))),
            ("releaseId", Fill::Text(&body.release_id)),
            ("reviewVersion", Fill::Text(&body.review_version)),
            ("service", Fill::Text(&body.service)),
        ])
    }
}

#[async_trait]
impl Intake for Channel {
    async fn announce(&self, order: Verified, permit: Permit) -> AnnounceReply {
        let Change::Announce(body) = order.change() else { return AnnounceReply::Refused };
        let Some(request) = self.message(body) else { return AnnounceReply::Refused };
        self.post(request, permit).await
    }
}

#[async_trait]
impl FollowUp for Channel {
    async fn tell(&self, notice: &HaltNotice, permit: Permit) -> AnnounceReply {
        let request = rows::HALT.request(&[
            ("haltId", Fill::Text(&notice.halt_id)),
            ("channel", Fill::Text(&self.slack.channel)),
            ("text", Fill::Text(&halt_text(notice))),
            ("closureKey", Fill::Text(&notice.closure_key)),
            ("packet", Fill::Text(&notice.packet)),
            ("namespace", Fill::Text(&notice.namespace)),
            ("cause", Fill::Text(notice.cause.as_str())),
        ]);
        let Some(request) = request else { return AnnounceReply::Refused };
        self.post(request, permit).await
    }

    async fn probe(&self) -> Probe {
        Prober::probe(self, System::Intake).await
    }
}

impl Channel {
    async fn post(&self, request: Request, permit: Permit) -> AnnounceReply {
        match self.writer.write(permit, request, Condition::None, |reply| said_yes(&reply.body)).await {
            Came::Success(_) => AnnounceReply::Accepted,
            // An administrator can mend it, and the connection's probe says how.
            Came::Problem(404 | 410) => AnnounceReply::NotSent(Trouble::Forbidden.into()),
            Came::Problem(409 | 412 | 422) => AnnounceReply::Refused,
            Came::Problem(_) => AnnounceReply::NotSent(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => failure.announce_reply(),
        }
    }
}

#[async_trait]
impl Prober for Channel {
    async fn probe(&self, _: System) -> Probe {
        let Some(request) = rows::CHANNEL.request(&[("channel", Fill::Text(&self.slack.channel))]) else {
            return Probe::Failed(Trouble::NotUnderstood.into());
        };
        let unfit = |setting, what| Probe::Unfit { setting, what };
        match self.reader.probe(request, |reply| said_yes(&reply.body)).await {
            Came::Success(false) => Probe::Ready,
            Came::Problem(404) => unfit(
                "slack.channel",
                "names no channel that the bot may see: correct the id, or invite the bot to the channel",
            ),
            Came::Success(true) | Came::Problem(410) => {
                unfit("slack.channel", "names an archived channel: name another, or have it unarchived")
            }
            Came::Failure(failure) if failure.why.trouble == Trouble::Forbidden => unfit(
                "slack.tokenSecretRef",
                "is of a bot that may not see the channel: it needs the scopes chat:write and channels:read (groups:read for a \
                 private channel)",
            ),
            Came::Problem(_) => Probe::Failed(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => Probe::Failed(failure.why),
        }
    }

    fn abilities(&self, system: System) -> Option<Abilities> {
        (system == System::Intake).then_some(Abilities { delivery: Some(Delivery::None), ..Abilities::NONE })
    }
}

#[cfg(test)]
mod tests;
