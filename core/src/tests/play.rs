//! Plays a pass against a world that does as it is told, and takes down what happens, a line each.

use super::fixture::*;
use crate::decide::{Brief, Decision, HandoffBody, Pass, Verified, Wrote};
use crate::ids::{Step, System};
use crate::snapshot::{EvidenceLink, Marking, Observation, Progress, Revision, Unreachable};
use std::collections::VecDeque;

pub(crate) struct Play {
    pub(crate) world: World,
    pub(crate) pass: Pass,
    pub(crate) log: Vec<String>,
    /// What becomes of the next writes; where there is none, they are made.
    pub(crate) replies: VecDeque<Wrote>,
    /// What the intake says when it is asked, and whether it is there.
    pub(crate) answer: Result<bool, Unreachable>,
    pub(crate) presence: Result<(), Unreachable>,
    pub(crate) announced: Vec<HandoffBody>,
}

pub(crate) fn play(world: World) -> Play {
    let pass = Pass::begin(world.ledger.clone());
    let (log, replies, announced) = (Vec::new(), VecDeque::new(), Vec::new());
    Play { world, pass, log, replies, answer: Ok(false), presence: Ok(()), announced }
}

fn names(systems: &[System]) -> String {
    systems.iter().map(|system| system.as_str()).collect::<Vec<_>>().join(" ")
}

/// How a pass ends, in a line.
pub(crate) fn end(decision: &Decision) -> String {
    match decision {
        Decision::Wait(wait) => {
            let mut line = format!("wait {} for {}", wait.reason, names(&wait.systems));
            if let Some(after) = wait.retry_after {
                line += &format!(" {after:?}");
            }
            if !wait.unauthorized.is_empty() {
                line += &format!(" unauthorized {}", names(&wait.unauthorized));
            }
            line
        }
        Decision::Halt(findings) => format!("halt {}", findings.iter().map(line).collect::<Vec<_>>().join("; ")),
        Decision::Planned(findings) => format!("planned {}", findings.iter().map(line).collect::<Vec<_>>().join("; ")),
        other => format!("{other:?}").to_lowercase(),
    }
}

impl Play {
    pub(crate) fn brief(&self) -> &Brief {
        &self.world.brief
    }

    /// One decision, carried out. Gives it where the pass ends with it.
    pub(crate) fn step(&mut self) -> Option<Decision> {
        let decision = self.pass.next(&self.world.brief, now());
        match decision {
            Decision::Observe(systems, before) => {
                let before = before.map_or_else(String::new, |step| format!(" before {step}"));
                self.log.push(format!("look {}{before}", names(&systems)));
                let epoch = self.pass.epoch();
                systems.iter().for_each(|system| self.pass.observed(self.world.sighting(*system), epoch));
            }
            Decision::Ask => {
                self.log.push(text("ask"));
                self.pass.asked(self.answer);
            }
            Decision::Probe => {
                self.log.push(text("probe"));
                self.pass.probed(self.presence);
            }
            Decision::Persist => {
                self.log.push(text("persist"));
                self.pass.persisted();
            }
            Decision::Write(order) => {
                let revision = order.revision().map_or("-", |revision| &revision.0);
                self.log.push(format!("write {} {} {revision}", order.step(), order.record()));
                let wrote = self.replies.pop_front().unwrap_or_else(|| self.make(&order));
                self.pass.wrote(&self.world.brief.clone(), wrote, now());
            }
            end => return Some(end),
        }
        None
    }

    /// Everything up to the end of the pass; the log's last line is how it ends.
    pub(crate) fn run(&mut self) -> Decision {
        loop {
            assert!(self.log.len() < 60, "it does not end: {:#?}", self.log);
            if let Some(ending) = self.step() {
                self.log.push(end(&ending));
                return ending;
            }
        }
    }

    /// Up to the write of this step, which is not made.
    pub(crate) fn until(&mut self, step: Step) -> Verified {
        for _ in 0..60 {
            let decision = self.pass.next(&self.world.brief, now());
            match decision {
                Decision::Write(order) if order.step() == step => return order,
                Decision::Write(order) => {
                    let wrote = self.make(&order);
                    self.pass.wrote(&self.world.brief.clone(), wrote, now());
                }
                Decision::Observe(systems, _) => {
                    let epoch = self.pass.epoch();
                    systems.iter().for_each(|system| self.pass.observed(self.world.sighting(*system), epoch));
                }
                Decision::Persist => self.pass.persisted(),
                other => panic!("it ends before {step}: {other:?}"),
            }
        }
        panic!("{step} never comes")
    }

    /// The change as a system makes it: the record, the marker, the next revision.
    pub(crate) fn make(&mut self, order: &Verified) -> Wrote {
        let marker = Marking::By(order.marker());
        match order.change() {
            crate::order::Change::Announce(body) => {
                self.announced.push(body.clone());
                return Wrote::Announced(true);
            }
            crate::order::Change::Close => {
                (self.world.list().state, self.world.list().marking) = (Progress::Done(text("Closed")), marker);
                again(&mut self.world.checklist);
            }
            crate::order::Change::Approve { state } => {
                (self.world.track().state, self.world.track().marking) = (state.clone(), marker);
                again(&mut self.world.tracker);
            }
            crate::order::Change::Attach { others, bundle, digest, url } => {
                let (bundle, digest, url) = (bundle.clone(), digest.clone(), url.clone());
                let mut links = others.clone();
                links.push(EvidenceLink { bundle, digest, url, marking: marker, as_read: text("{}") });
                self.world.track().evidence = links;
                again(&mut self.world.tracker);
            }
            crate::order::Change::Clear => {
                (self.world.entry().state, self.world.entry().marking) = (Progress::Done(text("Cleared")), marker);
                again(&mut self.world.queue);
            }
        }
        Wrote::Answered(Box::new(self.world.sighting(order.step().system())))
    }
}

fn again<R>(observation: &mut Observation<R>) {
    if let Observation::Found(_, Revision(revision)) = observation {
        *revision = format!("{}1\"", revision.trim_end_matches('"'));
    }
}
