//! The holder's side: renewing in time, noticing in time that it did not work, giving back.

use super::candidate::holder;
use super::{Lease, Lost, Term, Timing};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as Record, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

/// Renews in the background.
pub(super) struct Keeper {
    pub(super) lease: Lease,
    pub(super) record: Record,
    /// Whether the record may be another than ours to remember: a reply was lost, or a write refused.
    pub(super) unsure: bool,
    pub(super) term: watch::Sender<Term>,
    pub(super) asked: watch::Receiver<Duration>,
}

/// Why one renewal did not work.
enum Failure {
    Lost(Lost),
    Again(String),
}

impl Keeper {
    pub(super) async fn keep(mut self, sent: Duration, mut stopped: oneshot::Receiver<()>) {
        // The sleeping is on a clock that stands still while the machine is suspended, so it is done in small pieces.
        const PIECE: Duration = Duration::from_secs(1);
        let Timing { duration, renew_every, retry_every, call_timeout, .. } = self.lease.timing;
        let clock = self.lease.clock.clone();
        let mut deadline = sent + duration;
        let mut due = sent + renew_every;
        let mut not_before = Duration::ZERO;
        let lost = loop {
            let left = due.min(deadline).saturating_sub(clock());
            tokio::select! {
                biased;
                // Also when the handle was dropped: then nobody is there to write.
                asked_to = &mut stopped => {
                    let _ = self.term.send(Term::Ended(Lost::Released));
                    if asked_to.is_ok() {
                        self.give_back().await;
                    }
                    return;
                }
                Ok(()) = self.asked.changed() => {
                    if *self.asked.borrow_and_update() > deadline {
                        due = clock().max(not_before).min(due);
                    }
                }
                () = sleep(left.min(PIECE)) => {}
            }
            let now = clock();
            if now >= deadline {
                break Lost::Lapsed;
            }
            if now < due {
                continue;
            }
            let result = match timeout(call_timeout.min(deadline.saturating_sub(now)), self.renew()).await {
                Ok(result) => result,
                Err(_) => Err(Failure::Again("the API server does not answer".to_owned())),
            };
            match result {
                Ok(sent) => {
                    deadline = sent + duration;
                    due = sent + renew_every;
                    let _ = self.term.send(Term::Until(deadline));
                    debug!(lease = self.lease.name, "renewed");
                }
                Err(Failure::Lost(lost)) => break lost,
                Err(Failure::Again(error)) => {
                    let left = deadline.saturating_sub(clock());
                    warn!(lease = self.lease.name, error, left_ms = left.as_millis(), "cannot renew; trying again");
                    not_before = clock() + retry_every;
                    due = not_before;
                }
            }
        };
        warn!(lease = self.lease.name, %lost, "not leading any more");
        let _ = self.term.send(Term::Ended(lost));
    }

    /// Renews once; what it gives is the moment before the renewal was sent. May be dropped at any point.
    async fn renew(&mut self) -> Result<Duration, Failure> {
        // A record that somebody else edited, a label say, is read again and written once more.
        for _ in 0..2 {
            // Others renew it, too, and who they are is read from it.
            if self.unsure || self.lease.members.is_some() {
                self.look().await?;
            }
            self.unsure = true;
            let wanted = self.lease.claim(Some(&self.record));
            let sent = (self.lease.clock)();
            match self.lease.api.replace(&self.lease.name, &PostParams::default(), &wanted).await {
                Ok(record) => {
                    self.record = record;
                    self.unsure = false;
                    return Ok(sent);
                }
                Err(kube::Error::Api(status)) if status.is_conflict() => {}
                Err(error) => return Err(failure(&error)),
            }
        }
        Err(Failure::Again("somebody else keeps changing the record".to_owned()))
    }

    /// Reads the record again; it must still be ours.
    async fn look(&mut self) -> Result<(), Failure> {
        let record = self.lease.api.get(&self.lease.name).await.map_err(|error| failure(&error))?;
        match holder(&record) {
            Some(holder) if holder == self.lease.identity => {
                self.record = record;
                Ok(())
            }
            other => Err(Failure::Lost(Lost::Taken(other.unwrap_or_default()))),
        }
    }

    /// Takes our name off the record, if it is still on it.
    async fn give_back(&mut self) {
        let call_timeout = self.lease.timing.call_timeout;
        let release = async {
            if self.unsure || self.lease.members.is_some() {
                self.look().await?;
            }
            let mut record = self.record.clone();
            if let Some(members) = &self.lease.members
                && !members.strike_out(&mut record, (self.lease.clock)())
            {
                // Others hold it. Its time is not touched: it is theirs to renew.
                let replaced = self.lease.api.replace(&self.lease.name, &PostParams::default(), &record).await;
                return replaced.map_err(|error| failure(&error));
            }
            let spec = record.spec.get_or_insert_with(LeaseSpec::default);
            spec.holder_identity = None;
            // Whoever goes by the duration alone shall not wait either.
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            let replaced = self.lease.api.replace(&self.lease.name, &PostParams::default(), &record).await;
            replaced.map_err(|error| failure(&error))
        };
        match timeout(call_timeout, release).await {
            Ok(Ok(_)) => info!("the lease is released"),
            Ok(Err(Failure::Lost(lost))) => warn!(%lost, "there is no lease to release"),
            Ok(Err(Failure::Again(error))) => warn!(error, "the lease is not released; it will lapse"),
            Err(_) => warn!("the lease is not released, as the API server does not answer; it will lapse"),
        }
    }
}

fn failure(error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) if status.is_not_found() => Failure::Lost(Lost::Deleted),
        error => Failure::Again(error.to_string()),
    }
}
