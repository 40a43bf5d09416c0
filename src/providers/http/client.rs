//! The one HTTP client of a connection, and what may be done with it.
//!
//! [`Reader`] has `get` and nothing else; governance, archive and every other read go through it. [`Writer`] takes a
//! [`Permit`] by value for each change. Both send [`Request`]s only, which the allow-list alone makes.
//!
//! **Guarantees:** one request per call: no redirect is followed, nothing is sent twice, no proxy is taken from the
//! environment. The timeout covers everything from connecting to the last byte. Of a body at most [`BODY_MAX`] and one
//! piece are held. Each name is resolved through the endpoint guard whenever a socket is opened.

use super::reply::{self, Came, Failure, Fate};
use super::rows::Request;
use crate::closure::snapshot::{Trouble, Unreachable};
use crate::providers::guard::{self, Endpoint, Lookup};
use crate::providers::limits::{Entered, Lesson, Limits};
use crate::providers::meter::{Class, Verb};
use crate::providers::{Refused, Settings, Surroundings};
use crate::roles::{Gate, Permit};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_MATCH, RETRY_AFTER,
};
use reqwest::{Certificate, Client, Identity, Method, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Longest body of a reply, in bytes.
pub(super) const BODY_MAX: usize = 1 << 20;
/// Longest token, in bytes.
const TOKEN_MAX: usize = 8192;
/// How long an unused connection is kept. Shorter than servers commonly wait (five seconds and more): a request on a
/// connection that the other side is just closing is one of which nothing can be known.
const IDLE_MAX: Duration = Duration::from_secs(4);
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What makes a request conditional, or repeatable.
#[derive(Clone, Copy, Debug)]
pub(super) enum Condition<'a> {
    None,
    IfMatch(&'a str),
    IdempotencyKey(&'a str),
}

/// A reply that may be in the contract: 2xx with a JSON body, read to its end.
#[derive(Debug)]
pub(super) struct Success {
    pub(super) status: u16,
    /// The entity tag to the letter, strong or weak.
    pub(super) etag: Option<String>,
    pub(super) body: Vec<u8>,
}

/// What a connection's requests have in common.
struct Wire {
    client: Client,
    endpoint: Endpoint,
    limits: Arc<Limits>,
}

/// Reads, and can do nothing else.
#[derive(Clone)]
pub(super) struct Reader(Arc<Wire>);

/// Changes records and announces, one permit each.
#[derive(Clone)]
pub(super) struct Writer(Arc<Wire>);

/// Makes the client. Sends nothing.
///
/// # Errors
/// The token, the authorities or the client certificate cannot be used.
pub(super) fn build(
    settings: &Settings,
    surroundings: Surroundings,
    endpoint: Endpoint,
) -> Result<(Reader, Writer), Refused> {
    let Surroundings { limits, lookup } = surroundings;
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/problem+json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(token) = &settings.token {
        headers.insert(AUTHORIZATION, bearer(token)?);
    }
    let mut client = Client::builder()
        .default_headers(headers)
        .user_agent(concat!("releaseclosure/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .http1_only()
        .https_only(endpoint.is_encrypted())
        .dns_resolver(Guarded { lookup, loopback: settings.allow_loopback })
        // A connection that is not made in half the time is known not to have carried the request.
        .connect_timeout(limits.timeout() / 2)
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(settings.limits.concurrency)
        .tcp_nodelay(true);
    if let Some(pem) = &settings.ca_pem {
        let authorities = Certificate::from_pem_bundle(pem).map_err(|_| Refused::Authorities)?;
        if authorities.is_empty() {
            return Err(Refused::Authorities);
        }
        client = client.tls_certs_only(authorities);
    } else if !endpoint.is_encrypted() {
        // Spares reading the system's authorities, which nothing would be checked against.
        client = client.tls_certs_only([]);
    }
    if let Some(pem) = &settings.client_certificate_pem {
        let identity = Identity::from_pem(pem.expose_secret().as_bytes()).map_err(|_| Refused::ClientCertificate)?;
        client = client.identity(identity);
    }
    let client = client.build().map_err(|_| Refused::Tls)?;
    let wire = Arc::new(Wire { client, endpoint, limits });
    Ok((Reader(wire.clone()), Writer(wire)))
}

pub(super) fn bearer(token: &SecretString) -> Result<HeaderValue, Refused> {
    let token = token.expose_secret().trim_ascii();
    if !(1..=TOKEN_MAX).contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refused::Token);
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Refused::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The resolver of the client: every look-up goes past the guard.
struct Guarded {
    lookup: Arc<dyn Lookup>,
    loopback: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, loopback) = (self.lookup.clone(), self.loopback);
        Box::pin(async move {
            let addresses = guard::resolve(lookup.as_ref(), name.as_str(), loopback).await?;
            // The port is filled in by the client.
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

impl Reader {
    /// A place for the reads of one call.
    ///
    /// # Errors
    /// Held back.
    pub(super) async fn enter<'a>(&'a self, held: Option<&'a Permit>) -> Result<Entered<'a>, Unreachable> {
        self.0.limits.enter(held).await
    }

    /// One GET, to be over by the deadline of its call. `understand` gets a reply with status 200; None means that it is not the contract.
    pub(super) async fn get<T>(
        &self,
        entered: &mut Entered<'_>,
        request: Request,
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> Came<T> {
        if let Err(held_back) = entered.may_send() {
            return Came::Failure(Failure { fate: Fate::NotSent, why: held_back });
        }
        self.read(request, entered.deadline(), false, understand).await
    }

    /// One GET that needs no permit and whose success ends a lock-out.
    pub(super) async fn probe(&self, request: Request) -> Came<()> {
        if let Err(held_back) = self.0.limits.may_probe() {
            return Came::Failure(Failure { fate: Fate::NotSent, why: held_back });
        }
        let deadline = Instant::now() + self.0.limits.timeout();
        self.read(request, deadline, true, |_| Some(())).await
    }

    async fn read<T>(
        &self,
        request: Request,
        deadline: Instant,
        probe: bool,
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> Came<T> {
        if request.verb() != Verb::Get {
            return Came::Failure(Failure::not_sent(Trouble::NotUnderstood));
        }
        let understand = |reply: Success| if reply.status == 200 { understand(reply) } else { None };
        self.0.exchange(request, Condition::None, deadline, probe, understand).await
    }
}

impl Writer {
    /// One change, with its permit. `understand` gets a reply with a 2xx status.
    pub(super) async fn write<T>(
        &self,
        permit: Permit,
        request: Request,
        condition: Condition<'_>,
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> Came<T> {
        let mut entered = match self.0.limits.enter_with(permit) {
            Ok(entered) => entered,
            Err(held_back) => return Came::Failure(Failure { fate: Fate::NotSent, why: held_back }),
        };
        if let Err(held_back) = entered.may_send() {
            return Came::Failure(Failure { fate: Fate::NotSent, why: held_back });
        }
        self.0.exchange(request, condition, entered.deadline(), false, understand).await
    }
}

impl Wire {
    /// Sends one request, understands what came, and lets limits and meter learn from it.
    async fn exchange<T>(
        &self,
        request: Request,
        condition: Condition<'_>,
        deadline: Instant,
        probe: bool,
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> Came<T> {
        let (verb, record) = (request.verb(), request.record());
        let Some(prepared) = self.prepare(request, condition) else {
            return Came::Failure(Failure::not_sent(Trouble::NotUnderstood));
        };
        let came = match tokio::time::timeout_at(deadline, self.talk(prepared)).await {
            Ok(Came::Success(reply)) => match understand(reply) {
                Some(understood) => Came::Success(understood),
                None => Came::Failure(Failure::unknown(Trouble::NotUnderstood)),
            },
            Ok(Came::Problem(status)) => Came::Problem(status),
            Ok(Came::Failure(failure)) => Came::Failure(failure),
            Err(_) => Came::Failure(Failure::unknown(Trouble::Unavailable)),
        };
        let (class, lesson, retry_after) = match &came {
            Came::Success(_) => (Class::Success, Lesson::Answers, None),
            Came::Problem(_) => (Class::Answered, Lesson::Answers, None),
            Came::Failure(Failure { why: Unreachable { trouble, retry_after }, fate }) => {
                let (class, lesson) = match trouble {
                    Trouble::Unauthorized => (Class::Unauthorized, Lesson::LockedOut),
                    // The system's own refusal of one record says that the system is well.
                    Trouble::Forbidden if *fate == Fate::Said(403, true) => (Class::Forbidden, Lesson::Answers),
                    Trouble::Forbidden => (Class::Forbidden, Lesson::Fails),
                    Trouble::TooManyRequests => (Class::TooManyRequests, Lesson::Fails),
                    Trouble::NotUnderstood => (Class::NotUnderstood, Lesson::Fails),
                    Trouble::Unavailable | Trouble::HeldBack | Trouble::Stale => (Class::Unavailable, Lesson::Fails),
                };
                (class, lesson, *retry_after)
            }
        };
        // What a probe was refused is no success of a probe.
        let probe = probe && !matches!(came, Came::Failure(_));
        self.limits.meter().count(verb, class);
        self.limits.settle(record, lesson, retry_after, probe);
        came
    }

    /// The client's request, or None where the endpoint and the path make no URL: for a checked endpoint they do.
    fn prepare(&self, request: Request, condition: Condition<'_>) -> Option<reqwest::Request> {
        let base = self.endpoint.base();
        let mut address = String::with_capacity(base.len() + request.path().len());
        address.push_str(base);
        address.push_str(request.path());
        let verb = request.verb();
        let method = match verb {
            Verb::Get => Method::GET,
            Verb::Patch => Method::PATCH,
            Verb::Post => Method::POST,
        };
        let mut prepared = reqwest::Request::new(method, Url::parse(&address).ok()?);
        let headers = prepared.headers_mut();
        match condition {
            Condition::None => {}
            Condition::IfMatch(revision) => {
                headers.insert(IF_MATCH, HeaderValue::from_str(revision).ok()?);
            }
            Condition::IdempotencyKey(key) => {
                headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(key).ok()?);
            }
        }
        let media_type = match verb {
            Verb::Get => return Some(prepared),
            Verb::Patch => "application/merge-patch+json",
            Verb::Post => "application/json",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        *prepared.body_mut() = Some(request.into_body().into());
        Some(prepared)
    }

    async fn talk(&self, request: reqwest::Request) -> Came<Success> {
        let reply = match self.client.execute(request).await {
            Ok(reply) => reply,
            // Resolving, the guard, the socket and the handshake come before the first byte of the request.
            Err(error) if error.is_connect() => return Came::Failure(Failure::not_sent(Trouble::Unavailable)),
            Err(_) => return Came::Failure(Failure::unknown(Trouble::Unavailable)),
        };
        let status = reply.status();
        let headers = reply.headers();
        let retry_after = headers.get(RETRY_AFTER).and_then(|value| reply::retry_after(value.to_str().ok()?));
        let media = reply::Media::of(headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes));
        if let Some(failure) = reply::by_status(status.as_u16(), media, retry_after) {
            return Came::Failure(failure);
        }
        let own = if status.is_success() { reply::Media::Json } else { reply::Media::Problem };
        let encoded = headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding.as_bytes() != b"identity");
        if media != own || encoded {
            return Came::Failure(Failure::said(status.as_u16(), Trouble::NotUnderstood));
        }
        let etag = match headers.get(ETAG).map(HeaderValue::to_str) {
            Some(Ok(etag)) => Some(etag.to_owned()),
            Some(Err(_)) | None => None,
        };
        match body(reply).await {
            Ok(body) if status.is_success() => Came::Success(Success { status: status.as_u16(), etag, body }),
            Ok(body) => reply::problem(status.as_u16(), &body),
            Err(trouble) => Came::Failure(Failure::unknown(trouble)),
        }
    }
}

/// Reads a body, up to [`BODY_MAX`]. More than that closes the connection.
async fn body(mut reply: Response) -> Result<Vec<u8>, Trouble> {
    let told = reply.content_length().unwrap_or(0);
    if told > BODY_MAX as u64 {
        return Err(Trouble::NotUnderstood);
    }
    let mut body = Vec::with_capacity(usize::try_from(told).unwrap_or(0));
    loop {
        match reply.chunk().await {
            Ok(Some(piece)) if body.len() + piece.len() > BODY_MAX => return Err(Trouble::NotUnderstood),
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) => return Ok(body),
            Err(error) => return Err(cut_off(&error)),
        }
    }
}

/// A reset is the network's doing; a body that ends before its length, or is no body, the system's.
fn cut_off(error: &reqwest::Error) -> Trouble {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return match io.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                    Trouble::NotUnderstood
                }
                _ => Trouble::Unavailable,
            };
        }
        source = inner.source();
    }
    Trouble::NotUnderstood
}
