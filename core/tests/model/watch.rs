//! What the model itself remembers of a pass, to hold the production code's orders against: what was looked at, what it
//! showed, and what is known of the pass's own writes. Nothing here asks the production code.

use super::properties::Rule;
use super::world::{FIVE, Records, Sent, bit, flag};
use releaseclosure_core::accepted::Recheck;
use releaseclosure_core::ids::{Step, System};
use releaseclosure_core::ledger::Outcome;

/// The outcomes of the five steps.
pub type Outcomes = [Outcome; 5];

/// What a pass was shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Watch {
    /// Systems that answered in this pass.
    seen: u8,
    /// Those whose latest answer agrees with the spec.
    agreeing: u8,
    /// Those that were looked at after the pass's latest effect.
    fresh: u8,
    /// Steps that the latest looks show as done.
    done: u8,
    /// Those with this closure's marker.
    marked: u8,
    /// Revisions that the latest looks at checklist, tracker and queue showed.
    revisions: [Option<u8>; 3],
    /// The step whose write has just been answered, with its record.
    answered: Option<Step>,
    /// The intake has just said that it has the handoff; true: by this pass's request.
    acknowledged: Option<bool>,
    /// This pass stored the intent.
    own_intent: bool,
    /// An intent is stored.
    intent: bool,
    /// The rules that were broken.
    pub broken: u32,
}

/// The steps whose records are in a system.
fn steps_of(system: System) -> impl Iterator<Item = Step> {
    Step::ALL.into_iter().filter(move |step| step.system() == system && system != System::Intake)
}

fn set(bits: &mut u8, mask: u8, to: bool) {
    *bits = if to { *bits | mask } else { *bits & !mask };
}

impl Watch {
    /// A pass begins from these outcomes.
    pub fn begin(outcomes: Outcomes) -> Watch {
        let intent = outcomes[Step::NotifyCoordinator.index()] == Outcome::Intended;
        Watch { intent, ..Watch::default() }
    }

    /// A system answered a look.
    pub fn looked(&mut self, system: System, records: Records, uid: u8) {
        self.seen |= flag(system);
        self.fresh |= flag(system);
        set(&mut self.agreeing, flag(system), records.agreeing() & flag(system) != 0);
        for step in steps_of(system) {
            set(&mut self.done, bit(step), records.done() & bit(step) != 0);
            set(&mut self.marked, bit(step), records.marked_by(uid) & bit(step) != 0);
            self.revisions[system as usize - System::Checklist as usize] = records.revision(step);
        }
    }

    /// A system gave no answer: what it said before counts no more.
    pub fn unanswered(&mut self, system: System) {
        for bits in [&mut self.seen, &mut self.agreeing, &mut self.fresh] {
            *bits &= !flag(system);
        }
    }

    /// Something went out, or may have: looks before it are old.
    pub fn effect(&mut self) {
        self.fresh = 0;
    }

    /// The intent is stored.
    pub fn persisted(&mut self) {
        self.effect();
        (self.own_intent, self.intent) = (true, true);
    }

    /// A write was answered with its record.
    pub fn answered(&mut self, step: Step, records: Records, uid: u8) {
        self.looked(step.system(), records, uid);
        self.answered = Some(step);
    }

    /// The intake has the handoff.
    pub fn acknowledged(&mut self, by_this_request: bool) {
        self.acknowledged = Some(by_this_request);
    }

    fn breaks(&mut self, rule: Rule, broken: bool) {
        if broken {
            self.broken |= rule.bit();
        }
    }

    /// The pass went from these outcomes to those: each settled one is as the looks say (S5), none goes back (S12).
    pub fn settled(&mut self, before: Outcomes, after: Outcomes, markers: bool) {
        for step in Step::ALL {
            let (old, new) = (before[step.index()], after[step.index()]);
            if old.is_settled() {
                self.breaks(Rule::S12, old != new);
            } else if new.is_settled() {
                let expected = self.expected(step, markers);
                self.breaks(Rule::S5, expected != Some(new));
            }
        }
        (self.answered, self.acknowledged) = (None, None);
    }

    /// The outcome that a step may be settled with now.
    fn expected(&self, step: Step, markers: bool) -> Option<Outcome> {
        if step == Step::NotifyCoordinator {
            let foreign_intent = self.intent && !self.own_intent;
            return Some(match (self.acknowledged?, foreign_intent) {
                (true, _) => Outcome::Changed,
                (false, false) => Outcome::AlreadyDone,
                (false, true) => Outcome::Unconfirmed,
            });
        }
        let done = self.done & bit(step) != 0;
        let ours = markers && self.marked & bit(step) != 0 || self.answered == Some(step);
        done.then_some(match (ours, markers) {
            (true, _) => Outcome::Changed,
            (false, true) => Outcome::AlreadyDone,
            (false, false) => Outcome::Unconfirmed,
        })
    }

    /// A write is ordered.
    pub fn ordered(&mut self, sent: Sent, is_exact: bool, recheck: Recheck) {
        let step = sent.step;
        self.breaks(Rule::S1, self.seen != FIVE || self.agreeing != FIVE);
        let source = flag(System::Governance);
        let must_be_fresh = match (step, recheck) {
            (Step::CloseChecklist | Step::ClearQueueEntry, _) => source | flag(System::Archive) | flag(System::Tracker),
            (Step::NotifyCoordinator, _) | (_, Recheck::EveryWrite) => source,
            (Step::ApproveTracker | Step::AttachEvidence, Recheck::CloseAndClear) => 0,
        };
        self.breaks(Rule::S2Fresh, self.fresh & must_be_fresh != must_be_fresh);
        let earlier = bit(step) - 1;
        self.breaks(Rule::S4, self.done & earlier != earlier || self.done & bit(step) != 0);
        let seen_at = match step {
            Step::NotifyCoordinator => None,
            _ => self.revisions[step.system() as usize - System::Checklist as usize],
        };
        self.breaks(Rule::S6, !is_exact || sent.revision != seen_at);
        self.breaks(Rule::S3Intent, step == Step::NotifyCoordinator && !self.intent);
    }
}
