//! The seam below the adapter: a request goes out, a reply comes in, or it is told what is known of its fate.
//!
//! Above it nothing knows a socket; below it nothing knows the contract. One implementation is in production
//! ([`super::network`]); another plays the systems in memory, so that the simulation runs everything above.
//!
//! **Invariant:** an [`Outgoing`] has private fields and one constructor, which takes a row's
//! [`Request`](super::table::Request): whatever lies below is given requests of the allow-list, and no others can be
//! made to be given to it.

use super::table::Request;
use crate::closure::snapshot::Trouble;
use crate::providers::meter::Verb;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use jiff::Timestamp;
use std::fmt;
use url::Url;

/// A request of the allow-list, with its address and headers.
pub struct Outgoing {
    verb: Verb,
    address: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Outgoing {
    /// None where the endpoint and the path make no URL: for a checked endpoint they do.
    pub(super) fn new(base: &str, request: Request, headers: HeaderMap) -> Option<Outgoing> {
        let mut address = String::with_capacity(base.len() + request.path().len());
        address.push_str(base);
        address.push_str(request.path());
        let address = Url::parse(&address).ok()?;
        Some(Outgoing { verb: request.verb(), address, headers, body: request.into_body() })
    }

    /// Adds what shows who sends it. Nothing else about it can change: method, host and path stay.
    pub(super) fn sealed(mut self, seal: &dyn Seal, now: Timestamp) -> Option<Outgoing> {
        let sealed = seal.seal(self.verb, self.address.clone(), &mut self.headers, &self.body, now)?;
        let same = |address: &Url| (address.origin(), address.path().to_owned());
        if same(&sealed) != same(&self.address) {
            return None;
        }
        self.address = sealed;
        Some(self)
    }

    /// Puts an `Authorization` in the place of the one there is.
    pub(super) fn authorize(&mut self, authorization: HeaderValue) {
        self.headers.insert(AUTHORIZATION, authorization);
    }

    /// The method.
    #[must_use]
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// Where it goes.
    #[must_use]
    pub fn address(&self) -> &Url {
        &self.address
    }

    /// All headers but those of the connection itself (`Host`, `Content-Length`).
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Takes it apart, to send it: method, address, headers, body (empty for reads).
    #[must_use]
    pub fn into_parts(self) -> (Verb, Url, HeaderMap, Vec<u8>) {
        (self.verb, self.address, self.headers, self.body)
    }
}

/// Shows a system who sends a request, where a header that is always the same does not.
pub(in crate::providers) trait Seal: Send + Sync {
    /// The address with what is added to its query, where it is that; else what is added is a header. None where it cannot be
    /// made.
    fn seal(&self, verb: Verb, address: Url, headers: &mut HeaderMap, body: &[u8], now: Timestamp) -> Option<Url>;
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("verb", &self.verb).finish_non_exhaustive()
    }
}

/// A reply, up to its body.
pub struct Incoming {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// How long the body is said to be.
    pub length: Option<u64>,
    /// The body. Dropped unread where the status says all there is to say.
    pub body: Box<dyn Body>,
}

/// A body that comes in pieces.
#[async_trait]
pub trait Body: Send {
    /// The next piece; none at its end.
    ///
    /// # Errors
    /// It came to no end: [`Trouble::Unavailable`] where that is the network's doing, [`Trouble::NotUnderstood`] where it
    /// is the system's.
    async fn next(&mut self) -> Result<Option<Bytes>, Trouble>;
}

/// No reply came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReply {
    /// Not a byte of the request went out.
    NotSent,
    /// It may have arrived.
    Unknown,
}

/// Sends requests, each once and at once.
///
/// **Guarantees of an implementation:** no redirect is followed, nothing is sent twice or kept for later. A future that is
/// dropped sends nothing more.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends a request and waits for the head of its reply. Whoever calls keeps the time.
    ///
    /// # Errors
    /// None came.
    async fn send(&self, request: Outgoing) -> Result<Incoming, NoReply>;

    /// The time by which the systems' dates are read.
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
