//! What a product's connection has beyond its [`Dialect`](super::Dialect): headers of its own, a way to say "not so fast" that is no
//! 429, credentials that have to be fetched.

use super::client::Login;
use super::reply::Failure;
use super::transport::Seal;
use async_trait::async_trait;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// The particulars of one connection; most have none.
#[derive(Clone, Default)]
pub(in crate::providers) struct Particulars {
    /// Headers of every request: each name in lower case, and its value.
    pub(in crate::providers) headers: &'static [(&'static str, &'static str)],
    /// How it asks to be left alone.
    pub(in crate::providers) throttle: Option<Throttle>,
    /// Where its `Authorization` comes from, where that is not one and the same token.
    pub(in crate::providers) credentials: Option<Arc<dyn Credentials>>,
    /// What is added to each request to show who sends it, where that is of the request itself: a signature.
    pub(in crate::providers) seal: Option<Arc<dyn Seal>>,
}

/// How a system asks to be left alone with a 403 or a 429.
#[derive(Clone, Copy)]
pub(in crate::providers) struct Throttle {
    /// How long the headers of such a reply ask for.
    pub(in crate::providers) by_headers: fn(&HeaderMap, Timestamp) -> Option<Duration>,
    /// How long the body of a 403 asks for, which is read where the headers ask for nothing.
    pub(in crate::providers) by_words: fn(&[u8]) -> Option<Duration>,
}

/// Credentials that have to be fetched, and that end.
#[async_trait]
pub(in crate::providers) trait Credentials: Send + Sync {
    /// What to send as `Authorization`: what is kept, or, where that is about to end, what is fetched now.
    ///
    /// # Errors
    /// It cannot be had.
    async fn authorization(&self, login: Login<'_>) -> Result<HeaderValue, Failure>;

    /// The system did not take this: it is not to be sent again.
    fn refused(&self, authorization: &HeaderValue);
}
