//! Replies to the letter, for products whose errors say more than their statuses.

use super::{Condition, Login, Raw, Told, Wire, whole};
use crate::closure::snapshot::Trouble;
use crate::providers::meter::Verb;
use crate::providers::rest::reply::{self, Came, Failure, Fate, Media};
use crate::providers::rest::table::Request;
use crate::providers::rest::transport::{Incoming, NoReply, Outgoing};
use std::time::Duration;
use tokio::time::Instant;

impl Wire {
    /// Sends one request that reads, and leaves what came to somebody who knows the product.
    pub(super) async fn ask<T>(
        &self,
        request: Request,
        deadline: Instant,
        probe: bool,
        understand: impl FnOnce(Raw) -> Came<T>,
    ) -> Came<T> {
        let (about, began) = ((request.verb(), request.record()), Instant::now());
        if !request.reads() {
            return Came::Failure(Failure::not_sent(Trouble::NotUnderstood));
        }
        let mut told = Told::new(self, &request);
        let came = match tokio::time::timeout_at(deadline, self.hear_authorized(&request, &mut told)).await {
            Ok(Ok(raw)) => understand(raw),
            Ok(Err(failure)) => Came::Failure(failure),
            Err(_) => Came::Failure(Failure::unknown(Trouble::Unavailable)),
        };
        told.ended(&came);
        self.limits.learn(about, probe, began, &came);
        came
    }

    /// Sends a read with what authorizes it, and once more where kept credentials no longer do.
    async fn hear_authorized(&self, request: &Request, told: &mut Told<'_>) -> Result<Raw, Failure> {
        let mut again = true;
        loop {
            let mut prepared = self.read_prepared(request)?;
            let Some(credentials) = &self.particulars.credentials else { return self.hear(prepared, told).await };
            let authorization = match credentials.authorization(Login::of(self)).await {
                Ok(authorization) => authorization,
                // Whatever became of the request for credentials, this one was not sent.
                Err(Failure { why, .. }) => return Err(Failure { fate: Fate::NotSent, why }),
            };
            prepared.authorize(authorization.clone());
            let raw = self.hear(prepared, told).await?;
            if raw.status != 401 {
                return Ok(raw);
            }
            credentials.refused(&authorization);
            if !std::mem::take(&mut again) {
                return Ok(raw);
            }
            told.unauthorized();
        }
    }

    /// What a refusal says in its words; where they say nothing, what its status does.
    pub(super) fn refused_in_words<T>(
        &self,
        status: u16,
        media: Media,
        body: &[u8],
        retry_after: Option<Duration>,
    ) -> Came<T> {
        let really = (self.dialect.really)(status, body);
        match reply::by_status(really, media, self.dialect, retry_after) {
            Some(failure) => Came::Failure(failure),
            None => reply::problem(status, self.dialect, body),
        }
    }

    pub(super) fn read_prepared(&self, request: &Request) -> Result<Outgoing, Failure> {
        self.prepare(request, Condition::None).ok_or(Failure::not_sent(Trouble::NotUnderstood))
    }

    pub(super) async fn hear(&self, request: Outgoing, told: &mut Told<'_>) -> Result<Raw, Failure> {
        told.begins();
        let bodiless = request.verb() == Verb::Head;
        let Incoming { status, headers, length, body } =
            self.transport.send(request).await.map(|reply| told.answered(reply)).map_err(|fate| match fate {
                NoReply::NotSent => Failure::not_sent(Trouble::Unavailable),
                NoReply::Unknown => Failure::unknown(Trouble::Unavailable),
            })?;
        let body = if bodiless { Vec::new() } else { whole(length, body).await.map_err(Failure::unknown)? };
        Ok(Raw { status, retry_after: self.retry_after(&headers), headers, body })
    }
}
