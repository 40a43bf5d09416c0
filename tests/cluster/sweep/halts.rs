//! The same for a closure that halts: six looks, the halt, its packet.

use super::expected::{Whole, with_packet};
use super::{Course, Lane, MOMENTS, Run, TIMEOUT};
use crate::gate::{Act, Verdict};
use crate::stage::ready;
use crate::support::figures;
use futures::future::join_all;
use kube::ResourceExt as _;
use kube::api::ListParams;
use releaseclosure::sandbox::Role;
use serde_json::json;
use std::time::{Duration, Instant};

/// What a closure that halts asks for: six looks, one of them at itself, the halt and the packet.
const REQUESTS: usize = 8;
const LANES: usize = 2;

async fn halted(lane: &Lane, release: usize, name: &str) -> Whole {
    let (closure, packet) = lane.stage.halted(name).await;
    assert_eq!(ready(&closure).1, "MilestoneMismatch");
    with_packet(&lane.stage, release, &closure, json!(packet.spec))
}

async fn one(index: usize) -> usize {
    let mut lane = Lane::new(&format!("sweep-halt-{index}"), "IdempotencyKey", TIMEOUT).await;
    lane.halting = true;
    let release = lane.next_release();
    let name = lane.start(release).await;
    let undisturbed = halted(&lane, release, &name).await;
    // The packet comes back through the watch and may wake its closure once more, before the watch says that it is halted by it.
    let course = Course::of(&lane.gate, release).up_to("POST followuppackets");
    assert_eq!(course.0.len(), REQUESTS, "{course:?}");
    let all = course.0.iter().flat_map(|point| MOMENTS.map(|moment| (point.clone(), moment)));
    let mut killed = 0;
    for (point, moment) in all.skip(index).step_by(LANES) {
        let run = Run { point, moment, handoff: "" };
        let (release, name) = lane.kill_at(&run).await;
        let found = halted(&lane, release, &name).await;
        let what = format!("{} #{} {:?}", run.point.what, run.point.nth, run.moment);
        assert_eq!(found.against(&undisturbed), Vec::<String>::new(), "{what}");
        killed += 1;
        assert_eq!(lane.stage.all_packets().await.len(), killed + 1, "{what}: one packet for each halt");
    }
    lane.stage.quiet(Duration::from_secs(1)).await;
    assert!(lane.stage.writes().is_empty(), "{:?}", lane.stage.writes());
    assert_eq!(lane.stage.all_packets().await.len(), killed + 1);
    killed
}

/// Kills at every request of a closure that halts.
pub async fn sweep() {
    let start = Instant::now();
    let lanes = join_all((0..LANES).map(|index| tokio::spawn(one(index)))).await;
    let killed: usize = lanes.into_iter().map(|lane| lane.unwrap()).sum();
    let (runs, took) = (REQUESTS * MOMENTS.len(), start.elapsed());
    figures::tell(&format!("kills, halting: {killed} of {runs} converged, in {took:?}"));
    assert_eq!(killed, runs);
}

/// Somebody resolves a packet while the reply to its making is still on its way.
pub async fn resolved_at_once() {
    let mut lane = Lane::new("packet-at-once", "IdempotencyKey", TIMEOUT).await;
    for (decision, end) in [("Resume", "Closed"), ("Abandon", "Abandoned")] {
        let release = lane.next_release();
        let queue_entry = format!("Q-{release:05}");
        lane.stage.sandbox().edit(Role::Queue, &queue_entry, &json!({"state": "Parked"}));
        lane.gate.judge(|asked| if asked.what == "POST followuppackets" { Act::HoldReply } else { Act::Pass });
        let name = lane.start(release).await;
        lane.gate.holds(1).await;
        let told = lane.gate.told("followuppackets");
        let selected = ListParams::default().fields("spec.resolution.decision=");
        let packets = lane.stage.packets.list(&selected).await.unwrap().items;
        assert_eq!(packets.len(), 1, "{packets:?}");
        lane.stage.sandbox().edit(Role::Queue, &queue_entry, &json!({"state": "Pending"}));
        lane.stage.resolve(&packets[0], decision, None).await;
        lane.gate.until("told of the resolution", |gate| gate.told("followuppackets") > told).await;
        // What the watch has brought is taken in before the reply.
        tokio::time::sleep(Duration::from_millis(200)).await;
        lane.gate.let_go(Verdict::Release, |_| true);
        lane.gate.open();
        lane.stage.wait(&name, end, |closure| ready(closure).1 == end).await;
        assert!(lane.stage.all_packets().await.iter().any(|packet| packet.name_any() == packets[0].name_any()));
    }
    assert_eq!(lane.stage.sandbox().deliveries().len(), 1);
}
