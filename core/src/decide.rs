//! One pass over one closure: after everything learned, the next safe step.
//!
//! A [`Pass`] is data. A driver asks it [`Pass::next`], does what it is told, hands back what came of it, and asks
//! again. Everything that is not in the arguments (time, the outcome of requests) comes in as a value.

use super::accepted::{Accepted, Recheck, Rules};
use super::checks::{self, Facts, elapsed};
use super::ids::{Step, System};
use super::ledger::{
    Alignment, Check, Finding, Handoff, Ledger, Link, ObjectVersion, Outcome, PlannedAction, PlannedStep,
    PlaybookVersion, Retry, StateAt, StepRecord, TraceHead, VALUE_MAX, Verdict, printable,
};
use super::observed;
pub use super::order::{Change, Delivery, HandoffBody, Unverified, Verified, verify};
use super::reason::Reason;
use super::snapshot::{Look, Marking, Sighting, Snapshot, Trouble, Unreachable};
use super::trace;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

mod notify;
mod settle;
#[cfg(test)]
mod tests;
mod waits;

/// Failed preconditions in one pass after which it waits.
const CONFLICTS_MAX: u8 = 3;
/// Passes in a row in which a write had no effect, after which the closure halts.
const INEFFECTIVE_MAX: u8 = 3;

/// What an intake promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IntakeTerms {
    /// What it does with a repeated announcement.
    pub delivery: Delivery,
    /// Whether it can be asked for a handoff.
    pub can_look_up: bool,
    /// How long it keeps keys; none means as long as handoffs.
    pub window: Option<Duration>,
    /// How long an announcement of another pass may still be under way: twice the timeout plus the lease's duration.
    pub settling: Duration,
}

/// What this process remembers of a closure between passes, and a restart forgets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// How long ago this process first saw the stored intent, with the date that it has now: one that is renewed is
    /// another, for an announcement may follow it.
    pub intent_seen_for: Duration,
    /// The step whose write had no effect, and in how many passes in a row.
    pub ineffective: Option<(Step, u8)>,
    /// The last announcement found the intake away. The next pass looks whether it is back before it stores an intent,
    /// so that a long outage costs no status write per try.
    pub intake_away: bool,
}

/// All that is fixed for a pass.
#[derive(Clone, Debug)]
pub struct Brief {
    /// What was accepted.
    pub accepted: Accepted,
    /// The playbook's rules.
    pub rules: Rules,
    /// The uid of the closure object.
    pub uid: String,
    /// Mode Plan: look, and write nothing.
    pub plan: bool,
    /// The playbook.
    pub playbook: PlaybookVersion,
    /// The connections, by [`System::ALL`].
    pub connections: [ObjectVersion; 6],
    /// What the intake promises.
    pub intake: IntakeTerms,
    /// What this process remembers.
    pub memory: Memory,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Ask the intake whether it has the handoff.
    Ask,
    /// See whether the intake is there at all.
    Probe,
    /// Look at these systems; where a step is named, take the permit of its write first.
    Observe(Vec<System>, Option<Step>),
    /// Store the ledger: it holds the intent to announce.
    Persist,
    /// Make this write.
    Write(Verified),
    /// Store the ledger and try again later.
    Wait(Wait),
    /// Store a halt with these findings. Never empty.
    Halt(Vec<Finding>),
    /// Mode Plan: store the plan; where there are findings, it is one that would halt.
    Planned(Vec<Finding>),
    /// All five steps are settled.
    Done,
}

/// Why a pass ends without an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The first system's reason.
    pub reason: Reason,
    /// The systems that are waited for, in order.
    pub systems: Vec<System>,
    /// What the systems ask for, at least.
    pub retry_after: Option<Duration>,
    /// The systems that do not accept the credentials.
    pub unauthorized: Vec<System>,
}

/// What became of a write, told by the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// The system says yes; this is its record now.
    Answered(Box<Sighting>),
    /// The intake has the announcement; `true`: by this very request.
    Announced(bool),
    /// The precondition failed, or the record is gone: look again.
    LookAgain,
    /// The system refuses the change itself.
    Refused,
    /// The intake has another handoff under this key.
    OtherHandoff,
    /// Nothing went out or nothing was applied, for certain.
    NotApplied(Unreachable),
    /// It may have been applied.
    Unknown(Unreachable),
}

/// One pass. Cheap to clone; equal passes decide alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pass {
    /// What is remembered, with what this pass settled.
    ledger: Ledger,
    snapshot: Snapshot,
    /// Effects so far: writes sent and the intent stored.
    epoch: u32,
    conflicts: u8,
    /// This pass stored the intent.
    intent_is_ours: bool,
    /// An announcement of this pass, or of another object, may have gone out.
    announced: bool,
    /// What the intake said when it was asked.
    answer: Option<Answer>,
    /// The write that was ordered last: the step and its record before.
    ordered: Option<(Step, StateAt)>,
    /// The write that was answered last, likewise.
    answered: Option<(Step, StateAt)>,
    /// What a write's reply ended the pass with.
    ending: Option<Ending>,
    /// What to remember for the next pass.
    ineffective: Option<(Step, u8)>,
    intake: Presence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Presence {
    Unknown,
    Here,
    Away(Unreachable),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    There,
    NotThere,
    None(Unreachable),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Ending {
    Wait(System, Unreachable),
    Contended(System),
    Halt(Finding),
}

impl Pass {
    /// Begins a pass over a closure that is not finished, halted or suspended, from its stored ledger.
    #[must_use]
    pub fn begin(ledger: Ledger) -> Pass {
        Pass {
            ledger,
            snapshot: Snapshot::default(),
            epoch: 0,
            conflicts: 0,
            intent_is_ours: false,
            announced: false,
            answer: None,
            ordered: None,
            answered: None,
            ending: None,
            ineffective: None,
            intake: Presence::Unknown,
        }
    }

    /// The ledger as it stands.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What the systems said last.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Effects so far. A look carries the number that held when its request went out.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether a write of this pass went out, or may have.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.epoch > u32::from(self.intent_is_ours)
    }

    /// Ends the pass: the ledger, and what the process is to remember.
    #[must_use]
    pub fn into_parts(self) -> (Ledger, Memory) {
        let intake_away = matches!(self.intake, Presence::Away(_));
        (self.ledger, Memory { intent_seen_for: Duration::ZERO, ineffective: self.ineffective, intake_away })
    }

    /// Takes a look in. `epoch` is what [`Pass::epoch`] was when its request went out.
    pub fn observed(&mut self, sighting: Sighting, epoch: u32) {
        self.snapshot.take(sighting, epoch);
    }

    /// Takes in what the intake said: `Ok(true)`, it has the handoff.
    pub fn asked(&mut self, answer: Result<bool, Unreachable>) {
        self.answer = Some(match answer {
            Ok(true) => Answer::There,
            Ok(false) => Answer::NotThere,
            Err(why) => Answer::None(why),
        });
    }

    /// Takes in that the connection's limits left no room for a step's write in time: it was not made.
    pub fn held_back(&mut self, step: Step, why: Unreachable) {
        self.ending = Some(Ending::Wait(step.system(), why));
    }

    /// Closes the ledger of a finished closure: the head of its chain.
    pub fn conclude(&mut self, brief: &Brief) {
        self.ledger.plan.clear();
        self.ledger.trace = Some(TraceHead { digest: trace::head(&brief.accepted, &brief.uid, &self.ledger) });
    }

    /// Takes in whether the intake is there.
    pub fn probed(&mut self, found: Result<(), Unreachable>) {
        self.intake = found.map_or_else(Presence::Away, |()| Presence::Here);
    }

    /// The intent is stored.
    pub fn persisted(&mut self) {
        self.intent_is_ours = true;
        self.epoch += 1;
        self.answer = None;
    }

    /// Takes in what became of the write that was ordered.
    pub fn wrote(&mut self, brief: &Brief, wrote: Wrote, now: Timestamp) {
        let Some((step, before)) = self.ordered.take() else { return };
        let system = step.system();
        self.epoch += 1;
        match wrote {
            Wrote::Answered(sighting) => {
                self.snapshot.take(*sighting, self.epoch);
                self.answered = Some((step, before));
            }
            Wrote::Announced(by_this_request) => {
                let outcome = match (by_this_request, self.intent_is_ours) {
                    (true, _) => Outcome::Changed,
                    (false, true) => Outcome::AlreadyDone,
                    (false, false) => Outcome::Unconfirmed,
                };
                self.settle_handoff(brief, outcome, now);
            }
            Wrote::LookAgain => {
                self.conflicts += 1;
                self.snapshot.forget(system);
                if self.conflicts >= CONFLICTS_MAX {
                    self.ending = Some(Ending::Contended(system));
                }
            }
            Wrote::Refused => {
                let why = (Check::Write, Reason::WriteRejected);
                self.ending = Some(Ending::Halt(self.finding(brief, why, step, "the change made", "refused")));
            }
            Wrote::OtherHandoff => {
                let (why, observed) = ((Check::C13, Reason::ConflictingClosure), "another handoff under this key");
                self.ending = Some(Ending::Halt(self.finding(brief, why, step, "this closure's handoff", observed)));
            }
            Wrote::NotApplied(why) => {
                if step == Step::NotifyCoordinator {
                    self.intake = Presence::Away(why);
                }
                self.ending = Some(Ending::Wait(system, why));
            }
            Wrote::Unknown(why) => {
                self.announced = step == Step::NotifyCoordinator;
                self.ending = Some(Ending::Wait(system, why));
            }
        }
    }

    /// What to do next.
    ///
    /// # Guarantees
    /// A write is ordered only after all five authorities were seen in this pass and agree, with the looks that must be
    /// fresh taken after the last effect; its step's predecessors are settled. The intent is stored before an
    /// announcement. A finding halts even while something else cannot be reached; without one, something that cannot be
    /// reached only waits.
    pub fn next(&mut self, brief: &Brief, now: Timestamp) -> Decision {
        let decision = self.decide(brief, now);
        match &decision {
            Decision::Write(order) => {
                let before = StateAt {
                    state: observed::observed(self.facts(brief, now), order.step())
                        .map_or_else(String::new, |state| printable(state.word, VALUE_MAX)),
                    revision: order.revision().map_or_else(String::new, |revision| printable(&revision.0, VALUE_MAX)),
                };
                self.ordered = Some((order.step(), before));
            }
            Decision::Wait(_) | Decision::Halt(_) => self.take_back_intent(),
            Decision::Done | Decision::Planned(_) => self.ledger.retry = None,
            Decision::Ask | Decision::Probe | Decision::Observe(..) | Decision::Persist => {}
        }
        decision
    }

    fn facts<'a>(&'a self, brief: &'a Brief, now: Timestamp) -> Facts<'a> {
        Facts { accepted: &brief.accepted, rules: &brief.rules, ledger: &self.ledger, snapshot: &self.snapshot, now }
    }

    fn decide(&mut self, brief: &Brief, now: Timestamp) -> Decision {
        if let Some(ending) = self.ending.take() {
            return self.end(ending, brief, now);
        }
        if self.is_intent_foreign() && !brief.plan {
            match self.answer {
                None if self.can_ask(brief) => return Decision::Ask,
                Some(Answer::There) => self.settle_handoff(brief, Outcome::Unconfirmed, now),
                Some(Answer::NotThere | Answer::None(_)) | None => {}
            }
        }
        if self.ledger.steps.iter().all(|step| step.outcome.is_settled()) {
            return Decision::Done;
        }
        let unseen: Vec<System> = self.systems_that_look(|look| look == Look::Unseen);
        if !unseen.is_empty() {
            return Decision::Observe(unseen, None);
        }

        let report = checks::run(self.facts(brief, now));
        self.remember_records(brief);
        let disagreeing: Vec<System> = report.findings.iter().map(|finding| finding.system).collect();
        self.settle(brief, &disagreeing, &report.stale, now);
        if !report.findings.is_empty() {
            return self.disagree(brief, report.findings, now);
        }
        if let Some(wait) = self.unreachable(brief, &report.stale, now) {
            return wait;
        }
        if self.epoch == 0 || self.ledger.alignment.is_none() {
            self.align(brief, now);
        }
        if brief.plan {
            self.ledger.plan = self.plan(brief, now);
            return Decision::Planned(Vec::new());
        }
        if let Some((step, _)) = self.answered.take()
            && !self.ledger.step(step).outcome.is_settled()
        {
            return self.ineffective(brief, step, now);
        }
        match self.ledger.steps.iter().find(|step| !step.outcome.is_settled()).map(|step| step.name) {
            None => Decision::Done,
            Some(Step::NotifyCoordinator) => self.notify(brief, now),
            Some(step) => self.write(brief, step, now),
        }
    }

    /// The write of a step, or the looks that must be fresh before it.
    ///
    /// The source is read again before each write (`EveryWrite`) or before closing, clearing and announcing
    /// (`CloseAndClear`); archive link and milestone mapping are confirmed before closing and before clearing.
    fn write(&mut self, brief: &Brief, step: Step, now: Timestamp) -> Decision {
        let at_the_ends = matches!(step, Step::CloseChecklist | Step::ClearQueueEntry);
        let source = brief.rules.recheck == Recheck::EveryWrite || at_the_ends || step == Step::NotifyCoordinator;
        let wanted = [(System::Governance, source), (System::Archive, at_the_ends), (System::Tracker, at_the_ends)];
        let old: Vec<System> = wanted
            .into_iter()
            .filter(|(system, wanted)| *wanted && self.snapshot.epoch(*system).is_none_or(|epoch| epoch < self.epoch))
            .map(|(system, _)| system)
            .collect();
        if !old.is_empty() {
            return Decision::Observe(old, Some(step));
        }
        match verify(self.facts(brief, now), &brief.uid, step) {
            Ok(order) => Decision::Write(order),
            Err(Unverified::Disagreement | Unverified::Unseen) => {
                self.wait_for(step.system(), Trouble::Stale.into(), now)
            }
        }
    }

    fn systems_that_look(&self, is: impl Fn(Look) -> bool) -> Vec<System> {
        System::AUTHORITIES.into_iter().filter(|system| is(self.snapshot.look(*system))).collect()
    }

    fn disagree(&mut self, brief: &Brief, mut findings: Vec<Finding>, now: Timestamp) -> Decision {
        if brief.plan {
            self.ledger.plan = self.plan(brief, now);
            return Decision::Planned(findings);
        }
        let unanswered = !matches!(self.answer, Some(Answer::There | Answer::NotThere));
        if self.is_intent_foreign() && unanswered {
            findings.push(self.uncertain(brief));
        }
        self.ledger.retry = None;
        Decision::Halt(findings)
    }

    fn uncertain(&self, brief: &Brief) -> Finding {
        let why = (Check::Notification, Reason::NotificationUncertain);
        self.finding(brief, why, Step::NotifyCoordinator, "known whether it was announced", "cannot be found out")
    }

    fn end(&mut self, ending: Ending, brief: &Brief, now: Timestamp) -> Decision {
        match ending {
            Ending::Wait(system, why) => self.wait_for(system, why, now),
            Ending::Contended(system) => {
                self.begin_wait(vec![system], now);
                let (reason, systems) = (Reason::RecordContended, vec![system]);
                Decision::Wait(Wait { reason, systems, retry_after: None, unauthorized: Vec::new() })
            }
            Ending::Halt(finding) => self.disagree(brief, vec![finding], now),
        }
    }

    /// A finding about a step's own record.
    fn finding(&self, brief: &Brief, why: (Check, Reason), step: Step, expected: &str, observed: &str) -> Finding {
        let (check, reason) = why;
        let system = step.system();
        let id = self.snapshot.record_id(system).or(self.ledger.step(step).record.as_deref());
        let field = match step {
            Step::CloseChecklist | Step::ApproveTracker | Step::ClearQueueEntry => "state",
            Step::AttachEvidence => "evidence",
            Step::NotifyCoordinator => "key",
        };
        Finding {
            check,
            reason,
            system,
            record: Some(printable(id.unwrap_or(brief.accepted.key().as_str()), super::ids::BUNDLE_MAX)),
            field: field.to_owned(),
            expected: expected.to_owned(),
            observed: observed.to_owned(),
            link: None,
        }
    }
}
