//! How credentials are fetched that have to be.

use super::{Condition, Success, Wire};
use crate::closure::snapshot::Trouble;
use crate::providers::rest::reply::{Came, Failure};
use crate::providers::rest::table::Request;
use http::HeaderValue;
use tokio::time::Instant;

/// The way by which credentials are fetched: the connection's own, without its credentials.
pub(in crate::providers) struct Login<'a>(&'a Wire);

impl<'a> Login<'a> {
    pub(super) fn of(wire: &'a Wire) -> Login<'a> {
        Login(wire)
    }

    /// One POST with an `Authorization` of its own.
    pub(in crate::providers) async fn post(self, request: Request, authorization: HeaderValue) -> Came<Success> {
        let Some(mut prepared) = self.0.prepare(&request, Condition::None) else {
            return Came::Failure(Failure::not_sent(Trouble::NotUnderstood));
        };
        prepared.authorize(authorization);
        let began = Instant::now();
        let came = self.0.talk(prepared).await;
        self.0.limits.meter().count(request.verb(), came.class(), began.elapsed());
        came
    }

    /// The time by which credentials end.
    pub(in crate::providers) fn now(&self) -> jiff::Timestamp {
        self.0.transport.now()
    }
}
