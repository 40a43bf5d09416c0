//! A change between two looks.

use super::{Condition, Success, Wire, Writer};
use crate::closure::snapshot::Unreachable;
use crate::providers::limits::Entered;
use crate::providers::rest::reply::{Came, Failure, Fate};
use crate::providers::rest::table::Request;
use crate::roles::Permit;

impl Writer {
    /// The turn of a change that is looked at before and after, with its permit.
    ///
    /// # Errors
    /// Held back.
    pub(in crate::providers) fn turn(&self, permit: Permit) -> Result<Turn<'_>, Unreachable> {
        Ok(Turn { wire: &self.0, entered: self.0.limits.enter_with(permit)? })
    }
}

/// One change, and the looks before and after it: all within one timeout, and without waiting in between.
pub(in crate::providers) struct Turn<'a> {
    wire: &'a Wire,
    entered: Entered<'a>,
}

/// What is left of a turn after its change: looks.
pub(in crate::providers) struct After<'a>(Turn<'a>);

impl<'a> Turn<'a> {
    /// A look before the change.
    pub(in crate::providers) async fn get<T>(
        &mut self,
        request: Request,
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> Came<T> {
        if let Err(held_back) = self.entered.may_send() {
            return Came::Failure(Failure { fate: Fate::NotSent, why: held_back });
        }
        self.wire.read(request, self.entered.deadline(), false, understand).await
    }

    /// The place and the deadline, for looks that are those of a read, too.
    pub(in crate::providers) fn place(&mut self) -> &mut Entered<'a> {
        &mut self.entered
    }

    /// The change: there is one, but for what [`After::mend`] is for. `understand` gets a reply with a 2xx status.
    pub(in crate::providers) async fn change<T>(
        self,
        request: Request,
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> (Came<T>, After<'a>) {
        self.change_if(Condition::None, request, understand).await
    }

    /// The change, on a condition.
    pub(super) async fn change_if<T>(
        mut self,
        condition: Condition<'_>,
        request: Request,
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> (Came<T>, After<'a>) {
        if let Err(held_back) = self.entered.may_send() {
            return (Came::Failure(Failure { fate: Fate::NotSent, why: held_back }), After(self));
        }
        let came = self.wire.exchange(request, condition, self.entered.deadline(), false, understand).await;
        (came, After(self))
    }
}

impl<'a> After<'a> {
    /// The place and the deadline, likewise.
    pub(in crate::providers) fn place(&mut self) -> &mut Entered<'a> {
        self.0.place()
    }

    /// The change once more, where the look after it shows that it has to be mended: still within the one timeout.
    pub(in crate::providers) async fn mend<T>(
        self,
        request: Request,
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> (Came<T>, After<'a>) {
        self.0.change(request, understand).await
    }

    /// A look after the change.
    pub(in crate::providers) async fn get<T>(
        &mut self,
        request: Request,
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> Came<T> {
        self.0.get(request, understand).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::build;
    use super::*;
    use crate::closure::ids::System;
    use crate::closure::snapshot::Trouble;
    use crate::providers::LimitSettings;
    use crate::providers::guard::{Allowed, Endpoint};
    use crate::providers::limits::Limits;
    use crate::providers::meter::Verb;
    use crate::providers::rest::Dialect;
    use crate::providers::rest::table::Row;
    use crate::providers::rest::transport::{Body, Incoming, NoReply, Outgoing, Transport};
    use crate::roles::Gate as _;
    use async_trait::async_trait;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, header};
    use std::sync::Arc;
    use std::time::Duration;

    static LOOK: Row = Row::new(System::Tracker, Verb::Get, "/record", "", "look");
    static CHANGE: Row = Row::new(System::Tracker, Verb::Patch, "/record", "{}", "change");
    static DIALECT: Dialect = Dialect::PLAIN;

    /// Answers everything with `{}`, six seconds later.
    struct Slow;

    struct Empty(Option<Bytes>);

    #[async_trait]
    impl Body for Empty {
        async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
            Ok(self.0.take())
        }
    }

    #[async_trait]
    impl Transport for Slow {
        async fn send(&self, _: Outgoing) -> Result<Incoming, NoReply> {
            tokio::time::sleep(Duration::from_secs(6)).await;
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
            Ok(Incoming { status: 200, headers, length: None, body: Box::new(Empty(Some(Bytes::from_static(b"{}")))) })
        }
    }

    /// What the lease secures before a write is one timeout, and the looks are part of it.
    #[tokio::test(start_paused = true)]
    async fn a_change_and_its_looks_share_one_timeout() {
        let settings = LimitSettings { requests_per_second: 100.0, concurrency: 1, timeout: Duration::from_secs(10) };
        let limits = Arc::new(Limits::new(settings, Arc::default()));
        let endpoint = Endpoint::parse("https://tracker.example.com", Allowed::default()).unwrap();
        let particulars = Default::default();
        let (_, writer) = build(Arc::new(Slow), endpoint, HeaderMap::new(), (&DIALECT, particulars), limits.clone());
        let began = tokio::time::Instant::now();
        let mut turn = writer.turn(limits.permit().await.unwrap()).unwrap();
        let look = turn.get(LOOK.request(&[]).unwrap(), |_| Some(())).await;
        assert!(matches!(look, Came::Success(())));
        let (came, mut after) = turn.change(CHANGE.request(&[]).unwrap(), |_| Some(())).await;
        assert!(matches!(came, Came::Failure(failure) if failure.fate == Fate::Unknown));
        assert_eq!(began.elapsed(), settings.timeout);
        assert!(matches!(after.get(LOOK.request(&[]).unwrap(), |_| Some(())).await, Came::Failure(_)));
        assert_eq!(began.elapsed(), settings.timeout);
    }
}
