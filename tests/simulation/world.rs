//! The world: six systems (the reference implementation of their contract, without its sockets), a store of objects, a clock
//! that only this world has, what is on its way, and a log of everything.
//!
//! Effects that are on their way are kept by the time at which they land. Whoever looks at the world lets everything land
//! first that is due; so it does not matter whether the one who sent it still lives.

use super::cluster::Cluster;
use super::log::{Asked, Doing, Log};
use super::plan::{CALM, Fault, How, Plan, What, When};
use super::records::Truth;
use fastrand::Rng;
use http::{HeaderMap, Method, Request};
use releaseclosure::sandbox::{Answer, Effect, Role, Sandbox};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The first moment of every world, in seconds of Unix time.
const GENESIS: i64 = 1_790_000_000;

#[derive(Clone)]
pub struct Shared {
    world: Arc<Mutex<World>>,
    pub start: Instant,
    pub changed: Arc<Notify>,
}

/// What lands later.
pub enum Due {
    Serve(usize, Box<Parts>),
    Fault(usize),
    Create { slot: usize },
    Watch { host: usize, slot: usize, wake: bool },
    Start { host: usize },
    Stop { host: usize },
    Resolve { packet: String },
    List,
}

/// A request on its way.
pub struct Parts {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub effect: Effect,
    pub stale: bool,
}

/// What the director is to do.
pub enum Order {
    Start(usize),
    Kill(usize),
}

pub struct HostState {
    /// Counts its processes; those of an earlier life are dead.
    pub life: u32,
    pub runs: bool,
    /// How far its clock is off, in seconds.
    pub clock: i64,
    pub views: Vec<Option<View>>,
    pub wakes: Vec<Arc<Notify>>,
}

/// What a host's watch shows of an object.
#[derive(Clone, Debug)]
pub struct View {
    pub uid: String,
    pub generation: i64,
    pub created: u64,
    pub unfinished: bool,
}

pub struct World {
    pub plan: Plan,
    pub truths: Vec<Truth>,
    pub sandbox: Arc<Sandbox>,
    pub cluster: Cluster,
    pub log: Log,
    pub hosts: [HostState; 2],
    pub orders: Vec<Order>,
    pub rng: Rng,
    pub now: u64,
    pub answers: BTreeMap<usize, Answer>,
    due: BTreeMap<(u64, u64), Due>,
    sequence: u64,
    pub asked: [[u32; 2]; 6],
    pub stores: u32,
    pub outages: Vec<(Role, How, u64)>,
    pub revoked: [u64; 6],
    pub ignoring: [u8; 6],
    watches: (u64, u64),
    /// Until when no watch is open, and what it would have told: of which objects, and whether they are to be looked at.
    cut: (u64, BTreeMap<usize, bool>),
    pub reads_fail_until: u64,
    changed: Arc<Notify>,
}

impl Shared {
    pub fn new(plan: Plan) -> Shared {
        let truths: Vec<Truth> =
            plan.closures.iter().enumerate().map(|(index, closure)| Truth::of(index, closure)).collect();
        let sandbox = Sandbox::in_memory(Truth::seed(&truths, &plan)).expect("the records are good ones");
        let cluster = Cluster::new(&truths);
        let changed = Arc::new(Notify::new());
        let slots = cluster.slots.len();
        let host = || HostState {
            life: 0,
            runs: false,
            clock: 0,
            views: vec![None; slots],
            wakes: (0..slots).map(|_| Arc::new(Notify::new())).collect(),
        };
        let mut world = World {
            rng: Rng::with_seed(plan.seed ^ 0x5eed),
            truths,
            sandbox,
            cluster,
            log: Log::default(),
            hosts: [host(), host()],
            orders: Vec::new(),
            now: 0,
            answers: BTreeMap::new(),
            due: BTreeMap::new(),
            sequence: 0,
            asked: [[0; 2]; 6],
            stores: 0,
            outages: Vec::new(),
            revoked: [0; 6],
            ignoring: [0; 6],
            watches: (0, 0),
            cut: (0, BTreeMap::new()),
            reads_fail_until: 0,
            changed: changed.clone(),
            plan,
        };
        world.later(0, Due::Start { host: 0 });
        for slot in 0..slots {
            world.later(world.cluster.slots[slot].created, Due::Create { slot });
        }
        for index in 0..world.plan.faults.len() {
            if let When::At(at) = world.plan.faults[index].when {
                world.later(at, Due::Fault(index));
            }
        }
        Shared { world: Arc::new(Mutex::new(world)), start: Instant::now(), changed }
    }

    /// The world as it is now: everything that is due has landed.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        world.advance(now);
        world
    }

    pub fn at(&self, milliseconds: u64) -> Instant {
        self.start + Duration::from_millis(milliseconds)
    }

    /// Waits so long, in the world's time, and looks whether this process still lives; if not, never comes back.
    pub async fn pause(&self, (host, life): (usize, u32), milliseconds: u64) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        let alive = self.lock().hosts[host].life == life;
        if !alive {
            std::future::pending::<()>().await;
        }
    }
}

impl World {
    pub fn later(&mut self, at: u64, due: Due) {
        self.sequence += 1;
        self.due.insert((at, self.sequence), due);
        self.changed.notify_one();
    }

    pub fn next_due(&self) -> Option<u64> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// Whether something is still on its way, other than what is only told.
    pub fn is_pending(&self) -> bool {
        !self.due.is_empty() || !self.orders.is_empty()
    }

    /// Whether an announcement of this key is still on its way.
    pub fn is_announcing(&self, key: &str) -> bool {
        self.due.values().any(|due| match due {
            Due::Serve(index, _) => {
                self.log.asked[*index].step == Some(4) && self.log.asked[*index].record.as_deref() == Some(key)
            }
            _ => false,
        })
    }

    pub fn clock(&self, host: usize) -> jiff::Timestamp {
        let seconds = GENESIS + i64::try_from(self.now / 1000).unwrap_or_default() + self.hosts[host].clock;
        jiff::Timestamp::from_second(seconds).expect("within the calendar")
    }

    fn advance(&mut self, now: u64) {
        while let Some(entry) = self.due.first_entry() {
            let at = entry.key().0;
            if at > now {
                break;
            }
            let due = entry.remove();
            self.now = self.now.max(at);
            self.land(due);
        }
        self.now = self.now.max(now);
    }

    fn land(&mut self, due: Due) {
        match due {
            Due::Serve(index, parts) => self.serve(index, *parts),
            Due::Fault(index) => self.fire(index),
            Due::Create { slot } => {
                self.cluster.create(slot, self.now);
                self.tell(slot, true);
            }
            Due::Watch { host, slot, wake } => {
                self.hosts[host].views[slot] = self.cluster.view(slot);
                // What concerns an object concerns those of the same key, who may have waited for it.
                let truth = self.cluster.slots[slot].truth;
                if wake {
                    let at = self.log.now(self.now);
                    self.log.woken.push((at, host, truth));
                }
                for (other, wakes) in self.hosts[host].wakes.iter().enumerate() {
                    if wake && self.cluster.slots[other].truth == truth {
                        wakes.notify_one();
                    }
                }
            }
            // Of all that nobody was told in between, a new list has the end alone.
            Due::List if self.now < self.cut.0 => {}
            Due::List => {
                for (slot, wake) in std::mem::take(&mut self.cut.1) {
                    self.tell(slot, wake);
                }
            }
            Due::Start { host } => self.orders.push(Order::Start(host)),
            Due::Stop { host } => self.kill(host),
            Due::Resolve { packet } => super::people::resolve(self, &packet),
        }
    }

    /// A process is no more; another takes its place after a while, unless it was the second one.
    pub fn crash(&mut self, host: usize) {
        self.kill(host);
        let after = self.now + self.rng.u64(100..6_000);
        if host == 0 {
            self.later(after, Due::Start { host });
        }
    }

    fn kill(&mut self, host: usize) {
        self.hosts[host].life += 1;
        self.hosts[host].runs = false;
        self.orders.push(Order::Kill(host));
        self.changed.notify_one();
    }

    /// Tells the watches of an object, and whether it and those of its key are to be looked at.
    pub fn tell(&mut self, slot: usize, wake: bool) {
        if self.now < self.cut.0 {
            *self.cut.1.entry(slot).or_default() |= wake;
            return;
        }
        let (delay, until) = self.watches;
        for host in 0..2 {
            let delay = if self.now < until { delay } else { 0 };
            let at = self.now + delay + self.rng.u64(1..6);
            self.later(at, Due::Watch { host, slot, wake });
        }
    }

    fn serve(&mut self, index: usize, parts: Parts) {
        let Parts { method, target, headers, body, effect, stale } = parts;
        let mut request = Request::new(body.into());
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().expect("a path");
        *request.headers_mut() = headers;
        let record = |sandbox: &Sandbox, asked: &Asked| {
            let (role, id) = (asked.role, asked.record.as_deref()?);
            sandbox.record(role, id).map(|version| (version.value, version.revision))
        };
        let before = record(&self.sandbox, &self.log.asked[index]);
        let answer = self.sandbox.answer(request, effect, stale, self.clock(0));
        let after = record(&self.sandbox, &self.log.asked[index]);
        let marks = match self.log.asked[index].role {
            Role::Checklist => self.plan.markers[0],
            Role::Tracker => self.plan.markers[1],
            Role::Queue => self.plan.markers[2],
            Role::Governance | Role::Archive | Role::Intake | Role::FollowUp => true,
        };
        self.log.served(index, self.now, (before, after), &answer, (effect, stale, marks));
        self.answers.insert(index, answer);
    }

    /// A fault that is not of one request or status write begins.
    pub fn fire(&mut self, index: usize) {
        if self.now >= CALM {
            return;
        }
        let Fault { what, .. } = self.plan.faults[index].clone();
        match what {
            What::Outage { role, how, lasts } => self.outages.push((role, how, self.now + lasts)),
            What::Revoked { role, lasts } => self.revoked[role as usize] = self.now + lasts,
            What::ReadFails { lasts } => self.reads_fail_until = self.now + lasts,
            What::Watches { delay, lasts } => self.watches = (delay, self.now + lasts),
            What::Cut { lasts } => {
                self.cut.0 = self.now + lasts;
                self.later(self.cut.0, Due::List);
            }
            What::Clock { seconds } => self.hosts[0].clock += seconds,
            What::SecondHost { lasts } => {
                self.later(self.now, Due::Start { host: 1 });
                self.later(self.now + lasts, Due::Stop { host: 1 });
            }
            What::Recreate { closure } => {
                let Some(slot) = self.cluster.recreate(closure, self.now) else { return };
                self.log.done(self.now, closure, Doing::Recreate);
                self.tell(slot, true);
            }
            What::Does { closure, deed } => {
                let done = self.truths[closure].people(&self.sandbox, deed);
                if !done {
                    return;
                }
                self.log.done(self.now, closure, Doing::Deed(deed));
            }
            // The others are of one request or status write.
            _ => return,
        }
        self.log.fired.push(what.kind());
    }
}
