//! What traces tell of the requests of one call: each in a span of its own.

use super::{Came, Incoming, Request, Wire};
use crate::closure::ids::System;
use crate::closure::snapshot::Trouble;
use crate::providers::limits::Limits;
use crate::providers::rest::reply::Failure;
use crate::spans::{self, Protocol};

/// The request under way, where one is.
///
/// A call that is given up before its request goes out tells of none; one that sends a second request tells of two.
pub(super) struct Told<'a> {
    limits: &'a Limits,
    system: System,
    protocol: Protocol,
    span: Option<spans::Request>,
}

impl<'a> Told<'a> {
    pub(super) fn new(wire: &'a Wire, request: &Request) -> Told<'a> {
        Told { limits: &wire.limits, system: request.system(), protocol: request.protocol(), span: None }
    }

    /// A request goes out now.
    pub(super) fn begins(&mut self) {
        self.span = Some(self.limits.request(self.system, self.protocol));
    }

    /// The head of its reply is there.
    pub(super) fn answered(&mut self, reply: Incoming) -> Incoming {
        if let Some(span) = &mut self.span {
            span.answered(reply.status);
        }
        reply
    }

    /// It is over, and this came of it.
    pub(super) fn ended<T>(&mut self, came: &Came<T>) {
        if let Some(span) = self.span.take() {
            came.tell(span);
        }
    }

    /// It is over: what authorized it does so no more.
    pub(super) fn unauthorized(&mut self) {
        self.ended::<()>(&Came::Failure(Failure::said(401, Trouble::Unauthorized)));
    }
}
