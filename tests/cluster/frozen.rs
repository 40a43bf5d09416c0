//! A leader that stands still for longer than its lease, at any request of a closure; and the fence that keeps a write from
//! going out in a term that it may outlive.

use crate::gate::{Act, Asked, Gate, Verdict};
use crate::operators::Start;
use crate::stage::ready;
use crate::support::figures;
use crate::sweep::expected::{Ending, changes, whole};
use crate::sweep::{Course, Lane, Moment, Point, Run};
use futures::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use releaseclosure::api::ReleaseClosure;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const STEPS: [&str; 5] = ["CloseChecklist", "ApproveTracker", "AttachEvidence", "ClearQueueEntry", "NotifyCoordinator"];

const ANNOUNCEMENT: &str = "POST intake";

/// A closure that a leader is in the middle of.
struct Caught {
    release: usize,
    name: String,
    point: Point,
}

impl Caught {
    /// How it may end. What was on its way when its sender froze either takes effect, late, or meets what was done since.
    fn endings(&self, course: &Course, moment: Moment, delivery: &'static str) -> impl Iterator<Item = Ending> {
        let moments = if moment == Moment::Before { vec![moment, Moment::Applied] } else { vec![moment] };
        moments.into_iter().map(move |moment| {
            let run = Run { point: self.point.clone(), moment, handoff: "Delivered" };
            course.ending(&run, delivery)
        })
    }
}

fn is_about_the_lease(asked: &Asked) -> bool {
    asked.what.ends_with(" leases")
}

/// Whether a request may change something. A try to renew the lease is the question whether it is still one's own, and an
/// event tells of what is stored already.
fn changes_something(asked: &Asked) -> bool {
    let reads = ["GET ", "LIST ", "WATCH "].iter().any(|verb| asked.what.starts_with(verb));
    !reads && !is_about_the_lease(asked) && asked.what != "POST events"
}

/// Brings one closure to each of these points, all at once.
async fn catch(lane: &mut Lane, points: &[Point], moment: Moment) -> Vec<Caught> {
    let releases: Vec<usize> = points.iter().map(|_| lane.next_release()).collect();
    let caught: BTreeMap<usize, Point> = releases.iter().copied().zip(points.iter().cloned()).collect();
    let act = if moment == Moment::Before { Act::Hold } else { Act::HoldReply };
    lane.gate.judge(move |asked| {
        let point = asked.release.and_then(|release| caught.get(&release));
        if point.is_some_and(|point| point.is(asked)) { act } else { Act::Pass }
    });
    // At once: what is held first is not to time out before the last one is there.
    let names = join_all(releases.iter().map(|release| lane.start(*release))).await;
    let all = releases.into_iter().zip(names).zip(points);
    let all = all.map(|((release, name), point)| Caught { release, name, point: point.clone() }).collect();
    lane.gate.holds(points.len()).await;
    at_rest(&lane.gate).await;
    all
}

/// Waits until nothing but the lease is asked for any more. Not every held request holds its closure up: an event does not.
/// What a process has decided to send when it is frozen goes out when it wakes up, as it might have been on its way.
async fn at_rest(gate: &Gate) {
    let mut seen = (usize::MAX, Instant::now());
    gate.until("at rest", |gate| {
        let count = gate.log().iter().filter(|passed| !is_about_the_lease(&passed.asked)).count();
        if count != seen.0 {
            seen = (count, Instant::now());
        }
        seen.1.elapsed() > Duration::from_millis(300)
    })
    .await;
}

/// One leader, frozen in the middle of many closures: every second request of the course is the point of one.
async fn freeze(delivery: &'static str, moment: Moment, half: usize) -> usize {
    let name = format!("frozen-{}-{moment:?}-{half}", &delivery[..3]).to_lowercase();
    let mut lane = Lane::new(&name, delivery, "8s").await;
    let (course, undisturbed) = lane.undisturbed().await;
    let frozen = lane.operator.take().expect("it runs");
    let next = lane.stage.launch(Start::default()).await;
    next.until_logged("standing by").await;
    let points: Vec<Point> = course.0.iter().skip(half).step_by(2).cloned().collect();
    let caught = catch(&mut lane, &points, moment).await;
    frozen.signal("-STOP");
    lane.gate.open();

    next.until_logged("leading").await;
    if moment == Moment::Before {
        // What the frozen one had sent arrives now, late.
        lane.gate.let_go(Verdict::Release, |asked| asked.what != ANNOUNCEMENT);
    }
    // An intake that can only be asked is given time, and the announcement arrives within it; for one that knows keys
    // it may arrive when another one was made long since.
    if let Some(one) = caught.iter().find(|one| moment == Moment::Before && one.point.what == ANNOUNCEMENT)
        && delivery == "Lookup"
    {
        lane.stage.waiting(&one.name, "NotificationSettling").await;
        assert_eq!(lane.gate.let_go(Verdict::Release, |_| true), 1);
    }
    let mut closed = Vec::new();
    let mut packets = 0;
    for one in &caught {
        let ended = |closure: &ReleaseClosure| matches!(ready(closure).1.as_str(), "Closed" | "NotificationUncertain");
        let closure = lane.stage.wait(&one.name, "closed, or a question", ended).await;
        if closure.status.is_some_and(|status| status.halt.is_some()) {
            assert!(one.endings(&course, moment, delivery).any(|ending| ending.uncertain), "{} halted", one.name);
            let (_, packet) = lane.stage.halted(&one.name).await;
            lane.stage.resolve(&packet, "Resume", Some("Delivered")).await;
            packets += 1;
        }
        closed.push(lane.stage.closed(&one.name).await);
    }
    if moment == Moment::Before {
        lane.gate.let_go(Verdict::Release, |_| true);
    }
    // The replies lie there when it wakes up.
    if moment == Moment::Applied {
        assert_eq!(lane.gate.let_go(Verdict::Release, |_| true), points.len());
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = lane.gate.count();
    frozen.signal("-CONT");
    frozen.until_ended().await;
    assert!(frozen.logged("leadership ended; nothing is written any more"), "{}", frozen.read_log());
    // The next one had nothing to write any more: whatever comes now is of the one that woke up.
    let since = lane.gate.log().split_off(before).into_iter().map(|passed| passed.asked);
    assert_eq!(since.filter(changes_something).collect::<Vec<_>>(), [], "{name}");
    for (one, closed) in caught.iter().zip(&closed) {
        let what = format!("{} #{} {moment:?} {delivery}", one.point.what, one.point.nth);
        let now = lane.stage.get(&one.name).await;
        assert_eq!(now.metadata.resource_version, closed.metadata.resource_version, "{what}: clobbered");
        let (changed, found) = (changes(&lane.stage, one.release), whole(&lane.stage, one.release, closed));
        let differs = |ending: Ending| {
            let expected = ending.of(&undisturbed, "Delivered");
            let mut differs = found.against(&expected);
            if changed != STEPS[..4 + ending.deliveries] {
                differs.push(format!("changes: {changed:?}"));
            }
            differs
        };
        let differences: Vec<_> = one.endings(&course, moment, delivery).map(differs).collect();
        assert!(differences.contains(&Vec::new()), "{what}: {differences:#?}");
    }
    assert_eq!(lane.stage.all_packets().await.len(), packets);
    assert!(next.is_alive());
    points.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_past_its_lease_at_any_request_it_wakes_up_writes_nothing_and_ends() {
    let start = Instant::now();
    let mut lanes = Vec::new();
    for delivery in ["IdempotencyKey", "Lookup", "None"] {
        for moment in [Moment::Before, Moment::Applied] {
            lanes.extend([0, 1].map(|half| tokio::spawn(freeze(delivery, moment, half))));
        }
    }
    let frozen: usize = join_all(lanes).await.into_iter().map(|lane| lane.unwrap()).sum();
    let (points, took) = (2 * (18 + 19 + 18), start.elapsed());
    figures::tell(&format!("frozen: {frozen} of {points} taken over and finished once, in {took:?}"));
    assert_eq!(frozen, points);
}

/// The looks after which the five writes are made, each the last one before its write.
fn last_looks() -> Vec<Point> {
    let point = |what: &str, nth| Point { what: what.to_owned(), nth, place: 0, last: false };
    let mut looks = vec![point("GET tracker", 1)];
    looks.extend((2..=5).map(|nth| point("GET governance", nth)));
    looks
}

fn writes_to_systems(gate: &Gate, since: usize) -> Vec<Asked> {
    let log = gate.log().split_off(since).into_iter().map(|passed| passed.asked);
    log.filter(|asked| asked.what.starts_with("PATCH ") || asked.what == "POST intake").collect()
}

/// The longest that a write may take here: two thirds of a lease.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Waits until the last renewal is so long ago. One that was on its way may come in between.
async fn outlived(leases: &Api<Lease>, age: Duration) {
    loop {
        let renewed =
            leases.get("releaseclosure-operator").await.unwrap().spec.unwrap().renew_time.expect("it is held").0;
        let old = jiff::Timestamp::now().duration_since(renewed);
        match age.checked_sub(old.unsigned_abs()) {
            None => return,
            Some(left) => tokio::time::sleep(left).await,
        }
    }
}

#[tokio::test]
async fn a_leader_whose_term_may_end_before_a_write_would_does_not_make_it() {
    let mut lane = Lane::new("fence-alone", "IdempotencyKey", &format!("{}s", TIMEOUT.as_secs())).await;
    let caught = catch(&mut lane, &last_looks(), Moment::Applied).await;
    // Each closure is about to make another one of the five writes, and waits for its last look. From now on no renewal
    // gets through, and soon the term is shorter than a write may take.
    let (gate, held) = (lane.gate.clone(), caught.len());
    gate.judge(|asked| if is_about_the_lease(asked) { Act::Hold } else { Act::Pass });
    let leases: Api<Lease> = Api::namespaced(lane.stage.client.clone(), &lane.stage.namespace);
    outlived(&leases, TIMEOUT / 2 + Duration::from_millis(700)).await;
    let taken = Patch::Merge(json!({"spec": {"holderIdentity": "somebody-else"}}));
    leases.patch("releaseclosure-operator", &PatchParams::default(), &taken).await.unwrap();
    let before = gate.count();
    assert_eq!(gate.let_go(Verdict::Release, |asked| !is_about_the_lease(asked)), held);

    // Every pass comes to its fence: four stop there and say so, the first has done nothing yet and begins again.
    let operator = lane.operator.take().expect("it runs");
    operator.until("fenced", |operator| operator.read_log().matches("a write was not made").count() >= 4).await;
    let first = caught[0].release;
    let begins_again =
        |asked: &Asked| asked.release == Some(first) && asked.what == "GET releaseclosures" && asked.nth > 1;
    gate.until("begun again", |gate| gate.log().iter().any(|passed| begins_again(&passed.asked))).await;
    // It is still there and does not know that the lease is somebody else's: nothing but the fence keeps it from writing.
    assert!(operator.is_alive() && !operator.logged("leadership ended"), "{}", operator.read_log());
    assert_eq!(writes_to_systems(&gate, before), []);
    operator.until_ended().await;
    assert_eq!(writes_to_systems(&gate, before), []);

    gate.open();
    gate.let_go(Verdict::Discard, |_| true);
    leases.delete("releaseclosure-operator", &DeleteParams::default()).await.unwrap();
    lane.operator = Some(lane.stage.operator().await);
    for one in &caught {
        lane.stage.closed(&one.name).await;
    }
    let log = gate.log();
    for (one, write) in caught.iter().zip([
        "PATCH checklist",
        "PATCH tracker state",
        "PATCH tracker evidence",
        "PATCH queue",
        "POST intake",
    ]) {
        let asked = log.iter().filter(|passed| passed.asked.release == Some(one.release) && passed.asked.what == write);
        assert_eq!(asked.count(), 1, "{write}");
    }
}
