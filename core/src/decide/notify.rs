//! The announcement: what each kind of intake demands before it, and what is remembered of it.

use super::*;
use crate::halt;

impl Pass {
    /// Whether an announcement of this pass is of unknown fate: it may still be under way, and the settling time counts
    /// anew.
    #[must_use]
    pub fn may_have_announced(&self) -> bool {
        self.announced
    }

    /// The announcement, after what its intake demands; see the table in the design of the notification.
    pub(super) fn notify(&mut self, brief: &Brief, now: Timestamp) -> Decision {
        let foreign = self.is_intent_foreign();
        let in_doubt = foreign || self.others_may_have_announced(brief);
        let is_settled = brief.memory.intent_seen_for >= brief.intake.settling;
        match self.delivery(brief, now) {
            Delivery::None if foreign || (self.others_may_have_announced(brief) && !self.may_send_once(brief)) => {
                Decision::Halt(vec![self.uncertain(brief)])
            }
            // The announcement of an earlier object left no intent here, and may be under way all the same.
            Delivery::Lookup if in_doubt && !is_settled => self.look_up(brief, true, now),
            _ if self.ledger.step(Step::NotifyCoordinator).outcome == Outcome::Pending => match self.intake {
                Presence::Unknown if brief.memory.intake_away => Decision::Probe,
                Presence::Away(why) => self.wait_for(System::Intake, why, now),
                Presence::Unknown | Presence::Here => {
                    self.intend(brief, now);
                    Decision::Persist
                }
            },
            Delivery::Lookup => self.look_up(brief, false, now),
            Delivery::IdempotencyKey | Delivery::None => self.write(brief, Step::NotifyCoordinator, now),
        }
    }

    /// Announces where the intake, asked, does not have the handoff; where one may be under way, not before it settled.
    fn look_up(&mut self, brief: &Brief, is_unsettled: bool, now: Timestamp) -> Decision {
        match self.answer {
            None => Decision::Ask,
            Some(Answer::There) => {
                let foreign = self.is_intent_foreign();
                let outcome = if foreign { Outcome::Unconfirmed } else { Outcome::AlreadyDone };
                self.settle_handoff(brief, outcome, now);
                Decision::Done
            }
            Some(Answer::None(why)) => self.wait_for(System::Intake, why, now),
            Some(Answer::NotThere) if is_unsettled => {
                let retry_after = brief.intake.settling.checked_sub(brief.memory.intent_seen_for);
                self.settling = true;
                self.begin_wait(vec![System::Intake], now);
                let (reason, systems) = (Reason::NotificationSettling, vec![System::Intake]);
                Decision::Wait(Wait { reason, systems, retry_after, unauthorized: Vec::new() })
            }
            // Renewed, so that of two processes that waited one announces, and whoever comes after waits for that.
            Some(Answer::NotThere) if self.is_intent_foreign() => {
                self.ledger.step_mut(Step::NotifyCoordinator).at = Some(now);
                Decision::Persist
            }
            Some(Answer::NotThere) => self.write(brief, Step::NotifyCoordinator, now),
        }
    }

    /// What the intake's promise is worth for this announcement.
    pub(super) fn delivery(&self, brief: &Brief, now: Timestamp) -> Delivery {
        let terms = brief.intake;
        if self.is_intent_foreign() && !self.is_same_intake(brief) {
            return Delivery::None;
        }
        let Some(window) = terms.window.filter(|_| terms.delivery == Delivery::IdempotencyKey) else {
            return terms.delivery;
        };
        let intended_at = self.ledger.step(Step::NotifyCoordinator).at.filter(|_| self.is_intent_foreign());
        let is_old = intended_at.is_some_and(|at| elapsed(at, now) > window / 2);
        match (is_old || self.others_may_have_announced(brief), terms.can_look_up) {
            (false, _) => Delivery::IdempotencyKey,
            (true, true) => Delivery::Lookup,
            (true, false) => Delivery::None,
        }
    }

    /// Whether an earlier pass stored an intent of which nothing more is known.
    pub(super) fn is_intent_foreign(&self) -> bool {
        self.ledger.step(Step::NotifyCoordinator).outcome == Outcome::Intended && !self.intent_is_ours
    }

    /// Whether the stored intent was for the intake that is connected now: another one knows nothing of it.
    pub(super) fn is_same_intake(&self, brief: &Brief) -> bool {
        let intended = self.ledger.step(Step::NotifyCoordinator).connection.as_ref();
        intended.is_none_or(|intended| intended.uid == brief.connections[System::Intake as usize].uid)
    }

    pub(super) fn can_ask(&self, brief: &Brief) -> bool {
        brief.intake.can_look_up && self.is_same_intake(brief)
    }

    /// Whether another object of this closure may have announced: one was at work, the queue entry, which is cleared before
    /// anything is announced, was found cleared, or another one was told that it may. Where people did every step, an object
    /// that announced left its mark nowhere, nor on systems without marks. So it is a sign where all that comes before the queue
    /// entry was found done: a person may have put the entry back since, or made another.
    pub(super) fn others_may_have_announced(&self, brief: &Brief) -> bool {
        let found = |step: Step| self.ledger.step(step).outcome;
        let before = [Step::CloseChecklist, Step::ApproveTracker, Step::AttachEvidence];
        self.others_were_at_work(brief)
            || found(Step::ClearQueueEntry) == Outcome::AlreadyDone
            || before.into_iter().all(|step| matches!(found(step), Outcome::AlreadyDone | Outcome::Unconfirmed))
            || self.others_may_announce(brief)
    }

    /// Whether a coordinator said, of a halt of another object that this one took over, that nothing arrived: it is the other
    /// one's permission, and it may have made use of it. So it is where this one stood aside since it was said.
    fn others_may_announce(&self, brief: &Brief) -> bool {
        // Each release of a halt ends an episode.
        let episodes = (0..self.ledger.episode).rev();
        let mut halts = self.ledger.halts.iter().rev().zip(episodes);
        halts.any(|(past, episode)| {
            let others = past.id != halt::id(&brief.uid, episode) || past.superseded == Some(true);
            past.handoff == Some(Handoff::NotDelivered) && others
        })
    }

    /// Whether another object of this closure was at work: a record carries its key with another uid, or the queue entry was
    /// found cleared on a system that carries no markers.
    fn others_were_at_work(&self, brief: &Brief) -> bool {
        let key = brief.accepted.key().as_str();
        let bundle = &brief.accepted.evidence().bundle;
        let links = self.snapshot.tracker().into_iter().flat_map(|record| &record.evidence);
        let markings = [
            self.snapshot.checklist().map(|record| &record.marking),
            self.snapshot.tracker().map(|record| &record.marking),
            self.snapshot.queue().map(|record| &record.marking),
        ];
        let by_another = markings
            .into_iter()
            .flatten()
            .chain(links.filter(|link| link.bundle == *bundle).map(|link| &link.marking))
            .any(|marking| matches!(marking, Marking::By(marker) if marker.key == key && marker.uid != brief.uid));
        by_another || self.ledger.step(Step::ClearQueueEntry).outcome == Outcome::Unconfirmed
    }

    /// Whether a coordinator said, of a halt of this very object, that nothing arrived, and nothing was sent since: an
    /// intent that was stored after that is either this pass's own or has been turned into a new halt. What was said of
    /// another object's halt, which this one took over, is that object's permission: two would send once each. Nor is
    /// anything said before this one stood aside.
    pub(super) fn may_send_once(&self, brief: &Brief) -> bool {
        let own = self.ledger.episode.checked_sub(1).map(|episode| halt::id(&brief.uid, episode));
        let last = self.ledger.halts.last();
        last.is_some_and(|last| {
            last.handoff == Some(Handoff::NotDelivered) && own.as_ref() == Some(&last.id) && last.superseded.is_none()
        })
    }

    pub(super) fn intend(&mut self, brief: &Brief, now: Timestamp) {
        let links = self.snapshot.archive().map(|bundle| Link { rel: "evidence".to_owned(), url: bundle.url.clone() });
        let key = brief.accepted.key().as_str().to_owned();
        self.ledger.retry = None;
        let step = self.ledger.step_mut(Step::NotifyCoordinator);
        step.outcome = Outcome::Intended;
        step.connection = Some(brief.connections[System::Intake as usize].clone());
        step.reference = Some(key);
        step.links = links.into_iter().collect();
        step.at = Some(now);
    }

    /// An intent of this pass of which nothing went out is none.
    pub(super) fn take_back_intent(&mut self) {
        let step = self.ledger.step_mut(Step::NotifyCoordinator);
        if self.intent_is_ours && !self.announced && step.outcome == Outcome::Intended {
            *step = StepRecord::pending(Step::NotifyCoordinator);
        }
    }

    pub(super) fn settle_handoff(&mut self, brief: &Brief, outcome: Outcome, now: Timestamp) {
        let key = brief.accepted.key().as_str().to_owned();
        let step = self.ledger.step_mut(Step::NotifyCoordinator);
        step.outcome = outcome;
        step.record = Some(key);
        step.at = Some(now);
    }
}
