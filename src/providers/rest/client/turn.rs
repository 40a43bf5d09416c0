//! A change between two looks.

use super::{Condition, Reader, Success, Wire, Writer};
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

    /// The change: there is one. `understand` gets a reply with a 2xx status.
    pub(in crate::providers) async fn change<T>(
        mut self,
        request: Request,
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> (Came<T>, After<'a>) {
        if let Err(held_back) = self.entered.may_send() {
            return (Came::Failure(Failure { fate: Fate::NotSent, why: held_back }), After(self));
        }
        let came = self.wire.exchange(request, Condition::None, self.entered.deadline(), false, understand).await;
        (came, After(self))
    }
}

impl After<'_> {
    /// A look after the change.
    pub(in crate::providers) async fn get<T>(
        &mut self,
        request: Request,
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> Came<T> {
        self.0.get(request, understand).await
    }
}

/// Where one can look, once or several times: what takes several looks to be read is read the same way wherever that is.
pub(in crate::providers) trait Look: Send {
    /// One look.
    fn look<T: Send>(
        &mut self,
        request: Request,
        understand: impl FnOnce(Success) -> Option<T> + Send,
    ) -> impl Future<Output = Came<T>> + Send;
}

/// A call that only reads, with its place in the limits.
pub(in crate::providers) struct Call<'a>(pub(in crate::providers) &'a Reader, pub(in crate::providers) Entered<'a>);

impl Look for Call<'_> {
    async fn look<T: Send>(
        &mut self,
        request: Request,
        understand: impl FnOnce(Success) -> Option<T> + Send,
    ) -> Came<T> {
        self.0.get(&mut self.1, request, understand).await
    }
}

impl Look for Turn<'_> {
    async fn look<T: Send>(
        &mut self,
        request: Request,
        understand: impl FnOnce(Success) -> Option<T> + Send,
    ) -> Came<T> {
        self.get(request, understand).await
    }
}

impl Look for After<'_> {
    async fn look<T: Send>(
        &mut self,
        request: Request,
        understand: impl FnOnce(Success) -> Option<T> + Send,
    ) -> Came<T> {
        self.get(request, understand).await
    }
}
