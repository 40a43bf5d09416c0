//! The API server at its worst: it forgets what a watch would go on from, dies in the middle of a request, asks to be left
//! alone, and has another writer at every status.

use crate::gate::{Act, Asked, Verdict};
use crate::operators::own_plane;
use crate::stage::{PATIENCE, Stage, condition, outcomes, ready};
use crate::sweep::Lane;
use crate::sweep::expected::changes;
use futures::TryStreamExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, WatchEvent, WatchParams};
use releaseclosure::sandbox::Role;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const STATUS: &str = "PUT releaseclosures/status";

fn is_watch(asked: &Asked) -> bool {
    asked.what.starts_with("WATCH ")
}

/// Waits until a watch cannot go on from this version any more.
async fn compacted(stage: &Stage, version: &str) {
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < PATIENCE, "the history is not compacted");
        let from = stage.closures.watch(&WatchParams::default().timeout(1), version).await;
        let first = match from {
            Ok(stream) => std::pin::pin!(stream).try_next().await,
            Err(error) => Err(error),
        };
        match first {
            Ok(Some(WatchEvent::Error(status))) if status.code == 410 => return,
            Err(kube::Error::Api(status)) if status.code == 410 => return,
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[tokio::test]
async fn a_watch_that_is_told_that_its_history_is_gone_lists_again_and_misses_nothing() {
    // Without the API server's own cache a watch goes on from etcd's history, or does not.
    let mut lane = Lane::on(own_plane(&["--api=--watch-cache=false"]).await, "expired", "IdempotencyKey", "5s").await;
    let numbers: Vec<usize> = (0..6).map(|_| lane.next_release()).collect();
    let stage = &lane.stage;
    let mut packets = Vec::new();
    for number in &numbers[..3] {
        stage.sandbox().edit(Role::Queue, &format!("Q-{number:05}"), &json!({"state": "Parked"}));
        let name = lane.start(*number).await;
        packets.push(stage.halted(&name).await.1);
    }
    let mut older = stage.closure(numbers[3]);
    older["spec"]["suspend"] = json!(true);
    let older = stage.create(&older).await;
    // Creation times are in whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut duplicate = stage.closure(numbers[3]);
    duplicate["metadata"]["name"] = json!("duplicate");
    stage.create(&duplicate).await;
    stage.waiting("duplicate", "DuplicateClosure").await;
    let mut suspended = stage.closure(numbers[4]);
    suspended["spec"]["suspend"] = json!(true);
    let suspended = stage.create(&suspended).await;
    let version = stage.wait(&suspended, "suspended", |closure| ready(closure).1 == "Suspended").await;
    let version = version.metadata.resource_version.unwrap();

    // The watches break, and while none comes through everything changes and its history is dropped.
    lane.gate.judge(|asked| if is_watch(asked) { Act::Hold } else { Act::Pass });
    lane.gate.cut_watches();
    lane.gate.holds(4).await;
    for number in &numbers[..3] {
        stage.sandbox().edit(Role::Queue, &format!("Q-{number:05}"), &json!({"state": "Pending"}));
    }
    stage.resolve(&packets[0], "Resume", None).await;
    stage.resolve(&packets[1], "Abandon", None).await;
    stage.packets.delete(packets[2].metadata.name.as_ref().unwrap(), &DeleteParams::default()).await.unwrap();
    stage.delete(&older).await;
    stage.patch(&suspended, json!({"spec": {"suspend": false}})).await;
    let late = lane.start(numbers[5]).await;
    stage.plane.signal("-USR1");
    compacted(stage, &version).await;
    assert_eq!(lane.gate.expired(), Vec::<String>::new());
    let lists = |gate: &crate::gate::Gate, what: &str| gate.log().iter().filter(|one| one.asked.what == what).count();
    let before = lists(&lane.gate, "LIST releaseclosures");
    lane.gate.open();
    lane.gate.let_go(Verdict::Release, |_| true);

    for name in ["load-00001-rv1", "duplicate", &suspended, &late] {
        assert_eq!(outcomes(&stage.closed(name).await), ["Changed"; 5], "{name}");
    }
    stage.wait("load-00002-rv1", "abandoned", |closure| ready(closure).1 == "Abandoned").await;
    assert_eq!(stage.halted("load-00003-rv1").await.1.spec, packets[2].spec, "made again from the status");
    let expired = lane.gate.expired();
    for kind in ["WATCH releaseclosures", "WATCH followuppackets"] {
        assert!(expired.iter().any(|what| what == kind), "{kind} was told nothing: {expired:?}");
    }
    assert!(lists(&lane.gate, "LIST releaseclosures") > before);
    assert_eq!(stage.sandbox().deliveries().len(), 4);
}

#[tokio::test]
async fn an_api_server_that_dies_in_the_middle_of_any_request_is_asked_again() {
    let mut lane = Lane::on(own_plane(&[]).await, "died", "IdempotencyKey", "10s").await;
    let points = [
        ("GET releaseclosures", 1, false),
        (STATUS, 1, false),
        (STATUS, 1, true),
        (STATUS, 2, false),
        (STATUS, 2, true),
    ];
    let releases = points.map(|_| lane.next_release());
    let at: Vec<_> = releases.into_iter().zip(points).collect();
    lane.gate.judge(move |asked| {
        let point = at.iter().find(|(release, _)| asked.release == Some(*release));
        match point {
            Some((_, (what, nth, served))) if asked.what == *what && asked.nth == *nth => {
                if *served {
                    Act::HoldReply
                } else {
                    Act::Hold
                }
            }
            _ => Act::Pass,
        }
    });
    for release in releases {
        lane.start(release).await;
    }
    lane.gate.holds(points.len()).await;
    let plane = lane.stage.plane;
    tokio::task::spawn_blocking(move || plane.crash(Duration::ZERO)).await.unwrap();
    lane.gate.open();
    assert_eq!(lane.gate.let_go(Verdict::Discard, |_| true), points.len());
    lane.operator = Some(lane.stage.kept_going(lane.operator.take().expect("it runs")).await);
    for (release, point) in releases.into_iter().zip(points) {
        lane.stage.closed(&format!("load-{release:05}-rv1")).await;
        assert_eq!(changes(&lane.stage, release).len(), 5, "{point:?}");
    }
    assert!(lane.stage.all_packets().await.is_empty());
}

/// What the API server does to a request instead of answering it.
const MISFORTUNES: [Act; 4] = [Act::Refuse(429, 1), Act::Refuse(500, 1), Act::Cut, Act::CutReply];

#[tokio::test]
async fn an_api_server_that_asks_to_be_left_alone_or_drops_a_request_halts_nothing_and_repeats_nothing() {
    // An intake that can be asked nothing: whoever forgets that it has answered has to ask a person.
    let mut lane = Lane::new("refused", "None", "5s").await;
    for (what, nth) in [("GET releaseclosures", 1), (STATUS, 1), (STATUS, 2)] {
        for act in MISFORTUNES {
            let (release, mut left) = (lane.next_release(), 2);
            lane.gate.judge(move |asked| {
                let is_it = asked.release == Some(release) && asked.what == what && asked.nth >= nth && left > 0;
                left -= usize::from(is_it);
                if is_it { act } else { Act::Pass }
            });
            let name = lane.start(release).await;
            let closed = lane
                .stage
                .wait(&name, "closed", |closure| {
                    assert!(condition(closure, "Stalled").is_none(), "{what} #{nth} {act:?}: {:?}", closure.status);
                    ready(closure).1 == "Closed"
                })
                .await;
            assert_eq!(outcomes(&closed), ["Changed"; 5], "{what} #{nth} {act:?}");
            assert_eq!(changes(&lane.stage, release).len(), 5, "{what} #{nth} {act:?}");
        }
    }
    assert!(lane.stage.all_packets().await.is_empty());
}

/// What another writer does to a closure while the operator is about to write its status.
fn other_hands() -> [Value; 4] {
    [
        json!({"metadata": {"annotations": {"example.com/seen": "yes"}}}),
        json!({"spec": {"suspend": true}}),
        json!({"status": {"progress": "none"}}),
        json!({"status": {"retry": {"since": "2026-11-20T10:00:00Z", "waitingFor": ["queue"]}}}),
    ]
}

async fn lay_hands_on(stage: &Stage, name: &str, patch: &Value) {
    let (params, merge) = (PatchParams::default(), Patch::Merge(patch));
    if patch.get("status").is_some() {
        stage.closures.patch_status(name, &params, &merge).await.expect("the status is let in");
    } else {
        stage.closures.patch(name, &params, &merge).await.expect("the patch is let in");
    }
}

#[tokio::test]
async fn another_writer_between_look_and_status_is_never_overwritten_and_no_fact_is_lost() {
    let mut lane = Lane::new("contended", "None", "5s").await;
    for (write, patch) in [1, 2].into_iter().flat_map(|write| other_hands().map(|patch| (write, patch))) {
        let (release, what) = (lane.next_release(), format!("{write}: {patch}"));
        lane.gate.judge(move |asked| {
            let is_it = asked.release == Some(release) && asked.what == STATUS && asked.nth == write;
            if is_it { Act::Hold } else { Act::Pass }
        });
        let name = lane.start(release).await;
        lane.gate.holds(1).await;
        lay_hands_on(&lane.stage, &name, &patch).await;
        lane.gate.let_go(Verdict::Release, |_| true);
        if write == 1 && patch["spec"]["suspend"] == true {
            // Nothing was announced: the intent was not stored.
            lane.stage.wait(&name, "suspended", |closure| ready(closure).1 == "Suspended").await;
            assert_eq!(changes(&lane.stage, release).len(), 4, "{what}");
            lane.stage.patch(&name, json!({"spec": {"suspend": false}})).await;
        }
        let closed = lane.stage.closed(&name).await;
        assert_eq!(outcomes(&closed), ["Changed"; 5], "{what}");
        assert_eq!(changes(&lane.stage, release).len(), 5, "{what}");
        let annotations = closed.metadata.annotations.unwrap_or_default();
        assert_eq!(annotations.contains_key("example.com/seen"), patch.get("metadata").is_some(), "{what}");
        assert_eq!(closed.spec.suspend, write == 2 && patch.get("spec").is_some(), "{what}");
        let refused = lane.gate.log().into_iter().filter(|passed| passed.asked.release == Some(release));
        assert_eq!(refused.filter(|passed| passed.answered == Some(409)).count(), 1, "{what}");
    }
    assert!(lane.stage.all_packets().await.is_empty());
}

#[tokio::test]
async fn another_writer_between_look_and_halt_does_not_keep_it_from_halting_once() {
    let mut lane = Lane::new("contended-halt", "IdempotencyKey", "5s").await;
    for patch in other_hands() {
        let release = lane.next_release();
        lane.stage.sandbox().edit(Role::Queue, &format!("Q-{release:05}"), &json!({"state": "Parked"}));
        lane.gate.judge(move |asked| {
            let is_it = asked.release == Some(release) && asked.what == STATUS && asked.nth == 1;
            if is_it { Act::Hold } else { Act::Pass }
        });
        let name = lane.start(release).await;
        lane.gate.holds(1).await;
        lay_hands_on(&lane.stage, &name, &patch).await;
        lane.gate.let_go(Verdict::Release, |_| true);
        let (closure, packet) = lane.stage.halted(&name).await;
        assert_eq!(ready(&closure).1, "QueueEntryStateUnexpected", "{patch}");
        assert_eq!(closure.status.unwrap().halt.unwrap().id, packet.spec.halt_id, "{patch}");
        assert_eq!(closure.spec.suspend, patch.get("spec").is_some(), "{patch}");
    }
    lane.stage.quiet(Duration::from_secs(1)).await;
    assert!(lane.stage.writes().is_empty());
    assert_eq!(lane.stage.all_packets().await.len(), other_hands().len(), "one for each halt");
}

#[tokio::test]
async fn watches_that_break_again_and_again_miss_nothing() {
    let mut lane = Lane::new("broken-watches", "IdempotencyKey", "5s").await;
    let mut names = Vec::new();
    for _ in 0..12 {
        let release = lane.next_release();
        lane.gate.cut_watches();
        names.push((release, lane.start(release).await));
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    lane.gate.cut_watches();
    for (release, name) in names {
        assert_eq!(outcomes(&lane.stage.closed(&name).await), ["Changed"; 5]);
        assert_eq!(changes(&lane.stage, release).len(), 5);
    }
    assert_eq!(lane.gate.expired(), Vec::<String>::new(), "each goes on from where it was");
}
