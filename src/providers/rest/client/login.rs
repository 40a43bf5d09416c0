//! How credentials are fetched that have to be.

use super::{Condition, Raw, Reader, Success, Told, Wire};
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

    /// The way of a connection of its own, to somebody else who hands out credentials.
    pub(in crate::providers) fn by(reader: &'a Reader) -> Login<'a> {
        Login(&reader.0)
    }

    /// One POST with an `Authorization` of its own.
    pub(in crate::providers) async fn post(self, request: Request, authorization: HeaderValue) -> Came<Success> {
        let Some(mut prepared) = self.0.prepare(&request, Condition::None) else {
            return Came::Failure(Failure::not_sent(Trouble::NotUnderstood));
        };
        prepared.authorize(authorization);
        let (mut told, began) = (Told::new(self.0, &request), Instant::now());
        let came = self.0.talk(prepared, &mut told).await;
        told.ended(&came);
        self.0.limits.meter().count(request.verb(), came.class(), began.elapsed());
        came
    }

    /// One GET, with an `Authorization` of its own or without any; of its reply all is left to `understand`.
    pub(in crate::providers) async fn ask<T>(
        &self,
        request: Request,
        authorization: Option<HeaderValue>,
        understand: impl FnOnce(Raw) -> Came<T>,
    ) -> Came<T> {
        let (verb, mut told, began) = (request.verb(), Told::new(self.0, &request), Instant::now());
        let sent = async {
            let mut prepared = self.0.read_prepared(&request)?;
            if let Some(authorization) = authorization {
                prepared.authorize(authorization);
            }
            self.0.hear(prepared, &mut told).await
        };
        let came = match sent.await {
            Ok(raw) => understand(raw),
            Err(failure) => Came::Failure(failure),
        };
        told.ended(&came);
        self.0.limits.meter().count(verb, came.class(), began.elapsed());
        came
    }

    /// The time by which credentials end.
    pub(in crate::providers) fn now(&self) -> jiff::Timestamp {
        self.0.transport.now()
    }
}
