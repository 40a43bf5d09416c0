//! A write on its way: what becomes of it, and what its sender hears.

use super::driver::Closing;
use super::engine::{Event, Reply};
use super::properties::Rule;
use super::state::{Sending, State};
use super::world::{Bundle, Records, Sent, Source, bit, flag};
use releaseclosure_core::accepted::Recheck;
use releaseclosure_core::decide::Delivery;
use releaseclosure_core::ids::Step;

impl Closing {
    pub fn send(&self, state: &mut State, replica: u8, sending: Sending) -> Option<()> {
        let (working, sent) = (state.working(replica)?, state.wanted(replica)?);
        if sending != Sending::NotSent {
            self.note(state, sent);
        }
        let reply = match sending {
            Sending::NotSent => Reply::NotApplied,
            Sending::RequestLost => Reply::Unknown,
            Sending::Fine => match self.land(state, sent) {
                Some(reply) => {
                    state.history.answered |= if state.left.stale > 0 { bit(sent.step) } else { 0 };
                    reply
                }
                None => {
                    self.engine.coverage.happened("a precondition failed");
                    Reply::LookAgain
                }
            },
            Sending::ReplyLost => {
                self.land(state, sent)?;
                Reply::Unknown
            }
            Sending::Late => {
                state.flight = Some(sent);
                Reply::Unknown
            }
            Sending::Refused | Sending::Conflict => {
                state.history.refused = true;
                if sending == Sending::Refused { Reply::Refused } else { Reply::OtherHandoff }
            }
            Sending::LieShown | Sending::LieUnchanged => {
                state.history.lied |= bit(sent.step);
                match (sent.step, sending) {
                    (Step::NotifyCoordinator, _) => Reply::Announced(true),
                    (_, Sending::LieShown) => Reply::Answered(self.only(state.records.written(sent)?, sent)),
                    _ => Reply::Answered(self.only(state.records, sent)),
                }
            }
        };
        self.hand(state, replica, working, Event::Wrote(sent.step, reply));
        Some(())
    }

    fn only(&self, records: Records, sent: Sent) -> Records {
        records.only(flag(sent.step.system()))
    }

    /// Counts what goes out although something has changed since, and sees that no halt is stored.
    fn note(&self, state: &mut State, sent: Sent) {
        // Where two lead at once, or a former leader's status is stored late, a halt says nothing to a pass that began before.
        let one_writer = self.scope.replicas == 1 || self.scope.lease && !state.history.late_halt;
        let halted = state.object.stored.1.halt.is_some() && state.object.uid == sent.uid;
        let announces = sent.step == Step::NotifyCoordinator;
        let history = &mut state.history;
        history.breaks(Rule::S8, one_writer && halted);
        history.breaks(Rule::S9, one_writer && halted && announces);
        let at_the_ends = matches!(sent.step, Step::CloseChecklist | Step::ClearQueueEntry);
        let guards_source = at_the_ends || announces || self.scope.recheck == Recheck::EveryWrite;
        let changed = [
            guards_source && state.records.source != Source::Accepted,
            at_the_ends && state.records.bundle != Bundle::Here,
            at_the_ends && state.records.tracker.renamed,
        ];
        for (late, changed) in history.late.iter_mut().zip(changed) {
            *late = (*late + u8::from(changed)).min(3);
        }
        let most = history.late.into_iter().max().unwrap_or_default();
        history.breaks(Rule::S2, most > self.scope.replicas + history.hidden);
    }

    /// A write takes effect, or its precondition fails: then there is no reply.
    pub fn land(&self, state: &mut State, sent: Sent) -> Option<Reply> {
        if sent.step == Step::NotifyCoordinator {
            return Some(self.announce(state, sent));
        }
        let seen_foreign_link = state.records.tracker.foreign_link;
        let records = state.records.written(sent)?;
        let history = &mut state.history;
        let exact = sent.revision == state.records.revision(sent.step);
        let keeps = seen_foreign_link == records.tracker.foreign_link;
        history.breaks(Rule::S6, !exact || !keeps);
        history.landed[usize::from(sent.uid)] |= bit(sent.step);
        self.change_records(state, records);
        Some(Reply::Answered(self.only(records, sent)))
    }

    fn announce(&self, state: &mut State, sent: Sent) -> Reply {
        let repeated = self.scope.terms.delivery == Delivery::IdempotencyKey && state.knows_key;
        state.knows_key = true;
        if repeated {
            self.engine.coverage.happened("an announcement told twice and taken once");
            return Reply::Announced(false);
        }
        state.announced = (state.announced + 1).min(3);
        state.history.landed[usize::from(sent.uid)] |= bit(sent.step);
        let most = 1 + state.history.wrongly_not_delivered;
        state.history.breaks(Rule::S3, state.announced > most);
        Reply::Announced(true)
    }
}
