//! `kill -9` at every request of a closure: before it is passed on, when it has taken effect and its reply is on its way, and
//! when its reply has arrived. The operator that comes after ends where an undisturbed one ends, and nothing is made twice.
//!
//! The points are those of an undisturbed run, counted from its own log. The dead operator's lease is deleted, so that
//! none of these runs waits it out: that the lease is waited out is another test's matter.

#[path = "sweep/expected.rs"]
pub mod expected;
#[path = "sweep/halts.rs"]
mod halts;

use crate::gate::{Act, Asked, Gate};
use crate::operators::{Operator, bare_plane};
use crate::stage::{Setup, Stage, condition, ready};
use crate::support::controlplane::ControlPlane;
use crate::support::figures;
use expected::{Ending, Whole, changes, whole};
use futures::future::join_all;
use releaseclosure::sandbox;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// When in the life of a request the operator dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// It was sent, and never arrives.
    Before,
    /// It has taken effect, and its reply is lost.
    Applied,
    /// Its reply has arrived, and the operator is at its next request, which never arrives.
    Answered,
}

/// Of requests to the systems. An operator is to be dead before the one it is killed at times out, and nothing else does.
const TIMEOUT: &str = "5s";

/// What a clean closure asks for.
const REQUESTS: usize = 18;

const MOMENTS: [Moment; 3] = [Moment::Before, Moment::Applied, Moment::Answered];

/// A request of a closure: its kind, and the how manieth of the kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its kind.
    pub what: String,
    /// The how manieth of its kind about this release.
    pub nth: usize,
    /// Its place among all requests.
    pub place: usize,
    /// Whether only events come after it.
    pub last: bool,
}

impl Point {
    /// Whether this request is it.
    pub fn is(&self, asked: &Asked) -> bool {
        asked.what == self.what && asked.nth == self.nth
    }
}

/// One run: where the operator dies, and what a coordinator who is asked says.
#[derive(Clone, Debug)]
pub struct Run {
    /// The request.
    pub point: Point,
    /// When in its life.
    pub moment: Moment,
    /// What a coordinator who is asked says.
    pub handoff: &'static str,
}

/// What an undisturbed closure asks for, in its order.
#[derive(Clone, Debug)]
pub struct Course(pub Vec<Point>);

impl Course {
    fn of(gate: &Gate, release: usize) -> Course {
        let log = gate.log().into_iter().map(|passed| passed.asked);
        let own = log.filter(|asked| asked.release == Some(release) && asked.what != "POST events");
        let point = |(place, asked): (usize, Asked)| Point { what: asked.what, nth: asked.nth, place, last: false };
        let mut course: Vec<Point> = own.enumerate().map(point).collect();
        course.last_mut().expect("it asks for something").last = true;
        Course(course)
    }

    /// The same up to the first request of this kind.
    fn up_to(mut self, what: &str) -> Course {
        let end = self.place(what, 1);
        self.0.truncate(end + 1);
        self.0[end].last = true;
        self
    }

    fn place(&self, what: &str, nth: usize) -> usize {
        let found = self.0.iter().find(|point| point.what == what && point.nth == nth);
        found.unwrap_or_else(|| panic!("no {what} #{nth} in {:?}", self.0)).place
    }

    /// Whether a request had taken effect when the operator died.
    fn had(&self, what: &str, nth: usize, run: &Run) -> bool {
        let place = self.place(what, nth);
        place < run.point.place || (place == run.point.place && run.moment != Moment::Before)
    }

    /// How a run ends.
    pub fn ending(&self, run: &Run, delivery: &str) -> Ending {
        let status = "PUT releaseclosures/status";
        let writes = ["PATCH checklist", "PATCH tracker state", "PATCH tracker evidence", "PATCH queue"];
        let (intended, closed) = (self.had(status, 1, run), self.had(status, 2, run));
        let announced = self.had("POST intake", 1, run);
        let uncertain = delivery == "None" && intended && !closed;
        Ending {
            // What the record was before goes with the one who made the change, unless it had stored it.
            lost: writes.map(|write| self.had(write, 1, run) && !intended),
            settles: delivery == "Lookup" && intended && !announced,
            unconfirmed: if uncertain { run.handoff == "Delivered" } else { announced && !closed },
            uncertain,
            deliveries: match (uncertain, run.handoff) {
                (true, "NotDelivered") => usize::from(announced) + 1,
                (true, _) => usize::from(announced),
                (false, _) => 1,
            },
        }
    }
}

/// A stage behind a gate, with an operator of its own that is killed again and again.
pub struct Lane {
    /// The stage.
    pub stage: Stage,
    /// The gate before it.
    pub gate: Gate,
    /// What its intake promises.
    pub delivery: &'static str,
    /// Its operator, as long as that lives.
    pub operator: Option<Operator>,
    /// How many releases have been used.
    used: usize,
    /// Whether the systems disagree about its releases.
    halting: bool,
}

impl Lane {
    /// A lane on the API server of tests with operators of their own.
    pub async fn new(name: &str, delivery: &'static str, timeout: &str) -> Lane {
        let plane = tokio::task::spawn_blocking(bare_plane).await.unwrap();
        Lane::on(plane, name, delivery, timeout).await
    }

    /// A lane on this API server.
    pub async fn on(plane: &'static ControlPlane, name: &str, delivery: &'static str, timeout: &str) -> Lane {
        let gate = Gate::before(plane, name).await;
        let mut seed = sandbox::generate(90);
        seed.settings.intake.idempotency = delivery == "IdempotencyKey";
        seed.settings.intake.lookup = delivery != "None";
        let limits = json!({"requestsPerSecond": 1000, "concurrency": 16, "timeout": timeout});
        let (through, plane) = (Some(gate.through.clone()), Some(plane));
        let stage =
            Stage::with(name, Setup { seed, delivery, limits, shared: false, through, plane, ..Setup::default() })
                .await;
        gate.leads_to(&stage.handle.endpoint());
        let operator = Some(stage.operator().await);
        Lane { stage, gate, delivery, operator, used: 0, halting: false }
    }

    /// Creates the closure of a release, and says its name.
    pub async fn start(&self, release: usize) -> String {
        let mut closure = self.stage.closure(release);
        if self.halting {
            closure["spec"]["milestone"]["title"] = json!("another title");
        }
        self.stage.create(&closure).await
    }

    /// The number of a release that is not used yet.
    pub fn next_release(&mut self) -> usize {
        self.used += 1;
        self.used
    }

    /// A run that nothing disturbs: what it asks for, and how it ends.
    pub async fn undisturbed(&mut self) -> (Course, Whole) {
        let release = self.next_release();
        let name = self.start(release).await;
        let closed = self.stage.closed(&name).await;
        assert_eq!(changes(&self.stage, release).len(), 5);
        (Course::of(&self.gate, release), whole(&self.stage, release, &closed))
    }

    /// Lets a closure come to a point, kills the operator there, and starts the next one.
    async fn kill_at(&mut self, run: &Run) -> (usize, String) {
        let release = self.next_release();
        let (point, moment, mut reached) = (run.point.clone(), run.moment, false);
        self.gate.judge(move |asked| {
            if asked.release != Some(release) {
                return Act::Pass;
            }
            match (point.is(asked), moment) {
                (true, Moment::Before) => Act::Hold,
                (true, Moment::Applied) => Act::HoldReply,
                (true, Moment::Answered) => {
                    reached = true;
                    Act::Pass
                }
                (false, _) if reached => Act::Hold,
                (false, _) => Act::Pass,
            }
        });
        let name = self.start(release).await;
        // An event is sent beside the others: it says where the operator is only where nothing else comes any more.
        let tells = |asked: &Asked| run.point.last || asked.what != "POST events";
        self.gate.until("there", |gate| gate.held().iter().any(|(asked, _)| tells(asked))).await;
        if moment == Moment::Answered {
            let has_its_reply = |gate: &Gate| {
                let own = |asked: &Asked| asked.release == Some(release) && run.point.is(asked);
                gate.log().iter().any(|passed| own(&passed.asked) && passed.answered.is_some())
            };
            self.gate.until("answered", has_its_reply).await;
        }
        self.operator.take().expect("it runs").kill();
        self.gate.bury().await;
        self.gate.open();
        self.operator = Some(self.stage.operator_after_a_crash().await);
        (release, name)
    }

    /// Sees a run to its end, which is the one that it must have.
    async fn ends(&self, run: &Run, course: &Course, undisturbed: &Whole, (release, name): (usize, String)) {
        let ending = course.ending(run, self.delivery);
        let what = format!("{} #{} {:?} {}", run.point.what, run.point.nth, run.moment, self.delivery);
        if ending.uncertain {
            let (closure, packet) = self.stage.halted(&name).await;
            assert_eq!(ready(&closure).1, "NotificationUncertain", "{what}");
            assert_eq!(packet.spec.findings.len(), 1, "{what}: {:?}", packet.spec.findings);
            self.stage.resolve(&packet, "Resume", Some(run.handoff)).await;
        }
        let never_halted = |closure: &releaseclosure::api::ReleaseClosure| {
            assert!(ending.uncertain || condition(closure, "Stalled").is_none(), "{what} halted: {:?}", closure.status);
            ready(closure).1 == "Closed"
        };
        let closed = self.stage.wait(&name, &format!("closed after {what}"), never_halted).await;
        let steps = ["CloseChecklist", "ApproveTracker", "AttachEvidence", "ClearQueueEntry"];
        let announced = std::iter::repeat_n("NotifyCoordinator", ending.deliveries);
        assert_eq!(changes(&self.stage, release), steps.into_iter().chain(announced).collect::<Vec<_>>(), "{what}");
        let found = whole(&self.stage, release, &closed);
        assert_eq!(found.against(&ending.of(undisturbed, run.handoff)), Vec::<String>::new(), "{what}");
    }
}

/// Makes every so manieth run, from this one on, in a lane of its own.
async fn sweep(name: String, delivery: &'static str, lane: usize, lanes: usize) -> BTreeMap<Moment, usize> {
    let mut own = Lane::new(&name, delivery, TIMEOUT).await;
    let (course, undisturbed) = own.undisturbed().await;
    let mut runs = Vec::new();
    for (point, moment) in course.0.iter().flat_map(|point| MOMENTS.map(|moment| (point.clone(), moment))) {
        let run = |handoff| Run { point: point.clone(), moment, handoff };
        runs.push(run("Delivered"));
        // Where somebody is asked, both answers.
        if course.ending(&run("Delivered"), delivery).uncertain {
            runs.push(run("NotDelivered"));
        }
    }
    // Fifteen to the systems, and the question to an intake that can be asked; three to the API server.
    let requests = if delivery == "Lookup" { REQUESTS + 1 } else { REQUESTS };
    assert_eq!(course.0.len(), requests, "{course:?}");
    let mut killed = BTreeMap::new();
    // An intake that is given time before it is told again is given it by all at once, at the end.
    let (later, now): (Vec<Run>, Vec<Run>) =
        runs.into_iter().skip(lane).step_by(lanes).partition(|run| course.ending(run, delivery).settles);
    for run in now {
        let one = own.kill_at(&run).await;
        own.ends(&run, &course, &undisturbed, one).await;
        *killed.entry(run.moment).or_insert(0) += 1;
    }
    let mut settling = Vec::new();
    for run in later {
        let one = own.kill_at(&run).await;
        settling.push((run, one));
    }
    for (run, one) in settling {
        own.ends(&run, &course, &undisturbed, one).await;
        *killed.entry(run.moment).or_insert(0) += 1;
    }
    own.stage.quiet(Duration::from_millis(500)).await;
    assert!(own.gate.held().is_empty());
    killed
}

async fn sweep_in_lanes(name: &str, delivery: &'static str, runs: usize) {
    const LANES: usize = 3;
    let start = Instant::now();
    let lanes = (0..LANES).map(|lane| tokio::spawn(sweep(format!("{name}-{lane}"), delivery, lane, LANES)));
    let mut all: BTreeMap<Moment, usize> = BTreeMap::new();
    for lane in join_all(lanes).await {
        for (moment, count) in lane.unwrap() {
            *all.entry(moment).or_insert(0) += count;
        }
    }
    let killed: usize = all.values().sum();
    let took = start.elapsed();
    figures::tell(&format!("kills, {delivery}: {killed} of {runs} converged, by moment {all:?}, in {took:?}"));
    assert_eq!(killed, runs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_request_a_closure_with_an_intake_that_knows_keys_ends_as_if_nothing_had_happened() {
    sweep_in_lanes("sweep-key", "IdempotencyKey", REQUESTS * 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_request_a_closure_with_an_intake_that_can_be_asked_ends_as_if_nothing_had_happened() {
    sweep_in_lanes("sweep-lookup", "Lookup", (REQUESTS + 1) * 3).await;
}

/// With both answers where somebody has to be asked: at the nine moments between the stored intent and the stored end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_request_a_closure_whose_intake_says_nothing_asks_a_person_only_where_nobody_can_know() {
    sweep_in_lanes("sweep-none", "None", REQUESTS * 3 + 9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_request_a_closure_that_halts_is_halted_once_and_has_one_packet() {
    halts::sweep().await;
}

#[tokio::test]
async fn a_packet_that_is_resolved_before_its_maker_knows_that_it_is_there_is_acted_on() {
    halts::resolved_at_once().await;
}
