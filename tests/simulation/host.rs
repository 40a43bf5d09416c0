//! One operator process: an agenda of its objects, and for each pass what the controller does, in the controller's order. The
//! loop of a pass, what it remembers, what it makes of the status and how a fact is stored are the production code; here is
//! only what stands in a cluster behind them.

use super::cluster::{Cluster, Packet};
use super::course::StoreCourse;
use super::log::PassEntry;
use super::network::{Network, PASS};
use super::plan::{Moment, Plan};
use super::world::Shared;
use releaseclosure::api::ReleaseClosureStatus;
use releaseclosure::api::conditions::Standing;
use releaseclosure::closure::accepted::{Accepted, OpenItems, Rules};
use releaseclosure::closure::decide::{Brief, Delivery, IntakeTerms, Memory, Pass};
use releaseclosure::closure::halt::{self, Released};
use releaseclosure::closure::ids::{Step, System};
use releaseclosure::closure::ledger::{Decision, NameRef, ObjectVersion, PastHalt, PlaybookVersion, Retry};
use releaseclosure::closure::reason::Reason;
use releaseclosure::closure::snapshot::{Trouble, Unreachable};
use releaseclosure::controller::draft::{self, Draft, Fresh, Objects, Stored};
use releaseclosure::drive::{self, End, Fenced, Remembered, Stopped, Unstored};
use releaseclosure::providers::http::connect_over;
use releaseclosure::providers::{LimitSettings, Product, Secrets, Settings};
use releaseclosure::roles::{Connected, Probe};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How a waiting closure tries again: from here to there.
pub const INITIAL: Duration = Duration::from_secs(1);
pub const MAX: Duration = Duration::from_secs(60);
pub const TIMEOUT: Duration = Duration::from_secs(10);

pub struct Operator {
    shared: Shared,
    host: usize,
    life: u32,
    systems: [Connected; 6],
    rules: Rules,
    intake: IntakeTerms,
    memory: Mutex<BTreeMap<String, Remembered>>,
    unauthorized: Mutex<[bool; 6]>,
    probed: Mutex<[Option<u64>; 6]>,
    keys: Vec<tokio::sync::Mutex<()>>,
}

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    OnChange,
    AtOnce,
    After(Duration),
}

/// Why a pass came to nothing.
enum Failed {
    Superseded,
    ApiServer,
}

/// The API server gave no answer, or said no.
pub struct NoAnswer;

impl From<Unstored<NoAnswer>> for Failed {
    fn from(unstored: Unstored<NoAnswer>) -> Failed {
        match unstored {
            Unstored::Superseded => Failed::Superseded,
            Unstored::Failed(NoAnswer) => Failed::ApiServer,
        }
    }
}

pub fn version(name: &str) -> ObjectVersion {
    ObjectVersion { name: name.to_owned(), uid: format!("{name}-uid"), generation: 1 }
}

fn rules(plan: &Plan) -> Rules {
    Rules {
        accepted_states: vec!["Accepted".to_owned()],
        required_artifacts: vec!["sign-off".to_owned()],
        open_items: OpenItems::Halt,
        approved_state: "Approved".to_owned(),
        approvable_states: vec!["InReview".to_owned()],
        recheck: plan.recheck,
        missing_grace: Duration::from_secs(plan.grace_seconds),
    }
}

impl Operator {
    pub fn new(shared: &Shared, host: usize, life: u32, plan: &Plan) -> Operator {
        let limits = LimitSettings {
            requests_per_second: if plan.tight { 4.0 } else { 1_000.0 },
            concurrency: if plan.tight { 1 } else { 8 },
            timeout: TIMEOUT,
        };
        let settings = Settings {
            product: Product::Http {
                endpoint: "https://systems.example/closure/v1".to_owned(),
                delivery: plan.delivery,
            },
            token: None,
            ca_pem: None,
            client_certificate_pem: None,
            secrets: Secrets::default(),
            limits,
            allow_plaintext: false,
            allow_loopback: false,
            meter: Arc::default(),
        };
        let network = Arc::new(Network { shared: shared.clone(), host, life });
        let systems =
            System::ALL.map(|_| connect_over(&settings, network.clone()).unwrap_or_else(|why| panic!("{why}")));
        let terms = IntakeTerms {
            delivery: plan.delivery,
            can_look_up: plan.delivery != Delivery::None,
            window: None,
            settling: drive::settling(TIMEOUT),
        };
        Operator {
            shared: shared.clone(),
            host,
            life,
            systems,
            rules: rules(plan),
            intake: terms,
            memory: Mutex::default(),
            unauthorized: Mutex::default(),
            probed: Mutex::default(),
            keys: plan.closures.iter().map(|_| tokio::sync::Mutex::default()).collect(),
        }
    }

    /// Looks after one name for as long as the process lives.
    pub async fn tend(self: Arc<Self>, slot: usize) {
        let (wake, truth) = {
            let world = self.shared.lock();
            (world.hosts[self.host].wakes[slot].clone(), world.cluster.slots[slot].truth)
        };
        loop {
            let next = {
                let _turn = self.keys[truth].lock().await;
                self.attempt(slot).await
            };
            match next {
                Next::OnChange => wake.notified().await,
                Next::AtOnce => tokio::time::sleep(Duration::from_millis(fastrand::u64(1..20))).await,
                // Whichever comes first.
                Next::After(pause) => drop(tokio::time::timeout(pause, wake.notified()).await),
            }
        }
    }

    async fn attempt(&self, slot: usize) -> Next {
        self.shared.pause((self.host, self.life), 1).await;
        let (object, pass) = {
            let mut world = self.shared.lock();
            let Some(object) = world.cluster.slots[slot].object else { return Next::OnChange };
            let now = world.now;
            let started = world.log.now(now);
            let (host, life, generation) = (self.host, self.life, world.cluster.objects[object].generation);
            world.log.passes.push(PassEntry { host, life, object, slot, generation, started, ended: None });
            (object, world.log.passes.len() - 1)
        };
        let subject = Subject { operator: self, slot, object, pass };
        let (next, ending) = match PASS.scope(pass, Box::pin(subject.pass())).await {
            Ok(ended) => ended,
            Err(Failed::Superseded) => (Next::AtOnce, "superseded"),
            Err(Failed::ApiServer) => {
                let uid = self.shared.lock().cluster.objects[object].uid.clone();
                let failures = self.memory().entry(uid).or_default().failed();
                (Next::After(drive::after_failures(failures, fastrand::f64())), "API server")
            }
        };
        let mut world = self.shared.lock();
        let now = world.now;
        let at = world.log.now(now);
        world.log.passes[pass].ended = Some((at, ending));
        next
    }

    fn memory(&self) -> MutexGuard<'_, BTreeMap<String, Remembered>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn probed(&self) -> MutexGuard<'_, [Option<u64>; 6]> {
        self.probed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lacks_access(&self) -> MutexGuard<'_, [bool; 6]> {
        self.unauthorized.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The object of one pass.
struct Subject<'a> {
    operator: &'a Operator,
    slot: usize,
    object: usize,
    pass: usize,
}

/// What a pass knows of its object from the start.
struct Known {
    uid: String,
    truth: usize,
    generation: i64,
    created: u64,
    accepted: Accepted,
}

type Ended = (Next, &'static str);

impl Subject<'_> {
    async fn pass(&self) -> Result<Ended, Failed> {
        let operator = self.operator;
        let fresh = Objects::read(&self.stored("")).await.map_err(|NoAnswer| Failed::ApiServer)?;
        let Some(Fresh { uid: Some(uid), resource_version, status }) = fresh else {
            return Ok((Next::OnChange, "gone"));
        };
        let known = {
            let world = operator.shared.lock();
            let object = &world.cluster.objects[self.object];
            let (truth, generation, created) = (object.truth, object.generation, object.created);
            Known { uid, truth, generation, created, accepted: object.accepted.clone() }
        };
        if status.completion_time.is_some() {
            operator.memory().remove(&known.uid);
            return Ok((Next::OnChange, "finished"));
        }
        let mut draft = Draft::of(status, resource_version);
        draft.ledger = draft.ledger.clone().checked().expect("a status of its own");
        if draft.ledger.halt.is_some() {
            return self.attend(&known, draft).await;
        }
        if let Some(packet) = self.held_by(&known, &draft) {
            return self.take_over(&known, draft, packet).await;
        }
        if self.has_older_sibling(&known) {
            operator.memory().remove(&known.uid);
            draft.ledger.stand_aside();
            draft.waits(Reason::DuplicateClosure, "An older one acts.".to_owned());
            self.store(&known, draft).await?;
            return Ok((Next::OnChange, "duplicate"));
        }
        self.work(&known, draft).await
    }

    fn held_by(&self, known: &Known, draft: &Draft) -> Option<Packet> {
        let world = self.operator.shared.lock();
        let holds = world.cluster.holds(known.truth);
        let mut open =
            holds.into_iter().filter(|packet| !draft.ledger.halts.iter().any(|past| past.id == packet.halt.id));
        open.next().cloned()
    }

    fn has_older_sibling(&self, known: &Known) -> bool {
        let world = self.operator.shared.lock();
        let own = (known.created, known.uid.as_str());
        world.cluster.slots.iter().enumerate().any(|(slot, other)| {
            other.truth == known.truth
                && slot != self.slot
                && world.hosts[self.operator.host].views[slot]
                    .as_ref()
                    .is_some_and(|view| view.unfinished && (view.created, view.uid.as_str()) < own)
        })
    }

    async fn attend(&self, known: &Known, mut draft: Draft) -> Result<Ended, Failed> {
        self.operator.memory().remove(&known.uid);
        let Some(halt) = draft.ledger.halt.clone() else { return Ok((Next::OnChange, "halted")) };
        let (packet, now) = {
            let mut world = self.operator.shared.lock();
            let packet = world.cluster.packets.get(&halt.id).cloned();
            if packet.is_none() {
                super::people::hand_over(&mut world, known.truth, self.pass, halt);
            }
            (packet, world.clock(self.operator.host))
        };
        let resolution = packet.and_then(|packet| packet.resolution);
        let Some(resolution) = resolution else {
            draft.standing = Standing::Unchanged;
            self.store(known, draft).await?;
            return Ok((Next::OnChange, "halted"));
        };
        match halt::resolve(&mut draft.ledger, &resolution, now) {
            Released::Resumed => {
                draft.standing = Standing::Working;
                self.store(known, draft).await?;
                Ok((Next::AtOnce, "resumed"))
            }
            Released::Abandoned => {
                draft.abandon(&known.accepted, &known.uid, now);
                self.store(known, draft).await?;
                Ok((Next::OnChange, "abandoned"))
            }
            Released::Rejected => Ok((Next::OnChange, "rejected")),
        }
    }

    async fn take_over(&self, known: &Known, mut draft: Draft, packet: Packet) -> Result<Ended, Failed> {
        self.operator.memory().remove(&known.uid);
        let Packet { halt, resolution, .. } = packet;
        if let Some(resolution) = resolution {
            let now = self.operator.shared.lock().clock(self.operator.host);
            let packet_ref = NameRef { name: halt.id.clone() };
            draft.ledger.halts.push(PastHalt {
                id: halt.id,
                cause: halt.cause,
                at: halt.at,
                packet_ref,
                decision: Decision::Abandon,
                handoff: None,
                resolved_by: resolution.resolved_by,
                resolved_at: now,
                superseded: None,
            });
            draft.ledger.episode += 1;
            draft.abandon(&known.accepted, &known.uid, now);
            self.store(known, draft).await?;
            return Ok((Next::OnChange, "abandoned"));
        }
        draft.halted(&halt);
        draft.ledger.halt = Some(halt);
        self.store(known, draft).await?;
        Ok((Next::OnChange, "halt taken over"))
    }

    async fn work(&self, known: &Known, mut draft: Draft) -> Result<Ended, Failed> {
        let operator = self.operator;
        if let Some(system) = self.unusable().await {
            let now = operator.shared.lock().clock(operator.host);
            let since =
                draft.ledger.retry.as_ref().filter(|old| old.waiting_for == [system]).map_or(now, |old| old.since);
            draft.ledger.retry = Some(Retry { since, waiting_for: vec![system], missing_since: BTreeMap::default() });
            draft.waits(Reason::ConnectionNotReady, "Not ready.".to_owned());
            operator.memory().entry(known.uid.clone()).or_default().could_not_begin();
            self.store(known, draft).await?;
            return Ok((Next::After(Duration::from_secs(60)), "connection not ready"));
        }
        let mut remembered = operator.memory().get(&known.uid).cloned().unwrap_or_default();
        let memory = remembered.begin(&draft.ledger);
        let brief = self.brief(known, memory);
        let ledger = std::mem::take(&mut draft.ledger);
        let mut host = Host { subject: self, known, brief: &brief, draft: &mut draft };
        let (pass, end) = match drive::work(&mut host, &brief, operator.systems.each_ref(), ledger).await {
            Ok(came) => came,
            Err(Stopped::Superseded) => return Ok((Next::AtOnce, "superseded")),
            Err(Stopped::Changed) => return Ok((Next::After(Duration::from_secs(1)), "changed")),
            Err(Stopped::LeaseTooShort) => return Ok((Next::After(Duration::from_secs(1)), "lease")),
            Err(Stopped::Failed(NoAnswer)) => return Err(Failed::ApiServer),
        };
        self.finish(known, &brief, draft, (pass, end), remembered).await
    }

    /// The first system that did not accept the credentials, and does not yet. What is locked or left alone is probed once a
    /// minute, as connections are while a closure needs them.
    async fn unusable(&self) -> Option<System> {
        let operator = self.operator;
        for system in System::ALL {
            let now = operator.shared.lock().now;
            let lacking = operator.lacks_access()[system as usize];
            let probed = operator.probed()[system as usize];
            let congested = operator.systems[system as usize].gate.congested();
            let is_probe_due = congested && probed.is_none_or(|at| now >= at + 60_000);
            if !lacking && !is_probe_due {
                continue;
            }
            operator.probed()[system as usize] = Some(now);
            let found = operator.systems[system as usize].prober.probe(system).await;
            let refused = |why: &Unreachable| {
                why.trouble == Trouble::Unauthorized || (lacking && why.trouble == Trouble::HeldBack)
            };
            let unauthorized = matches!(&found, Probe::Failed(why) if refused(why));
            operator.lacks_access()[system as usize] = unauthorized;
            if unauthorized {
                return Some(system);
            }
        }
        None
    }

    fn brief(&self, known: &Known, memory: Memory) -> Brief {
        let digest = super::records::digest('d');
        Brief {
            accepted: known.accepted.clone(),
            rules: self.operator.rules.clone(),
            uid: known.uid.clone(),
            plan: false,
            playbook: PlaybookVersion { name: "p".to_owned(), uid: "p-uid".to_owned(), generation: 1, digest },
            connections: System::ALL.map(|system| version(system.as_str())),
            intake: self.operator.intake,
            memory,
        }
    }

    async fn finish(
        &self,
        known: &Known,
        brief: &Brief,
        mut draft: Draft,
        (mut pass, end): (Pass, End),
        mut remembered: Remembered,
    ) -> Result<Ended, Failed> {
        let operator = self.operator;
        let now = operator.shared.lock().clock(operator.host);
        match end {
            End::Wait(wait) => {
                let progressed = draft.settled() < pass.ledger().settled();
                draft.take_wait(&pass, brief, &wait);
                remembered.waits(pass, progressed);
                let pause = remembered.pause(INITIAL, MAX, wait.retry_after, fastrand::f64());
                operator.memory().insert(known.uid.clone(), remembered);
                for system in &wait.unauthorized {
                    operator.lacks_access()[*system as usize] = true;
                }
                self.store_fact(known, draft).await?;
                Ok((Next::After(pause), wait.reason.as_str()))
            }
            End::Halt(findings) => {
                operator.memory().remove(&known.uid);
                draft.take(&pass, brief, Standing::Working);
                let halt = draft.latch(&known.uid, findings, now).expect("a halt has a finding");
                let cause = halt.cause.as_str();
                if self.store_fact(known, draft).await? == Stored::Steps {
                    return Ok((Next::AtOnce, "conflict"));
                }
                super::people::hand_over(&mut operator.shared.lock(), known.truth, self.pass, halt);
                Ok((Next::OnChange, cause))
            }
            End::Done => {
                operator.memory().remove(&known.uid);
                draft.take_close(&mut pass, brief, now);
                match self.store_fact(known, draft).await? {
                    Stored::Steps => Ok((Next::AtOnce, "conflict")),
                    Stored::Whole | Stored::Nothing => Ok((Next::OnChange, "closed")),
                }
            }
            End::Planned(_) => Ok((Next::OnChange, "planned")),
        }
    }

    fn stored<'b>(&'b self, uid: &'b str) -> Kept<'b> {
        Kept { subject: self, uid }
    }

    async fn store(&self, known: &Known, mut draft: Draft) -> Result<bool, Failed> {
        Ok(self.stored(&known.uid).write(&mut draft).await?)
    }

    async fn store_fact(&self, known: &Known, draft: Draft) -> Result<Stored, Failed> {
        Ok(draft::store_fact(&self.stored(&known.uid), &known.uid, draft).await?)
    }
}

/// What a pass has of its world while it works.
struct Host<'a> {
    subject: &'a Subject<'a>,
    known: &'a Known,
    brief: &'a Brief,
    draft: &'a mut Draft,
}

impl drive::Host for Host<'_> {
    type Error = NoAnswer;

    fn now(&self) -> jiff::Timestamp {
        self.subject.operator.shared.lock().clock(self.subject.operator.host)
    }

    async fn store_intent(&mut self, pass: &Pass) -> Result<(), Unstored<NoAnswer>> {
        self.draft.take(pass, self.brief, Standing::Working);
        self.subject.stored(&self.known.uid).write(self.draft).await.map(drop)
    }

    async fn fence(&mut self, _: Step) -> Result<(), Fenced> {
        let operator = self.subject.operator;
        let world = operator.shared.lock();
        let view = world.hosts[operator.host].views[self.subject.slot].as_ref();
        let same = view.is_some_and(|view| view.uid == self.known.uid && view.generation == self.known.generation);
        if same { Ok(()) } else { Err(Fenced::Changed) }
    }
}

/// The object of a pass, as the API server keeps it.
struct Kept<'a> {
    subject: &'a Subject<'a>,
    uid: &'a str,
}

impl Objects for Kept<'_> {
    type Error = NoAnswer;

    async fn write(&self, draft: &mut Draft) -> Result<bool, Unstored<NoAnswer>> {
        let Subject { operator, slot, object, pass } = self.subject;
        let me = (operator.host, operator.life);
        let (status, course): (ReleaseClosureStatus, _) = {
            let mut world = operator.shared.lock();
            let generation = world.cluster.objects[*object].generation;
            let Some(status) = draft.status(generation, None, world.clock(operator.host)) else { return Ok(false) };
            let course = world.store_course(*slot);
            if course == StoreCourse::Crash(Moment::Before) {
                world.crash(operator.host);
            }
            (status, course)
        };
        operator.shared.pause(me, 2).await;
        let stored = {
            let mut world = operator.shared.lock();
            let world = &mut *world;
            if course == (StoreCourse::Fails { applied: false }) {
                return Err(Unstored::Failed(NoAnswer));
            }
            let stored = world.cluster.store(*object, draft.resource_version(), status.clone());
            if stored.is_ok() {
                let at = world.log.now(world.now);
                let status = world.cluster.objects[*object].status.clone();
                let finished = status.completion_time.is_some();
                world.log.stored.push(super::log::Stored {
                    at,
                    host: operator.host,
                    pass: *pass,
                    object: *object,
                    status,
                });
                world.tell(*slot, finished);
            }
            if matches!(course, StoreCourse::Crash(Moment::Between | Moment::After)) {
                world.crash(operator.host);
            }
            stored
        };
        operator.shared.pause(me, 1).await;
        match (course, stored) {
            (StoreCourse::Fails { .. }, _) => Err(Unstored::Failed(NoAnswer)),
            (_, Err(_)) => Err(Unstored::Superseded),
            (_, Ok(version)) => {
                draft.stored(status, Some(version));
                Ok(true)
            }
        }
    }

    async fn read(&self) -> Result<Option<Fresh>, NoAnswer> {
        let Subject { operator, slot, object, pass } = self.subject;
        operator.shared.pause((operator.host, operator.life), 1).await;
        let mut world = operator.shared.lock();
        if self.uid.is_empty() {
            // A pass begins with what it reads.
            let now = world.now;
            let started = world.log.now(now);
            world.log.passes[*pass].started = started;
            world.log.passes[*pass].generation = world.cluster.objects[*object].generation;
        }
        if world.now < world.reads_fail_until {
            return Err(NoAnswer);
        }
        let Cluster { slots, objects, .. } = &world.cluster;
        let Some(index) = slots[*slot].object else { return Ok(None) };
        // A pass that began with another object finds that out.
        if index != *object && self.uid.is_empty() {
            return Ok(None);
        }
        let found = &objects[index];
        let status = ReleaseClosureStatus::clone(&found.status);
        Ok(Some(Fresh { uid: Some(found.uid.clone()), resource_version: Some(found.version.to_string()), status }))
    }
}
