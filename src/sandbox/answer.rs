//! The six systems without a server: a request is a value, and so is its answer. For simulations, which have a time of their
//! own and break the network themselves.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, Request};
use jiff::Timestamp;

use super::Error;
use super::call::Call;
use super::reply::Rendered;
use super::seed::Seed;
use super::state::{Config, Sandbox};
use super::world::{Effect, How};

/// What a system answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// Whether a record or the list of handoffs changed.
    pub applied: bool,
}

impl Sandbox {
    /// The systems by themselves, in memory.
    ///
    /// # Errors
    /// The seed is not one.
    pub fn in_memory(seed: Seed) -> Result<Arc<Sandbox>, Error> {
        Sandbox::new(Config { seed, ..Config::default() })
    }

    /// Answers one request as the contract has it, at this time; `stale`: with records as they were one revision before.
    pub fn answer(&self, request: Request<Bytes>, effect: Effect, stale: bool, now: Timestamp) -> Answer {
        let (parts, body) = request.into_parts();
        let call = Call::new(parts.method, parts.uri.path(), parts.uri.query(), parts.headers, Some(body));
        let how = How { effect, stale, ..How::default() };
        let (reply, applied) = {
            let mut world = self.lock();
            let reply = world.serve(self.token.as_deref(), &call, &how, now);
            (reply, world.log.has_applied_last())
        };
        let (status, headers, body) = Rendered::new(&reply).into_parts();
        Answer { status, headers, body, applied }
    }
}
