//! The requests of a connection: what they have in common, what their replies say, and what the limits learn from them.
//!
//! [`Reader`] sends what changes nothing: GET, HEAD, and a POST whose row says that it asks; governance, archive and every other
//! read go through it. [`Writer`] takes a
//! [`Permit`] by value for each change. Both send [`Request`]s only, which the allow-list alone makes.
//!
//! **Guarantees:** one request per call; where credentials have to be fetched, one more to fetch them, and a read that was refused
//! with kept ones is sent once more with new ones, which a change never is. The timeout covers everything from connecting to
//! the last byte. Of a body at most [`BODY_MAX`] and one piece are held.

mod attributes;
mod login;
mod raw;
mod told;
mod turn;

pub(in crate::providers) use login::Login;
pub(in crate::providers) use turn::Turn;

use super::particulars::{Particulars, Throttle};
use super::reply::{self, Came, Failure, Fate};
use super::table::Request;
use super::transport::{Body, Incoming, NoReply, Outgoing, Transport};
use super::{Dialect, Shown};
use crate::closure::snapshot::{Trouble, Unreachable};
use crate::providers::guard::Endpoint;
use crate::providers::limits::{Entered, Limits};
use crate::providers::meter::Verb;
use crate::providers::{Refused, Settings};
use crate::roles::{Gate, Permit};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_MATCH, RETRY_AFTER, USER_AGENT,
};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use told::Told;

/// Longest body of a reply, in bytes.
pub(in crate::providers) const BODY_MAX: usize = 1 << 20;
/// Longest token, in bytes.
const TOKEN_MAX: usize = 8192;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What makes a request conditional, or repeatable.
#[derive(Clone, Copy, Debug)]
pub(in crate::providers) enum Condition<'a> {
    None,
    IfMatch(&'a str),
    IdempotencyKey(&'a str),
    /// What the body says is said by headers, too: each name in lower case, and its value.
    Attributes(&'a [(&'static str, &'a str)]),
}

/// A reply that may be understood: 2xx with a JSON body, read to its end.
#[derive(Debug)]
pub(in crate::providers) struct Success {
    pub(in crate::providers) status: u16,
    /// The entity tag to the letter, strong or weak.
    pub(in crate::providers) etag: Option<String>,
    pub(in crate::providers) body: Vec<u8>,
}

/// A reply to the letter, for products whose errors say more than their statuses. Its body is whole, and empty after a
/// HEAD.
#[derive(Debug)]
pub(in crate::providers) struct Raw {
    pub(in crate::providers) status: u16,
    pub(in crate::providers) headers: HeaderMap,
    pub(in crate::providers) body: Vec<u8>,
    pub(in crate::providers) retry_after: Option<Duration>,
}

/// What a connection's requests have in common.
struct Wire {
    transport: Arc<dyn Transport>,
    endpoint: Endpoint,
    headers: HeaderMap,
    dialect: &'static Dialect,
    particulars: Particulars,
    limits: Arc<Limits>,
}

/// Reads, and can do nothing else.
#[derive(Clone)]
pub(in crate::providers) struct Reader(Arc<Wire>);

/// Changes records and announces, one permit each.
#[derive(Clone)]
pub(in crate::providers) struct Writer(Arc<Wire>);

/// What reads and what writes, over the same transport and limits.
pub(in crate::providers) fn build(
    transport: Arc<dyn Transport>,
    endpoint: Endpoint,
    mut headers: HeaderMap,
    (dialect, particulars): (&'static Dialect, Particulars),
    limits: Arc<Limits>,
) -> (Reader, Writer) {
    for (name, value) in particulars.headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let wire = Arc::new(Wire { transport, endpoint, headers, dialect, particulars, limits });
    (Reader(wire.clone()), Writer(wire))
}

/// The headers that every request of a connection has.
///
/// # Errors
/// The token does not fit in one.
pub(in crate::providers) fn headers(settings: &Settings, dialect: &Dialect) -> Result<HeaderMap, Refused> {
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(ACCEPT, HeaderValue::from_static(dialect.accept));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("releaseclosure/", env!("CARGO_PKG_VERSION"))));
    if let Some(token) = &settings.token {
        match dialect.token {
            Shown::Bearer => headers.insert(AUTHORIZATION, bearer(token)?),
            Shown::Basic => headers.insert(AUTHORIZATION, basic(token)?),
            Shown::Header(name) => headers.insert(HeaderName::from_static(name), secret("", token)?),
        };
    }
    Ok(headers)
}

pub(in crate::providers) fn bearer(token: &SecretString) -> Result<HeaderValue, Refused> {
    secret("Bearer ", token)
}

/// A user's name and password, which are in Base64 already.
pub(in crate::providers) fn basic(token: &SecretString) -> Result<HeaderValue, Refused> {
    secret("Basic ", token)
}

fn secret(prefix: &str, token: &SecretString) -> Result<HeaderValue, Refused> {
    let token = token.expose_secret().trim_ascii();
    if !(1..=TOKEN_MAX).contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refused::Token);
    }
    let mut value = HeaderValue::try_from(format!("{prefix}{token}")).map_err(|_| Refused::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

impl Reader {
    /// A place for the reads of one call.
    ///
    /// # Errors
    /// Held back.
    pub(in crate::providers) async fn enter<'a>(
        &'a self,
        held: Option<&'a Permit>,
    ) -> Result<Entered<'a>, Unreachable> {
        self.0.limits.enter(held).await
    }

    /// One GET, to be over by the deadline of its call. `understand` gets a reply with status 200; None means that it is not the contract.
    pub(in crate::providers) async fn get<T>(
        &self,
        entered: &mut Entered<'_>,
        request: Request,
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> Came<T> {
        if let Err(held_back) = entered.may_send() {
            return Came::Failure(Failure { fate: Fate::NotSent, why: held_back });
        }
        self.0.read(request, entered.deadline(), false, understand).await
    }

    /// One GET that needs no permit and whose success ends a lock-out.
    pub(in crate::providers) async fn probe<T>(
        &self,
        request: Request,
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> Came<T> {
        if let Err(held_back) = self.0.limits.may_probe() {
            return Came::Failure(Failure { fate: Fate::NotSent, why: held_back });
        }
        let deadline = Instant::now() + self.0.limits.timeout();
        self.0.read(request, deadline, true, understand).await
    }

    /// One GET or HEAD, of whose reply all is left to `understand`.
    pub(in crate::providers) async fn ask<T>(
        &self,
        entered: &mut Entered<'_>,
        request: Request,
        understand: impl FnOnce(Raw) -> Came<T>,
    ) -> Came<T> {
        if let Err(held_back) = entered.may_send() {
            return Came::Failure(Failure { fate: Fate::NotSent, why: held_back });
        }
        self.0.ask(request, entered.deadline(), false, understand).await
    }

    /// Likewise, as a probe.
    pub(in crate::providers) async fn ask_as_probe<T>(
        &self,
        request: Request,
        understand: impl FnOnce(Raw) -> Came<T>,
    ) -> Came<T> {
        if let Err(held_back) = self.0.limits.may_probe() {
            return Came::Failure(Failure { fate: Fate::NotSent, why: held_back });
        }
        self.0.ask(request, Instant::now() + self.0.limits.timeout(), true, understand).await
    }
}

impl Writer {
    /// One change, with its permit. `understand` gets a reply with a 2xx status.
    pub(in crate::providers) async fn write<T>(
        &self,
        permit: Permit,
        request: Request,
        condition: Condition<'_>,
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> Came<T> {
        match self.turn(permit) {
            Ok(turn) => turn.change_if(condition, request, understand).await.0,
            Err(held_back) => Came::Failure(Failure { fate: Fate::NotSent, why: held_back }),
        }
    }
}

impl Wire {
    async fn read<T>(
        &self,
        request: Request,
        deadline: Instant,
        probe: bool,
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> Came<T> {
        if !request.reads() || request.verb() == Verb::Head {
            return Came::Failure(Failure::not_sent(Trouble::NotUnderstood));
        }
        let understand = |reply: Success| if reply.status == 200 { understand(reply) } else { None };
        self.exchange(request, Condition::None, deadline, probe, understand).await
    }

    /// Sends one request, understands what came, and lets limits and meter learn from it.
    async fn exchange<T>(
        &self,
        request: Request,
        condition: Condition<'_>,
        deadline: Instant,
        probe: bool,
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> Came<T> {
        let (about, began) = ((request.verb(), request.record()), Instant::now());
        let mut told = Told::new(self, &request);
        let came = match tokio::time::timeout_at(deadline, self.authorized(&request, condition, &mut told)).await {
            Ok(Came::Success(reply)) => match understand(reply) {
                Some(understood) => Came::Success(understood),
                None => Came::Failure(Failure::unknown(Trouble::NotUnderstood)),
            },
            Ok(Came::Problem(status)) => Came::Problem(status),
            Ok(Came::Failure(failure)) => Came::Failure(failure),
            Err(_) => Came::Failure(Failure::unknown(Trouble::Unavailable)),
        };
        told.ended(&came);
        self.limits.learn(about, probe, began, &came);
        came
    }

    fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
        reply::retry_after(value, || self.transport.now())
    }

    /// Sends a request with what authorizes it. A read for which kept credentials no longer do is sent once more.
    async fn authorized(&self, request: &Request, condition: Condition<'_>, told: &mut Told<'_>) -> Came<Success> {
        let mut again = request.verb() == Verb::Get;
        loop {
            let Some(mut prepared) = self.prepare(request, condition) else {
                return Came::Failure(Failure::not_sent(Trouble::NotUnderstood));
            };
            let Some(credentials) = &self.particulars.credentials else { return self.talk(prepared, told).await };
            let authorization = match credentials.authorization(Login::of(self)).await {
                Ok(authorization) => authorization,
                // Whatever became of the request for credentials, this one was not sent.
                Err(Failure { why, .. }) => return Came::Failure(Failure { fate: Fate::NotSent, why }),
            };
            prepared.authorize(authorization.clone());
            let came = self.talk(prepared, told).await;
            if !matches!(&came, Came::Failure(failure) if failure.why.trouble == Trouble::Unauthorized) {
                return came;
            }
            credentials.refused(&authorization);
            if !std::mem::take(&mut again) {
                return came;
            }
            told.ended(&came);
        }
    }

    /// The request as it goes out, or None where the endpoint and the path make no URL, or a condition no header.
    fn prepare(&self, request: &Request, condition: Condition<'_>) -> Option<Outgoing> {
        let mut headers = self.headers.clone();
        match condition {
            Condition::None => {}
            Condition::IfMatch(revision) => {
                headers.insert(IF_MATCH, HeaderValue::from_str(revision).ok()?);
            }
            Condition::IdempotencyKey(key) => {
                headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(key).ok()?);
            }
            Condition::Attributes(attributes) => {
                for (name, value) in attributes {
                    headers.insert(
                        HeaderName::from_static(name),
                        HeaderValue::from_str(&attributes::escaped(value)).ok()?,
                    );
                }
            }
        }
        let media_type = match request.verb() {
            Verb::Get | Verb::Head => None,
            Verb::Patch => Some(self.dialect.patch),
            Verb::Post => Some(self.dialect.post),
        };
        headers.extend(media_type.map(|media_type| (CONTENT_TYPE, HeaderValue::from_static(media_type))));
        let outgoing = Outgoing::new(self.endpoint.base(), request.clone(), headers)?;
        match &self.particulars.seal {
            Some(seal) => outgoing.sealed(seal.as_ref(), self.transport.now()),
            None => Some(outgoing),
        }
    }

    async fn talk(&self, request: Outgoing, told: &mut Told<'_>) -> Came<Success> {
        told.begins();
        let Incoming { status, headers, length, body } = match self.transport.send(request).await {
            Ok(reply) => told.answered(reply),
            Err(NoReply::NotSent) => return Came::Failure(Failure::not_sent(Trouble::Unavailable)),
            Err(NoReply::Unknown) => return Came::Failure(Failure::unknown(Trouble::Unavailable)),
        };
        let retry_after = self.retry_after(&headers);
        let media = reply::Media::of(headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes));
        let encoded = headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding.as_bytes() != b"identity");
        if let (403 | 429, Some(Throttle { by_headers, by_words })) = (status, self.particulars.throttle) {
            let mut wait = by_headers(&headers, self.transport.now());
            if wait.is_none() && media == self.dialect.errors && !encoded {
                wait = whole(length, body).await.ok().and_then(|body| by_words(&body));
            }
            let (trouble, retry_after) = match wait {
                None if status == 403 => (Trouble::Forbidden, None),
                _ => (Trouble::TooManyRequests, wait),
            };
            let (own, why) = (media == self.dialect.errors, Unreachable { trouble, retry_after });
            return Came::Failure(Failure { fate: Fate::Said(status, own), why });
        }
        let success = (200..300).contains(&status);
        if !success && self.dialect.refuses_in_words && !encoded {
            return match whole(length, body).await {
                Ok(body) => self.refused_in_words(status, media, &body, retry_after),
                Err(trouble) => Came::Failure(Failure::unknown(trouble)),
            };
        }
        if let Some(failure) = reply::by_status(status, media, self.dialect, retry_after) {
            return Came::Failure(failure);
        }
        if self.dialect.says_all_in_status {
            return if success {
                Came::Success(Success { status, etag: None, body: Vec::new() })
            } else {
                Came::Problem(status)
            };
        }
        if status == 204 {
            // There is no body, of whatever type.
            return Came::Success(Success { status, etag: None, body: Vec::new() });
        }
        let own = if success { reply::Media::Json } else { self.dialect.errors };
        if media != own || encoded {
            return Came::Failure(Failure::said(status, Trouble::NotUnderstood));
        }
        let etag = match headers.get(ETAG).map(HeaderValue::to_str) {
            Some(Ok(etag)) => Some(etag.to_owned()),
            Some(Err(_)) | None => None,
        };
        match whole(length, body).await {
            Ok(body) if success => match (self.dialect.really)(status, &body) {
                really if really == status => Came::Success(Success { status, etag, body }),
                really => match reply::by_status(really, media, self.dialect, retry_after) {
                    Some(failure) => Came::Failure(failure),
                    None => Came::Problem(really),
                },
            },
            Ok(body) => reply::problem(status, self.dialect, &body),
            Err(trouble) => Came::Failure(Failure::unknown(trouble)),
        }
    }
}

/// Reads a body, up to [`BODY_MAX`]. More than that is not read, which closes the connection.
async fn whole(length: Option<u64>, mut pieces: Box<dyn Body>) -> Result<Vec<u8>, Trouble> {
    let told = length.unwrap_or(0);
    if told > BODY_MAX as u64 {
        return Err(Trouble::NotUnderstood);
    }
    let mut body = Vec::with_capacity(usize::try_from(told).unwrap_or(0));
    while let Some(piece) = pieces.next().await? {
        if body.len() + piece.len() > BODY_MAX {
            return Err(Trouble::NotUnderstood);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}
