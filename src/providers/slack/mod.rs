//! Slack, as intake: the handoff is one message in one channel.
//!
//! **What a repeated message is:** another message. Slack documents no way to post one only once, and what a channel holds
//! can be read back only as far as it is kept; so where a reply was lost, a person is asked, who can look.
//!
//! Slack says what is wrong in the body of a 200. What a message says to machines is in its metadata.

mod rows;

pub use rows::allow_list;

use super::rest::client::{Condition, Reader, Writer};
use super::rest::json::{self, NotTheContract};
use super::rest::reply::{Came, Media};
use super::rest::table::{Fill, Request};
use super::rest::{self, Credentials, Dialect};
use super::{Product, Refused, Settings, Surroundings};
use crate::closure::decide::{Change, Delivery, HandoffBody, Verified};
use crate::closure::ids::System;
use crate::closure::snapshot::Trouble;
use crate::products::Slack;
use crate::roles::{Abilities, AnnounceReply, Connected, HandoffSighting, Intake, Permit, Probe, Prober};
use async_trait::async_trait;
use serde::Deserialize;
use std::sync::Arc;

static DIALECT: Dialect = Dialect {
    accept: "application/json",
    patch: "application/json",
    post: "application/json; charset=utf-8",
    errors: Media::Json,
    is_own: json::is_object,
    is_conflict: rest::no_conflict,
    credentials: Credentials::Bearer,
    says_all_in_status: false,
};

/// Makes the connection's role. Sends nothing.
///
/// # Errors
/// The endpoint is refused, or a Secret does not hold what it should.
pub(super) fn connect(settings: &Settings, surroundings: Surroundings) -> Result<Connected, Refused> {
    let Product::Slack(slack) = &settings.product else { return Err(Refused::NotSupported) };
    let (reader, writer, gate) = rest::connect(settings, &slack.endpoint, &DIALECT, surroundings)?;
    let channel = Arc::new(Channel { reader, writer, slack: (**slack).clone() });
    Ok(Connected {
        gate,
        governance: None,
        archive: None,
        checklist: None,
        tracker: None,
        queue: None,
        intake: Some(channel.clone()),
        prober: channel,
    })
}

struct Channel {
    reader: Reader,
    writer: Writer,
    slack: Slack,
}

/// What Slack says, as far as it matters here: its own words for what is wrong are told apart, and are not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// `ok: true`
    Yes,
    /// The channel is there, and nothing can be posted to it any more.
    Archived,
    /// The credentials are none, or are no longer.
    Unauthorized,
    /// The bot may not do it: it lacks a scope, or is no member.
    Forbidden,
    /// No such channel, or none that the bot may see.
    NoChannel,
    /// Later.
    TooMany,
    /// Something is wrong at Slack's end.
    Broken,
    /// The message itself is refused.
    Refused,
}

#[derive(Deserialize)]
struct Reply {
    ok: bool,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    channel: Option<serde_json::Value>,
}

/// What a reply says.
///
/// # Errors
/// It is none of Slack's.
fn said(body: &[u8]) -> Result<Said, NotTheContract> {
    let Reply { ok, error, channel } = json::parse(body)?;
    // <https://docs.slack.dev/reference/methods/chat.postMessage>, "Errors".
    Ok(match (ok, error.as_deref()) {
        (true, _) => {
            let archived = channel.as_ref().and_then(|channel| channel.get("is_archived")?.as_bool());
            if archived == Some(true) { Said::Archived } else { Said::Yes }
        }
        (false, Some("invalid_auth" | "not_authed" | "token_revoked" | "token_expired" | "account_inactive")) => {
            Said::Unauthorized
        }
        (
            false,
            Some(
                "missing_scope"
                | "not_in_channel"
                | "no_permission"
                | "access_denied"
                | "ekm_access_denied"
                | "restricted_action"
                | "restricted_action_read_only_channel"
                | "org_login_required"
                | "team_access_not_granted"
                | "not_allowed_token_type",
            ),
        ) => Said::Forbidden,
        (false, Some("channel_not_found")) => Said::NoChannel,
        (false, Some("is_archived")) => Said::Archived,
        (false, Some("ratelimited" | "rate_limited" | "message_limit_exceeded" | "team_added_to_org")) => Said::TooMany,
        (false, Some("fatal_error" | "internal_error" | "service_unavailable" | "request_timeout")) => Said::Broken,
        (false, Some(_)) => Said::Refused,
        (false, None) => return Err(NotTheContract),
    })
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
    async fn handoff(&self, _: &str, _: Option<&Permit>) -> HandoffSighting {
        // The abilities say that this cannot be asked, and nobody does.
        HandoffSighting::Unreachable(Trouble::NotUnderstood.into())
    }

    async fn announce(&self, order: Verified, permit: Permit) -> AnnounceReply {
        let Change::Announce(body) = order.change() else { return AnnounceReply::Refused };
        let Some(request) = self.message(body) else { return AnnounceReply::Refused };
        match self.writer.write(permit, request, Condition::None, |reply| said(&reply.body).ok()).await {
            Came::Success(Said::Yes) => AnnounceReply::Accepted,
            Came::Success(Said::Unauthorized) => AnnounceReply::NotSent(Trouble::Unauthorized.into()),
            // An administrator can mend all three, and the connection's probe says what is to be done.
            Came::Success(Said::Forbidden | Said::NoChannel | Said::Archived) => {
                AnnounceReply::NotSent(Trouble::Forbidden.into())
            }
            Came::Success(Said::TooMany) => AnnounceReply::NotSent(Trouble::TooManyRequests.into()),
            // Slack says of these that the message may have been posted all the same.
            Came::Success(Said::Broken) => AnnounceReply::Unknown(Trouble::Unavailable.into()),
            Came::Success(Said::Refused) => AnnounceReply::Refused,
            Came::Problem(_) => AnnounceReply::NotSent(Trouble::NotUnderstood.into()),
            Came::Failure(failure) if failure.not_announced() => AnnounceReply::NotSent(failure.why),
            Came::Failure(failure) => AnnounceReply::Unknown(failure.why),
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
        match self.reader.probe(request, |reply| said(&reply.body).ok()).await {
            Came::Success(Said::Yes) => Probe::Ready,
            Came::Success(Said::NoChannel) => unfit(
                "slack.channel",
                "names no channel that the bot may see: correct the id, or invite the bot to the channel",
            ),
            Came::Success(Said::Archived) => {
                unfit("slack.channel", "names an archived channel: name another, or have it unarchived")
            }
            Came::Success(Said::Forbidden) => unfit(
                "slack.tokenSecretRef",
                "is of a bot that may not see the channel: it needs the scopes chat:write and channels:read (groups:read for a \
                 private channel)",
            ),
            Came::Success(Said::Unauthorized) => Probe::Failed(Trouble::Unauthorized.into()),
            Came::Success(Said::TooMany) => Probe::Failed(Trouble::TooManyRequests.into()),
            Came::Success(Said::Broken) => Probe::Failed(Trouble::Unavailable.into()),
            Came::Success(Said::Refused) | Came::Problem(_) => Probe::Failed(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => Probe::Failed(failure.why),
        }
    }

    fn abilities(&self, system: System) -> Option<Abilities> {
        (system == System::Intake).then_some(Abilities {
            concurrency: None,
            unguarded: &[],
            marker: None,
            carries: &[],
            delivery: Some(Delivery::None),
            window: None,
            can_look_up: false,
        })
    }
}

#[cfg(test)]
mod tests;
