//! Amazon SQS, as intake: the handoff is one message in a FIFO queue.
//!
//! **What a repeated message is:** for five minutes the same one, which the queue takes and gives nobody twice. It is known by its
//! deduplication id, which is made of the closure key; after that it is another one. So the connection's window is five minutes, and
//! where a reply was lost for longer, a person is asked. A standard queue drops nothing and is not taken.
//!
//! What SQS has against a request it says in a word, with a status that tells little: a request that was throttled has 403, and a queue
//! that is not there 400. So its words are read before its statuses.

#[cfg(test)]
mod fuzz_tests;
mod rows;
mod sign;

pub use rows::allow_list;

use super::rest::client::{Condition, Raw, Reader, Writer};
use super::rest::json;
use super::rest::particulars::Particulars;
use super::rest::reply::{self, Came, Failure, Media};
use super::rest::table::{Fill, Request};
use super::rest::{self, Dialect};
use super::{Product, Refused, Settings, Surroundings};
use crate::closure::decide::{Change, Delivery, HandoffBody, Verified};
use crate::closure::ids::System;
use crate::closure::snapshot::Trouble;
use crate::products::Sqs;
use crate::products::object_store::{ACCESS_KEY, SECRET_KEY, SESSION_TOKEN};
use crate::roles::{Abilities, AnnounceReply, Connected, FollowUp, HaltNotice, Intake, Permit, Probe, Prober};
use async_trait::async_trait;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use sign::Signature;
use std::sync::Arc;
use std::time::Duration;

/// How long a FIFO queue knows a deduplication id.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>, "MessageDeduplicationId".
const WINDOW: Duration = Duration::from_secs(300);
/// Longest body of an error that is looked through, in bytes.
const ERROR_MAX: usize = 16 << 10;

static DIALECT: Dialect = Dialect {
    accept: "application/x-amz-json-1.0, application/json",
    post: "application/x-amz-json-1.0",
    is_own: |body| code(body).is_some(),
    refuses_in_words: true,
    really,
    ..Dialect::PLAIN
};

/// Makes the connection's role. Sends nothing.
///
/// # Errors
/// The queue's URL is none, its endpoint is refused, or a Secret does not hold what it should.
pub(super) fn connect(settings: &Settings, surroundings: Surroundings) -> Result<Connected, Refused> {
    let Product::Sqs(sqs) = &settings.product else { return Err(Refused::NotSupported) };
    let rule = "the URL of a FIFO queue: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME.fifo";
    let endpoint = sqs.endpoint().ok_or(Refused::Setting { setting: "sqs.queueUrl", rule })?;
    let seal = Arc::new(Signature {
        access_key: settings.secrets.get(ACCESS_KEY)?,
        secret_key: settings.secrets.get(SECRET_KEY)?,
        session_token: settings.secrets.get_if_given(SESSION_TOKEN)?,
        region: sqs.region.clone(),
        service: "sqs",
    });
    // What is read; a message says otherwise.
    let headers = &[(sign::TARGET_NAME, "AmazonSQS.GetQueueAttributes")];
    let particulars = Particulars { headers, seal: Some(seal), ..Particulars::default() };
    let unnamed = Settings { token: None, ..settings.clone() };
    let (reader, writer, gate) = rest::connect_as(&unnamed, endpoint, &DIALECT, particulars, surroundings)?;
    let queue = Arc::new(Queue { reader, writer, sqs: (**sqs).clone() });
    Ok(Connected {
        intake: Some(queue.clone()),
        follow_up: Some(queue.clone()),
        ..Connected::without_roles(gate, queue)
    })
}

struct Queue {
    reader: Reader,
    writer: Writer,
    sqs: Sqs,
}

/// The word of an error, without what stands before it: of a JSON reply, or of an XML one, in which some of its front ends and
/// what speaks like it refuse a signature. None where something on the way replied.
fn code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Error {
        #[serde(rename = "__type")]
        word: String,
    }
    let plain = |word: &str| {
        let fits =
            (1..=128).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        fits.then(|| word.to_owned())
    };
    if let Ok(Error { word }) = json::parse(body) {
        return plain(word.rsplit('#').next().unwrap_or_default());
    }
    let text = std::str::from_utf8(body.get(..body.len().min(ERROR_MAX))?).ok()?.trim_start();
    let root = match text.strip_prefix("<?xml") {
        Some(rest) => rest.split_once("?>")?.1.trim_start(),
        None => text,
    };
    let (_, rest) = root.strip_prefix("<ErrorResponse")?.split_once("<Code>")?;
    plain(rest.split_once("</Code>")?.0.trim())
}

/// What HTTP would say: 401, 403, 404 no such queue, 429, 500. Other words leave the status as it is.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html>
fn really(status: u16, body: &[u8]) -> u16 {
    match code(body).as_deref() {
        Some(
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "RequestExpired"
            | "InvalidSecurity",
        ) => 401,
        Some(
            "AccessDenied"
            | "AccessDeniedException"
            | "NotAuthorized"
            | "OptInRequired"
            | "KmsAccessDenied"
            | "KmsDisabled"
            | "KmsInvalidKeyUsage"
            | "KmsInvalidState"
            | "KmsNotFound"
            | "KmsOptInRequired",
        ) => 403,
        Some(
            "QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue" | "NonExistentQueue" | "InvalidAddress",
        ) => 404,
        Some(
            "RequestThrottled"
            | "Throttling"
            | "ThrottlingException"
            | "TooManyRequestsException"
            | "OverLimit"
            | "KmsThrottled",
        ) => 429,
        Some("InternalError" | "InternalFailure" | "ServiceUnavailable") => 500,
        _ => status,
    }
}

/// A message that was taken.
fn taken(body: &[u8]) -> Option<()> {
    #[derive(Deserialize)]
    struct Taken {
        #[serde(rename = "MessageId")]
        id: String,
    }
    let Taken { id } = json::parse(body).ok()?;
    (!id.is_empty()).then_some(())
}

/// Whether the queue that a reply tells of is first in, first out.
fn is_fifo(body: &[u8]) -> Option<bool> {
    #[derive(Deserialize)]
    struct Attributes {
        #[serde(rename = "FifoQueue", default)]
        fifo: Option<String>,
    }
    #[derive(Deserialize)]
    struct Told {
        // A queue of which there is nothing to tell has none.
        #[serde(rename = "Attributes", default)]
        attributes: Option<json::Object<Attributes>>,
    }
    let Told { attributes } = json::parse(body).ok()?;
    Some(attributes.and_then(|attributes| attributes.0.fifo).as_deref() == Some("true"))
}

/// What a deduplication id can hold of any key: its SHA-256.
fn deduplication_id(key: &str) -> String {
    hex::encode(Sha256::digest(key))
}

impl Queue {
    fn message(&self, body: &HandoffBody) -> Option<Request> {
        let handoff = serde_json::to_string(body).ok()?;
        rows::MESSAGE.request(&[
            ("key", Fill::Text(&deduplication_id(&body.closure_key))),
            ("queue", Fill::Text(&self.sqs.queue_url)),
            ("handoff", Fill::Text(&handoff)),
            ("release", Fill::Text(&body.release_id)),
        ])
    }
}

#[async_trait]
impl Intake for Queue {
    async fn announce(&self, order: Verified, permit: Permit) -> AnnounceReply {
        let Change::Announce(body) = order.change() else { return AnnounceReply::Refused };
        let Some(request) = self.message(body) else { return AnnounceReply::Refused };
        self.send(request, permit).await
    }
}

#[async_trait]
impl FollowUp for Queue {
    async fn tell(&self, notice: &HaltNotice, permit: Permit) -> AnnounceReply {
        let Ok(body) = serde_json::to_string(notice) else { return AnnounceReply::Refused };
        let request = rows::HALT.request(&[
            ("key", Fill::Text(&deduplication_id(&notice.halt_id))),
            ("queue", Fill::Text(&self.sqs.queue_url)),
            ("notice", Fill::Text(&body)),
            ("halt", Fill::Text(&notice.halt_id)),
        ]);
        let Some(request) = request else { return AnnounceReply::Refused };
        self.send(request, permit).await
    }

    async fn probe(&self) -> Probe {
        Prober::probe(self, System::Intake).await
    }
}

impl Queue {
    async fn send(&self, request: Request, permit: Permit) -> AnnounceReply {
        let target = [(sign::TARGET_NAME, "AmazonSQS.SendMessage")];
        match self.writer.write(permit, request, Condition::Attributes(&target), |reply| taken(&reply.body)).await {
            Came::Success(()) => AnnounceReply::Accepted,
            // An administrator can mend it, and the connection's probe says how.
            Came::Problem(404) => AnnounceReply::NotSent(Trouble::Forbidden.into()),
            Came::Problem(400..=499) => AnnounceReply::Refused,
            Came::Problem(_) => AnnounceReply::NotSent(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => failure.announce_reply(),
        }
    }
}

/// Which setting a reply to a probe shows to be wrong.
fn unfit(raw: &Raw) -> Option<Probe> {
    let unfit = |setting, what| Some(Probe::Unfit { setting, what });
    match (really(raw.status, &raw.body), code(&raw.body).as_deref()) {
        (404, Some(_)) => unfit("sqs.queueUrl", "names no queue of this region and account: correct it, or the region"),
        (_, Some("ExpiredToken" | "ExpiredTokenException")) => {
            unfit("sqs.sessionTokenSecretRef", "holds a token that is not valid any more: store a new key and token")
        }
        (_, Some("UnrecognizedClientException" | "InvalidClientTokenId")) => {
            unfit("sqs.accessKeySecretRef", "holds an access key that Amazon does not know")
        }
        (_, Some("SignatureDoesNotMatch" | "InvalidSignatureException")) => unfit(
            "sqs.secretKeySecretRef",
            "does not hold the secret of that access key (or the region is not the queue's, or this machine's clock is wrong)",
        ),
        (403, Some(_)) => unfit(
            "sqs.accessKeySecretRef",
            "is of somebody who may not use the queue: allow sqs:SendMessage and sqs:GetQueueAttributes",
        ),
        _ => None,
    }
}

#[async_trait]
impl Prober for Queue {
    async fn probe(&self, _: System) -> Probe {
        if let Some(right) = self.sqs.region_of_host().filter(|right| *right != self.sqs.region) {
            let what = "is not the queue's, which is";
            return Probe::Told { setting: "sqs.region", what, right: right.to_owned() };
        }
        let Some(request) = rows::QUEUE.request(&[("queue", Fill::Text(&self.sqs.queue_url))]) else {
            return Probe::Failed(Trouble::NotUnderstood.into());
        };
        let mut found = None;
        let understand = |raw: Raw| {
            if raw.status == 200 {
                return match is_fifo(&raw.body) {
                    Some(fifo) => Came::Success(fifo),
                    None => Came::Failure(Failure::unknown(Trouble::NotUnderstood)),
                };
            }
            found = unfit(&raw);
            let status = really(raw.status, &raw.body);
            let told = reply::by_status(status, Media::Json, &DIALECT, raw.retry_after);
            Came::Failure(told.unwrap_or(Failure::said(status, Trouble::NotUnderstood)))
        };
        let came = self.reader.ask_as_probe(request, understand).await;
        match (came, found) {
            (Came::Success(true), _) => Probe::Ready,
            (Came::Success(false), _) => Probe::Unfit {
                setting: "sqs.queueUrl",
                what: "names a standard queue, which may give a message to somebody twice: name a FIFO queue",
            },
            (_, Some(found)) => found,
            (Came::Problem(_), None) => Probe::Failed(Trouble::NotUnderstood.into()),
            (Came::Failure(failure), None) => Probe::Failed(failure.why),
        }
    }

    fn abilities(&self, system: System) -> Option<Abilities> {
        let (delivery, window) = (Some(Delivery::IdempotencyKey), Some(WINDOW));
        (system == System::Intake).then_some(Abilities { delivery, window, ..Abilities::NONE })
    }
}

#[cfg(test)]
mod tests;
