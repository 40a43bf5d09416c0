//! What a writer asks before each write.

use super::{Clock, Lost, Term, Timing};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// What a writer asks before each write. Cheap to clone and to ask.
#[derive(Clone)]
pub struct Fence {
    term: watch::Receiver<Term>,
    ask: Arc<watch::Sender<Duration>>,
    timing: Timing,
    clock: Clock,
    /// A lease that must hold as well.
    above: Option<Box<Fence>>,
}

impl Fence {
    pub(super) fn new(
        term: watch::Receiver<Term>,
        ask: Arc<watch::Sender<Duration>>,
        timing: Timing,
        clock: Clock,
    ) -> Fence {
        Fence { term, ask, timing, clock, above: None }
    }

    /// The same, which holds only while `above` does.
    #[must_use]
    pub fn under(self, above: Fence) -> Fence {
        Fence { above: Some(Box::new(above)), ..self }
    }

    /// How long this replica leads for certain, without another renewal. Zero: not any more.
    #[must_use]
    pub fn valid_for(&self) -> Duration {
        let own = self.own();
        self.above.as_ref().map_or(own, |above| own.min(above.valid_for()))
    }

    fn own(&self) -> Duration {
        match &*self.term.borrow() {
            Term::Until(deadline) => deadline.saturating_sub((self.clock)()),
            Term::Ended(_) => Duration::ZERO,
        }
    }

    /// Whether the term outlives a write that may take as long as `needed`.
    #[must_use]
    pub fn outlasts(&self, needed: Duration) -> bool {
        self.valid_for() > needed
    }

    /// The same, but has the lease renewed out of turn where the term is too short, and waits for that: with a term of
    /// 15 s renewed every 10 s, a write that may take 10 s would otherwise be held up half of the time.
    ///
    /// False at once where `needed` is no shorter than a whole term; false after one call's time where the API server
    /// does not answer. Many callers at once make one renewal.
    pub async fn secure(&self, needed: Duration) -> bool {
        if self.outlasts(needed) || needed >= self.timing.duration {
            return self.outlasts(needed);
        }
        if let Some(above) = &self.above {
            Box::pin(above.secure(needed)).await;
        }
        if self.own() <= needed {
            self.renewed_past((self.clock)() + needed).await;
        }
        // While the one was renewed, the other may have come to be too short.
        if let Some(above) = self.above.as_ref().filter(|_| self.own() > needed) {
            Box::pin(above.secure(needed)).await;
        }
        // Whatever came of it, the terms themselves have the last word.
        self.outlasts(needed)
    }

    /// Has the lease renewed out of turn, so that what its record says is fresh; many callers at once make one renewal.
    pub async fn renewed(&self) {
        let deadline = match &*self.term.borrow() {
            Term::Until(deadline) => *deadline,
            Term::Ended(_) => return,
        };
        self.renewed_past(deadline).await;
    }

    /// Asks for a term that goes beyond `wanted`, and waits one call's time for it.
    async fn renewed_past(&self, wanted: Duration) {
        let beyond = wanted + Duration::from_nanos(1);
        // Told even where as much was asked before: that renewal may have come to no more.
        self.ask.send_modify(|asked| *asked = beyond.max(*asked));
        let mut term = self.term.clone();
        let enough = term.wait_for(|term| match term {
            Term::Until(deadline) => *deadline > wanted,
            Term::Ended(_) => true,
        });
        let _ = timeout(self.timing.call_timeout, enough).await;
    }

    /// Resolves when the term is over.
    pub async fn ended(&self) -> Lost {
        match &self.above {
            None => self.own_ended().await,
            Some(above) => tokio::select! {
                lost = self.own_ended() => lost,
                lost = Box::pin(above.ended()) => lost,
            },
        }
    }

    async fn own_ended(&self) -> Lost {
        let mut term = self.term.clone();
        match term.wait_for(|term| matches!(term, Term::Ended(_))).await.as_deref() {
            Ok(Term::Ended(lost)) => lost.clone(),
            // The renewing task is gone, and with it the only one who could go on.
            Ok(Term::Until(_)) | Err(_) => Lost::Lapsed,
        }
    }

    /// A fence that holds for so long, for the unit tests of this crate alone.
    #[cfg(test)]
    #[allow(dead_code, reason = "for the tests of other modules")]
    pub(crate) fn for_tests(valid_for: Duration) -> Fence {
        let clock = super::boottime();
        let (_, term) = watch::channel(Term::Until(clock() + valid_for));
        Fence::new(term, Arc::new(watch::channel(Duration::ZERO).0), Timing::default(), clock)
    }
}
