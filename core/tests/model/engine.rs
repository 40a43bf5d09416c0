//! The production passes, by number.
//!
//! The core is pure: a pass and what is handed to it decide what it is afterwards. So each transition of the production
//! code is worked out once and remembered, and a state of the model holds the number of a pass instead of the pass.
//! Equal passes have one number, however they came about.

use super::records::{self, Told};
use super::tables::{Memo, Table};
use super::watch::{Outcomes, Watch};
use super::world::{Records, Sent, Uid, bit, flag};
use super::{coverage::Coverage, properties::Rule, records::Terms};
use releaseclosure_core::accepted::Recheck;
use releaseclosure_core::decide::{Brief, Change, Decision, Memory, Pass, Verified, Wrote};
use releaseclosure_core::halt::{self, Released, Resolution};
use releaseclosure_core::ids::{Step, System};
use releaseclosure_core::ledger::{Decision as Resolved, Finding, Halt, Handoff, Ledger, Outcome};
use releaseclosure_core::reason::Reason;
use releaseclosure_core::snapshot::Trouble;
use releaseclosure_core::trace;

/// What the core wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Looks at these systems; before this step.
    Look(u8, Option<Step>),
    Ask,
    Probe,
    Persist,
    Send(Sent),
    /// The pass ends.
    End,
}

/// Where a pass stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stand {
    /// The pass.
    pub node: u32,
    /// What it wants.
    pub order: Order,
    /// The rules it has broken.
    pub broken: u32,
}

/// What is handed to a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// These systems were looked at; those gave no answer.
    Saw {
        systems: u8,
        away: u8,
        records: Records,
    },
    /// No room for the step in time.
    HeldBack(Step),
    /// The intake's answer; none if it gave none.
    Asked(Option<bool>),
    /// Whether the intake is there.
    Probed(bool),
    Persisted,
    /// The reply to a write of this step.
    Wrote(Step, Reply),
}

/// What came back from a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    Answered(Records),
    Announced(bool),
    LookAgain,
    Refused,
    OtherHandoff,
    NotApplied,
    Unknown,
}

/// What shows of a stored ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    pub outcomes: Outcomes,
    /// The latched halt: its number and cause.
    pub halt: Option<(u32, Reason)>,
    /// The steps of which the record's revision before the change is taken down.
    pub befores: u8,
}

/// A ledger and what shows of it.
pub type Stored = (u32, View);

/// Where a closure stands, as its conditions say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    New,
    Working,
    Waiting(Reason),
    Halted,
    Closed,
    Abandoned,
}

/// What a pass came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ended {
    pub standing: Standing,
    pub stored: Stored,
    pub ineffective: Option<(Step, u8)>,
    pub intake_away: bool,
    /// An announcement of the pass may still be under way.
    pub announced: bool,
    /// It waits for one of another pass or object.
    pub settling: bool,
    pub broken: u32,
}

/// What a coordinator answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Resume(Option<Handoff>),
    Abandon,
}

#[derive(PartialEq, Eq, Hash)]
struct Node {
    told: Told,
    pass: Pass,
    order: Order,
    end: Option<End>,
    watch: Watch,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum End {
    Wait(Reason),
    Halt(Vec<Finding>),
    Done,
}

/// The production core, for one configuration.
pub struct Engine {
    pub terms: Terms,
    pub recheck: Recheck,
    pub markers: bool,
    pub coverage: Coverage,
    ledgers: Table<Ledger>,
    halts: Table<Halt>,
    nodes: Table<Node>,
    begun: Memo<(u32, Told), Stand>,
    stepped: Memo<(u32, Event), Stand>,
    ended: Memo<u32, Ended>,
    drafts: Memo<u32, Stored>,
    laid: Memo<(u32, u32), Stored>,
    resolved: Memo<(u32, Answer), (Stored, bool)>,
    held: Memo<(u32, u32), bool>,
}

impl Engine {
    pub fn new(terms: Terms, recheck: Recheck, markers: bool) -> Engine {
        Engine {
            terms,
            recheck,
            markers,
            coverage: Coverage::default(),
            ledgers: Table::default(),
            halts: Table::default(),
            nodes: Table::default(),
            begun: Memo::default(),
            stepped: Memo::default(),
            ended: Memo::default(),
            drafts: Memo::default(),
            laid: Memo::default(),
            resolved: Memo::default(),
            held: Memo::default(),
        }
    }

    /// How many different passes and transitions there were.
    pub fn size(&self) -> (usize, usize) {
        (self.nodes.len(), self.begun.len() + self.stepped.len())
    }

    fn brief(&self, told: Told) -> Brief {
        records::brief(self.terms, self.recheck, told)
    }

    /// Stores a ledger.
    fn store(&self, ledger: Ledger) -> Stored {
        let outcomes = outcomes(&ledger);
        let halt = ledger.halt.clone().map(|halt| (halt.cause, self.halts.number(halt)));
        let befores = ledger.steps.iter().filter(|step| step.before.is_some()).map(|step| bit(step.name)).sum();
        let view = View { outcomes, halt: halt.map(|(cause, number)| (number, cause)), befores };
        (self.ledgers.number(ledger), view)
    }

    /// The ledger of an object that was never worked on.
    pub fn empty(&self) -> Stored {
        self.store(Ledger::default().checked().expect("an empty ledger"))
    }

    /// Begins a pass.
    pub fn begin(&self, ledger: u32, told: Told) -> Stand {
        self.begun.get_or((ledger, told), |_| {
            let ledger = self.ledgers.value(ledger);
            let watch = Watch::begin(outcomes(&ledger));
            self.decide(told, Pass::begin((*ledger).clone()), watch)
        })
    }

    /// Hands something to a pass.
    pub fn step(&self, node: u32, event: Event) -> Stand {
        self.stepped.get_or((node, event), |_| self.work(node, event))
    }

    fn work(&self, node: u32, event: Event) -> Stand {
        let node = self.nodes.value(node);
        let (told, mut pass, mut watch) = (node.told, node.pass.clone(), node.watch);
        match event {
            Event::Saw { systems, away, records } => {
                let epoch = pass.epoch();
                for system in System::AUTHORITIES.into_iter().filter(|system| systems & flag(*system) != 0) {
                    let sighting = if away & flag(system) != 0 {
                        watch.unanswered(system);
                        records::no_answer(system)
                    } else {
                        watch.looked(system, records, told.uid);
                        records::sighting(records, system, self.markers)
                    };
                    pass.observed(sighting.expect("one of the five"), epoch);
                }
                if let Order::Look(wanted, before) = node.order
                    && wanted & !systems != 0
                {
                    let order = Order::Look(wanted & !systems, before);
                    return self.stand(Node { told, pass, order, end: None, watch });
                }
            }
            Event::HeldBack(step) => pass.held_back(step, Trouble::HeldBack.into()),
            Event::Asked(answer) => {
                if answer == Some(true) {
                    watch.acknowledged(false);
                }
                pass.asked(answer.ok_or(Trouble::Unavailable.into()));
            }
            Event::Probed(there) => pass.probed(if there { Ok(()) } else { Err(Trouble::Unavailable.into()) }),
            Event::Persisted => {
                watch.persisted();
                pass.persisted();
            }
            Event::Wrote(step, reply) => {
                watch.effect();
                let wrote = self.reply(step, reply, told.uid, &mut watch);
                pass.wrote(&self.brief(told), wrote, records::now(told.late));
            }
        }
        self.decide(told, pass, watch)
    }

    fn reply(&self, step: Step, reply: Reply, uid: Uid, watch: &mut Watch) -> Wrote {
        match reply {
            Reply::Answered(records) => {
                watch.answered(step, records, uid);
                let sighting = records::sighting(records, step.system(), self.markers);
                Wrote::Answered(Box::new(sighting.expect("a record's step")))
            }
            Reply::Announced(by_this_request) => {
                watch.acknowledged(by_this_request);
                Wrote::Announced(by_this_request)
            }
            Reply::LookAgain => {
                watch.unanswered(step.system());
                Wrote::LookAgain
            }
            Reply::Refused => Wrote::Refused,
            Reply::OtherHandoff => Wrote::OtherHandoff,
            Reply::NotApplied => Wrote::NotApplied(Trouble::Unavailable.into()),
            Reply::Unknown => Wrote::Unknown(Trouble::Unavailable.into()),
        }
    }

    /// Asks the core what is next.
    fn decide(&self, told: Told, mut pass: Pass, mut watch: Watch) -> Stand {
        let before = outcomes(pass.ledger());
        let decision = pass.next(&self.brief(told), records::now(told.late));
        watch.settled(before, outcomes(pass.ledger()), self.markers);
        self.coverage.decided(&decision, pass.ledger());
        let (order, end) = match decision {
            Decision::Observe(systems, step) => {
                (Order::Look(systems.into_iter().map(flag).fold(0, |set, system| set | system), step), None)
            }
            Decision::Ask => (Order::Ask, None),
            Decision::Probe => (Order::Probe, None),
            Decision::Persist => (Order::Persist, None),
            Decision::Write(order) => {
                let (sent, is_exact) = self.sent(&order, told.uid);
                watch.ordered(sent, is_exact, self.recheck);
                (Order::Send(sent), None)
            }
            Decision::Wait(wait) => (Order::End, Some(End::Wait(wait.reason))),
            Decision::Halt(findings) => (Order::End, Some(End::Halt(findings))),
            Decision::Done => (Order::End, Some(End::Done)),
            Decision::Planned(_) => unreachable!("no brief here is a plan"),
        };
        self.stand(Node { told, pass, order, end, watch })
    }

    fn stand(&self, node: Node) -> Stand {
        let (order, broken) = (node.order, node.watch.broken);
        Stand { node: self.nodes.number(node), order, broken }
    }

    /// An order as it goes over the wire, and whether each of its fields is what the spec and the step want.
    fn sent(&self, order: &Verified, uid: Uid) -> (Sent, bool) {
        let step = order.step();
        let foreign = records::foreign_link();
        let (is_change, keeps_foreign_link) = match (step, order.change()) {
            (Step::CloseChecklist, Change::Close) | (Step::ClearQueueEntry, Change::Clear) => (true, true),
            (Step::ApproveTracker, Change::Approve { state }) => (state == "Approved", true),
            (Step::AttachEvidence, Change::Attach { others, bundle, digest, url }) => {
                let is_ours = bundle == records::BUNDLE && *digest == records::digest('a') && url == records::URL;
                (is_ours, others.contains(&foreign))
            }
            (Step::NotifyCoordinator, Change::Announce(body)) => {
                let links = body.links.iter().map(|link| link.url.as_str()).collect::<Vec<_>>();
                (body.closure_key == records::KEY && body.release_id == "r" && links == [records::URL], true)
            }
            _ => (false, true),
        };
        let record = match step {
            Step::CloseChecklist => "c",
            Step::ApproveTracker | Step::AttachEvidence => "t",
            Step::ClearQueueEntry => "q",
            Step::NotifyCoordinator => records::KEY,
        };
        let marker = order.marker();
        let is_exact =
            is_change && order.record() == record && marker.key == records::KEY && marker.uid == records::uid(uid);
        let revision = order.revision().and_then(|revision| revision.0.parse().ok());
        (Sent { step, uid, revision, keeps_foreign_link }, is_exact)
    }

    /// The ledger of a pass that wants its intent stored.
    pub fn draft(&self, node: u32) -> Stored {
        self.drafts.get_or(node, |_| self.store(self.nodes.value(node).pass.ledger().clone()))
    }

    /// What a pass that has ended came to: what is stored, and what the process remembers.
    pub fn end(&self, node: u32) -> Ended {
        self.ended.get_or(node, |_| {
            let node = self.nodes.value(node);
            let (told, pass, mut broken) = (node.told, node.pass.clone(), node.watch.broken);
            let forgotten = Ended {
                standing: Standing::Halted,
                stored: self.empty(),
                ineffective: None,
                intake_away: false,
                announced: false,
                settling: false,
                broken,
            };
            match node.end.as_ref().expect("a pass that has ended") {
                End::Wait(reason) => {
                    let announced = pass.may_have_announced();
                    let (ledger, Memory { ineffective, intake_away, settling, intent_seen_for: _ }) = pass.into_parts();
                    let standing = Standing::Waiting(*reason);
                    let stored = self.store(ledger);
                    Ended { standing, stored, ineffective, intake_away, announced, settling, broken }
                }
                End::Halt(findings) => {
                    let (mut ledger, _) = pass.into_parts();
                    halt::latch(&mut ledger, &records::uid(told.uid), findings.clone(), records::now(told.late));
                    Ended { stored: self.store(ledger), ..forgotten }
                }
                End::Done => {
                    let mut pass = pass;
                    pass.conclude(&self.brief(told));
                    let (ledger, _) = pass.into_parts();
                    if trace::verify(&records::accepted(), &records::uid(told.uid), &ledger).is_err() {
                        broken |= Rule::S11.bit();
                    }
                    Ended { standing: Standing::Closed, stored: self.store(ledger), broken, ..forgotten }
                }
            }
        })
    }

    /// Whether a ledger holds an intent.
    pub fn intends(&self, ledger: u32) -> bool {
        outcomes(&self.ledgers.value(ledger))[Step::NotifyCoordinator.index()] == Outcome::Intended
    }

    /// The settled steps of one ledger laid over another, as `Draft::lay_over` of the driver does it.
    pub fn lay_over(&self, theirs: u32, own: u32) -> Stored {
        self.laid.get_or((theirs, own), |_| {
            let (mut theirs, own) = ((*self.ledgers.value(theirs)).clone(), self.ledgers.value(own));
            for (their, own) in theirs.steps.iter_mut().zip(&own.steps) {
                if own.outcome.is_settled() && !their.outcome.is_settled() {
                    *their = own.clone();
                }
            }
            self.store(theirs)
        })
    }

    /// Whether what is settled in one ledger is so in another, too, as `Draft::lay_over` asks before an end is stored.
    pub fn agrees(&self, theirs: u32, own: u32) -> bool {
        let (theirs, own) = (self.ledgers.value(theirs), self.ledgers.value(own));
        theirs.steps.iter().zip(&own.steps).all(|(their, own)| !their.outcome.is_settled() || their == own)
    }

    /// Acts on a coordinator's answer. False: it does nothing.
    pub fn resolve(&self, ledger: u32, answer: Answer) -> (Stored, bool) {
        self.resolved.get_or((ledger, answer), |_| {
            let mut ledger = (*self.ledgers.value(ledger)).clone();
            let halt_id = ledger.halt.as_ref().map(|halt| halt.id.clone()).expect("a halted closure");
            let (decision, handoff) = match answer {
                Answer::Resume(handoff) => (Resolved::Resume, handoff),
                Answer::Abandon => (Resolved::Abandon, None),
            };
            let resolution = Resolution { decision, halt_id, handoff, resolved_by: None };
            let released = halt::resolve(&mut ledger, &resolution, records::now(false));
            (self.store(ledger), released != Released::Rejected)
        })
    }

    /// A ledger with the halt of an earlier object of the closure.
    pub fn take_over(&self, ledger: u32, halt: u32) -> Stored {
        let mut ledger = (*self.ledgers.value(ledger)).clone();
        ledger.halt = Some((*self.halts.value(halt)).clone());
        self.store(ledger)
    }

    /// Whether a packet of this halt holds an object with this ledger.
    pub fn holds(&self, ledger: u32, halt: u32) -> bool {
        self.held.get_or((ledger, halt), |_| {
            let id = &self.halts.value(halt).id;
            self.ledgers.value(ledger).halts.iter().all(|past| past.id != *id)
        })
    }
}

fn outcomes(ledger: &Ledger) -> Outcomes {
    Step::ALL.map(|step| ledger.step(step).outcome)
}
