//! What becomes of one request or status write: how the faults of a plan bend its course.

use super::plan::{CALM, How, Moment, What, When};
use super::world::World;
use releaseclosure::sandbox::{Effect, Role};

/// What becomes of one request.
pub struct Course {
    /// When it takes effect, if it ever does, and how.
    pub lands: Option<(u64, Effect, bool)>,
    /// When its sender hears of it, if ever.
    pub heard: Option<u64>,
    pub reply: Reply,
    pub crash: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Answer,
    NotSent,
    Broken,
    Garbage,
    CutOff,
    Page,
    Status { code: u16, retry_after: Option<u32>, own: bool },
}

/// What becomes of one status write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreCourse {
    Fine,
    Fails { applied: bool },
    Crash(Moment),
}

impl World {
    /// The faults that wait for this.
    fn waiting(&self, when: When) -> Vec<usize> {
        if self.now >= CALM {
            return Vec::new();
        }
        let faults = self.plan.faults.iter().enumerate();
        faults.filter(|(_, fault)| fault.when == when).map(|(index, _)| index).collect()
    }

    /// What becomes of the next request to a system.
    pub fn course(&mut self, role: Role, write: bool) -> Course {
        let count = &mut self.asked[role as usize][usize::from(write)];
        *count += 1;
        let when = When::Request { role, write, nth: *count };
        let (to, back) = (self.rng.u64(1..6), self.rng.u64(1..6));
        let mut course = Course {
            lands: Some((self.now + to, Effect::Apply, false)),
            heard: Some(self.now + to + back),
            reply: Reply::Answer,
            crash: None,
        };
        for index in self.waiting(when) {
            let what = self.plan.faults[index].what;
            if self.bend(&mut course, &what, role, write) {
                self.log.fired.push(what.kind());
            } else {
                self.fire(index);
            }
        }
        if self.ignoring[role as usize] > 0 && write {
            self.ignoring[role as usize] -= 1;
            if let Some((_, effect, _)) = &mut course.lands {
                *effect = Effect::Ignore;
            }
        }
        if self.now < self.revoked[role as usize] {
            course.lands = None;
            course.reply = Reply::Status { code: 401, retry_after: None, own: true };
        }
        self.outages.retain(|(.., until)| *until > self.now);
        if let Some((_, how, _)) = self.outages.iter().find(|(out, ..)| *out == role) {
            match how {
                How::Refused => (course.lands, course.reply) = (None, Reply::NotSent),
                How::Hanging => (course.lands, course.heard) = (None, None),
                How::Unavailable => {
                    course.lands = None;
                    course.reply = Reply::Status { code: 503, retry_after: None, own: false };
                }
                How::Slow => {
                    course.lands = course.lands.map(|(at, effect, stale)| (at + 100 * to, effect, stale));
                    course.heard = course.heard.map(|at| at + 100 * (to + back));
                }
            }
        }
        course
    }

    /// Bends the course of one request; false where the fault is not one of requests.
    fn bend(&mut self, course: &mut Course, what: &What, role: Role, write: bool) -> bool {
        match *what {
            What::Crash(moment) => course.crash = Some(moment),
            What::Lose { hang } => {
                course.lands = None;
                course.reply = Reply::Broken;
                course.heard = course.heard.filter(|_| !hang);
            }
            What::LoseReply { hang } => {
                course.reply = Reply::Broken;
                course.heard = course.heard.filter(|_| !hang);
            }
            What::Late { milliseconds } => {
                course.lands = course.lands.map(|(at, effect, stale)| (at + milliseconds, effect, stale));
                course.heard = None;
            }
            What::Status { code, retry_after, own, applied } => {
                course.reply = Reply::Status { code, retry_after, own };
                course.lands = course.lands.filter(|_| applied);
            }
            What::Garbage => course.reply = Reply::Garbage,
            What::CutOff => course.reply = Reply::CutOff,
            What::Page => course.reply = Reply::Page,
            What::Stale => course.lands = course.lands.map(|(at, effect, _)| (at, effect, true)),
            What::Lie if write => course.lands = course.lands.map(|(at, _, stale)| (at, Effect::Lie, stale)),
            What::Ignore { times } if write => self.ignoring[role as usize] = times,
            _ => return false,
        }
        true
    }

    /// What becomes of the next status write of an object.
    pub fn store_course(&mut self, slot: usize) -> StoreCourse {
        self.stores += 1;
        let mut course = StoreCourse::Fine;
        for index in self.waiting(When::Store(self.stores)) {
            let what = self.plan.faults[index].what;
            match what {
                What::Crash(moment) => course = StoreCourse::Crash(moment),
                What::StoreFails { applied } => course = StoreCourse::Fails { applied },
                What::Conflict { spec } => {
                    self.cluster.touch(slot, spec);
                    self.tell(slot, spec);
                }
                _ => continue,
            }
            self.log.fired.push(what.kind());
        }
        course
    }
}
