//! A halt holds until a coordinator releases this very halt: through restarts, repairs, other people's resolutions and
//! deleted packets, and without a single request.

use crate::stage::{Setup, Stage, condition, is_true, outcomes, ready};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use releaseclosure::api::{FollowUpPacket, ReleaseClosure};
use releaseclosure::closure::ledger::Decision;
use releaseclosure::sandbox::{self, Role};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn stage(name: &str) -> Stage {
    Stage::with(name, Setup { seed: sandbox::generate(2), ..Setup::default() }).await
}

/// The milestone of a release is renamed, or named as it was.
fn rename(stage: &Stage, title: &str) {
    assert!(stage.sandbox().edit(Role::Tracker, "REL-00001", &json!({"milestone": {"title": title}})));
}

/// A closure that is halted by a renamed milestone.
async fn halted(stage: &Stage) -> (String, ReleaseClosure, FollowUpPacket) {
    rename(stage, "Renamed");
    let name = stage.start().await;
    let (closure, packet) = stage.halted(&name).await;
    (name, closure, packet)
}

/// Waits until a packet says this of its resolution: status and reason of Resolved.
async fn resolved(stage: &Stage, packet: &FollowUpPacket, status: &str, reason: &str) {
    let start = Instant::now();
    loop {
        let now = stage.packets.get(&packet.name_any()).await.unwrap();
        let conditions = now.status.map(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|found| (found.status.as_str(), found.reason.as_str()) == (status, reason)) {
            return;
        }
        assert!(
            start.elapsed() < crate::stage::PATIENCE,
            "{} is not {status}/{reason}: {conditions:?}",
            packet.name_any()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_halt_costs_five_looks_and_one_status_and_is_quiet_afterwards() {
    let stage = stage("halt-cost").await;
    let history = stage.history().await;
    let (name, closure, packet) = halted(&stage).await;
    assert_eq!(stage.requests().len(), 5, "{:?}", stage.requests());
    let start = Instant::now();
    while history.statuses(&name).is_empty() {
        assert!(start.elapsed() < crate::stage::PATIENCE, "the watch says nothing");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(history.statuses(&name).len(), 1);
    let message = closure.status.as_ref().unwrap().conditions[0].message.clone();
    assert!(message.contains(&packet.name_any()), "{message}");
    assert_eq!(ready(&closure), ("False".to_owned(), "MilestoneRenamed".to_owned()));
    assert_eq!(condition(&closure, "Stalled"), Some(("True".to_owned(), "MilestoneRenamed".to_owned())));
    assert!(condition(&closure, "Reconciling").is_none());
    // Its cause goes away; somebody wants it to run; somebody changes something about the object.
    rename(&stage, "M 00001");
    stage.patch(&name, json!({"metadata": {"annotations": {"releaseclosure.io/requestedAt": "one"}}})).await;
    stage
        .wait(&name, "echoed", |closure| {
            closure.status.as_ref().unwrap().last_handled_reconcile_at.as_deref() == Some("one")
        })
        .await;
    stage.patch(&name, json!({"spec": {"suspend": true}})).await;
    stage.wait(&name, "observed", |closure| closure.status.as_ref().unwrap().observed_generation == 2).await;
    stage.patch(&name, json!({"spec": {"suspend": false}})).await;
    let later =
        stage.wait(&name, "observed again", |closure| closure.status.as_ref().unwrap().observed_generation == 3).await;
    assert_eq!(ready(&later), ready(&closure));
    assert_eq!(later.status.unwrap().halt, closure.status.unwrap().halt);
    stage.quiet(Duration::from_secs(3)).await;
    assert_eq!(stage.requests().len(), 5);
    assert!(stage.writes().is_empty());
}

#[tokio::test]
async fn the_right_resolution_releases_it_and_everything_is_verified_from_the_start() {
    let stage = stage("halt-resume").await;
    let (name, _, packet) = halted(&stage).await;
    rename(&stage, "M 00001");
    stage.sandbox().clear_requests();
    stage.resolve(&packet, "Resume", None).await;
    let closed = stage.closed(&name).await;
    assert_eq!(outcomes(&closed), ["Changed"; 5]);
    assert_eq!(stage.requests().len(), 15, "{:?}", stage.requests());
    let status = closed.status.unwrap();
    assert_eq!((status.episode, status.halt.is_none(), status.halts.len()), (1, true, 1));
    let past = &status.halts[0];
    assert_eq!((past.id.as_str(), past.decision), (packet.spec.halt_id.as_str(), Decision::Resume));
    assert_eq!(past.resolved_by.as_deref(), Some("admin"));
    assert_eq!(past.packet_ref.name, packet.name_any());
    resolved(&stage, &packet, "True", "Resumed").await;
}

#[tokio::test]
async fn the_same_mismatch_again_is_another_halt_with_another_packet() {
    let stage = stage("halt-again").await;
    let (name, _, mut packet) = halted(&stage).await;
    let mut ids = vec![packet.spec.halt_id.clone()];
    for episode in 1..=3 {
        stage.resolve(&packet, "Resume", None).await;
        stage
            .wait(&name, "halted again", |closure| {
                closure.status.as_ref().unwrap().episode == episode && is_true(closure, "Stalled")
            })
            .await;
        resolved(&stage, &packet, "True", "Resumed").await;
        packet = stage.halted(&name).await.1;
        ids.push(packet.spec.halt_id.clone());
    }
    let status = stage.get(&name).await.status.unwrap();
    let past: Vec<_> = status.halts.iter().map(|halt| halt.id.clone()).collect();
    assert_eq!(past, ids[..3]);
    assert_eq!(stage.all_packets().await.len(), 4);
    assert!(stage.writes().is_empty());
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn no_other_resolution_releases_it() {
    let stage = stage("halt-wrong").await;
    let (name, _, old) = halted(&stage).await;
    stage.resolve(&old, "Resume", None).await;
    stage
        .wait(&name, "halted again", |closure| {
            closure.status.as_ref().unwrap().episode == 1 && is_true(closure, "Stalled")
        })
        .await;
    let (before, packet) = stage.halted(&name).await;
    rename(&stage, "M 00001");
    stage.sandbox().clear_requests();
    // What the API server lets nobody say.
    let right = json!({"decision": "Resume", "haltId": packet.spec.halt_id, "resolvedBy": "admin"});
    let with = |field: &str, value: Value| {
        let mut resolution = right.clone();
        resolution[field] = value;
        resolution
    };
    let refused = [
        (&packet, with("haltId", json!(old.spec.halt_id)), "must be the packet's haltId"),
        (&packet, with("handoff", json!("Delivered")), "required exactly when the cause is NotificationUncertain"),
        (&packet, with("resolvedBy", json!("somebody-else")), "must be the user who resolves: admin"),
        (&old, with("haltId", json!(old.spec.halt_id)), "a resolution is final"),
    ];
    for (on, mut resolution, why) in refused {
        if on.name_any() == old.name_any() {
            resolution["decision"] = json!("Abandon");
        }
        let patch = Patch::Merge(json!({"spec": {"resolution": resolution}}));
        let refusal = stage.packets.patch(&on.name_any(), &PatchParams::default(), &patch).await.expect_err(why);
        assert!(refusal.to_string().contains(why), "{refusal}");
    }
    // Nor may the facts of a halt be changed, or a packet be made with its resolution.
    let patch = Patch::Merge(json!({"spec": {"cause": "RecordMissing"}}));
    stage.packets.patch(&packet.name_any(), &PatchParams::default(), &patch).await.expect_err("facts never change");
    let mut forged = packet.clone();
    forged.metadata = kube::api::ObjectMeta { name: Some("forged".to_owned()), ..Default::default() };
    forged.spec.resolution = Some(serde_json::from_value(right).unwrap());
    stage.packets.create(&Default::default(), &forged).await.expect_err("a packet is created without a resolution");
    // An old packet without its resolution, resolved once more, is for a halt that is over.
    stage.packets.delete(&old.name_any(), &DeleteParams::default()).await.unwrap();
    let mut again = old.clone();
    again.metadata = kube::api::ObjectMeta { name: Some(old.name_any()), ..Default::default() };
    again.spec.resolution = None;
    stage.packets.create(&Default::default(), &again).await.unwrap();
    stage.resolve(&again, "Resume", None).await;
    resolved(&stage, &again, "False", "Rejected").await;
    stage.quiet(Duration::from_secs(2)).await;
    let after = stage.get(&name).await;
    assert_eq!(after.status.unwrap().halt, before.status.unwrap().halt);
    assert_eq!(stage.requests(), Vec::<String>::new());
    // The right one does, after all this.
    stage.resolve(&packet, "Resume", None).await;
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
}

#[tokio::test]
async fn a_resolution_of_nobodys_halt_is_rejected() {
    let stage = stage("halt-orphan").await;
    let (name, _, packet) = halted(&stage).await;
    stage.delete(&name).await;
    stage.resolve(&packet, "Resume", None).await;
    resolved(&stage, &packet, "False", "Rejected").await;
    // A later object of this closure is not held by it any more.
    rename(&stage, "M 00001");
    stage.start().await;
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
}

/// The closure goes and its packet is resolved while nobody looks; then both are told in one moment, the packet's first.
#[tokio::test]
async fn a_resolution_that_is_heard_of_before_its_closure_went_is_rejected_too() {
    let setup = Setup { seed: sandbox::generate(1), shared: false, ..Setup::default() };
    let stage = Stage::with("halt-orphans", setup).await;
    let operator = stage.operator().await;
    let (name, _, packet) = halted(&stage).await;
    operator.signal("-STOP");
    stage.delete(&name).await;
    stage.resolve(&packet, "Resume", None).await;
    // Both have arrived.
    tokio::time::sleep(Duration::from_secs(1)).await;
    operator.signal("-CONT");
    resolved(&stage, &packet, "False", "Rejected").await;
}

#[tokio::test]
async fn an_abandoned_closure_is_final() {
    let stage = stage("halt-abandon").await;
    let (name, _, packet) = halted(&stage).await;
    rename(&stage, "M 00001");
    stage.sandbox().clear_requests();
    stage.resolve(&packet, "Abandon", None).await;
    let closure = stage.wait(&name, "abandoned", |closure| ready(closure).1 == "Abandoned").await;
    resolved(&stage, &packet, "True", "Abandoned").await;
    assert_eq!(condition(&closure, "Stalled"), Some(("True".to_owned(), "Abandoned".to_owned())));
    let status = closure.status.as_ref().unwrap();
    assert!(status.completion_time.is_some() && status.halt.is_none() && status.trace.is_some());
    assert_eq!(status.halts[0].decision, Decision::Abandon);
    for patch in [json!({"spec": {"suspend": true}}), json!({"spec": {"mode": "Plan"}})] {
        let refused = stage.closures.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        assert!(refused.unwrap_err().to_string().contains("frozen"), "the spec of a finished closure");
    }
    stage.patch(&name, json!({"metadata": {"annotations": {"releaseclosure.io/requestedAt": "now"}}})).await;
    stage.quiet(Duration::from_secs(3)).await;
    assert_eq!(stage.requests(), Vec::<String>::new());
    assert_eq!(stage.get(&name).await.status, closure.status);
}

#[tokio::test]
async fn a_packet_that_was_deleted_is_made_again_from_the_status() {
    let stage = stage("halt-packet").await;
    let (name, _, packet) = halted(&stage).await;
    rename(&stage, "M 00001");
    stage.sandbox().clear_requests();
    for _ in 0..2 {
        let before = stage.packets.get(&packet.name_any()).await.unwrap();
        stage.packets.delete(&packet.name_any(), &DeleteParams::default()).await.unwrap();
        let start = Instant::now();
        let after = loop {
            match stage.packets.get_opt(&packet.name_any()).await.unwrap() {
                Some(after) if after.metadata.uid != before.metadata.uid => break after,
                _ => assert!(start.elapsed() < crate::stage::PATIENCE, "no packet"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(after.spec, packet.spec);
    }
    assert_eq!(stage.requests(), Vec::<String>::new());
    let again = stage.halted(&name).await.1;
    stage.resolve(&again, "Resume", None).await;
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
}

#[tokio::test]
async fn a_resolution_waits_while_the_closure_is_suspended() {
    let stage = stage("halt-suspended").await;
    let (name, halted, packet) = halted(&stage).await;
    rename(&stage, "M 00001");
    stage.sandbox().clear_requests();
    stage.patch(&name, json!({"spec": {"suspend": true}})).await;
    stage.wait(&name, "observed", |closure| closure.status.as_ref().unwrap().observed_generation == 2).await;
    stage.resolve(&packet, "Resume", None).await;
    let annotation = json!({"metadata": {"annotations": {"releaseclosure.io/requestedAt": "one"}}});
    stage.patch(&name, annotation).await;
    stage.quiet(Duration::from_secs(2)).await;
    let status = stage.get(&name).await.status.unwrap();
    assert_eq!((status.episode, status.halt), (0, halted.status.unwrap().halt));
    assert_eq!(status.last_handled_reconcile_at.as_deref(), Some("one"), "it is echoed all the same");
    assert_eq!(stage.requests(), Vec::<String>::new());
    stage.patch(&name, json!({"spec": {"suspend": false}})).await;
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
    resolved(&stage, &packet, "True", "Resumed").await;
}

#[tokio::test]
async fn of_two_objects_of_one_closure_the_older_acts_and_its_halt_holds_both() {
    let stage = stage("halt-two").await;
    let mut first = stage.closure(1);
    first["spec"]["suspend"] = json!(true);
    let first = stage.create(&first).await;
    // Creation times are in whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut second = stage.closure(1);
    second["metadata"]["name"] = json!("second");
    stage.create(&second).await;
    stage.waiting("second", "DuplicateClosure").await;
    assert_eq!(stage.requests(), Vec::<String>::new());
    rename(&stage, "Renamed");
    stage.patch(&first, json!({"spec": {"suspend": false}})).await;
    let (_, packet) = stage.halted(&first).await;
    let (closure, same) = stage.halted("second").await;
    assert_eq!(same.name_any(), packet.name_any());
    assert_eq!(ready(&closure).1, "MilestoneRenamed");
    assert_eq!(stage.all_packets().await.len(), 1);
    assert_eq!(stage.requests().len(), 5);
    rename(&stage, "M 00001");
    stage.resolve(&packet, "Resume", None).await;
    assert_eq!(outcomes(&stage.closed(&first).await), ["Changed"; 5]);
    // The younger one finds everything done and tells nobody.
    assert_eq!(outcomes(&stage.closed("second").await), ["AlreadyDone"; 5]);
    assert_eq!(stage.sandbox().deliveries().len(), 1);
}

#[tokio::test]
async fn a_halt_is_held_through_restarts_of_the_operator() {
    let setup = Setup { seed: sandbox::generate(2), shared: false, ..Setup::default() };
    let stage = Stage::with("halt-restart", setup).await;
    let operator = stage.operator().await;
    let (name, closure, packet) = halted(&stage).await;
    let (version, deleted) = (closure.metadata.resource_version.clone(), packet.name_any());
    rename(&stage, "M 00001");
    operator.kill();
    // A packet that a crash, or somebody, took is there again after the start, and nothing else happens.
    stage.packets.delete(&deleted, &DeleteParams::default()).await.unwrap();
    stage.sandbox().clear_requests();
    let _operator = stage.operator_after_a_crash().await;
    let (after, again) = stage.halted(&name).await;
    assert_eq!(again.spec, packet.spec);
    stage.quiet(Duration::from_secs(2)).await;
    assert_eq!(stage.requests(), Vec::<String>::new());
    assert_eq!(after.metadata.resource_version, version);
    stage.resolve(&again, "Resume", None).await;
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
}

#[tokio::test]
async fn the_worst_case_fits_a_status() {
    // Everything disagrees, in texts as long as systems may send and in characters as wide as there are.
    let mut seed = sandbox::generate(1);
    let (long, title) = ("\u{1f6d1}".repeat(64), "\u{1f6d1}".repeat(256));
    let id = |letter: &str| letter.repeat(128);
    let wrong = json!({"id": id("r"), "service": id("s"), "version": id("v")});
    let set = |record: &mut Value, path: &str, value: Value| *record.pointer_mut(path).expect(path) = value;
    let review = &mut seed.reviews[0];
    set(review, "/state", json!(long));
    set(review, "/version", json!(id("v")));
    set(review, "/release", wrong.clone());
    set(review, "/milestone", json!({"id": id("m"), "title": title}));
    set(review, "/acceptedEvent/id", json!(id("e")));
    let bundle = &mut seed.bundles[0];
    set(bundle, "/digest", json!(format!("sha256:{}", "f".repeat(64))));
    set(bundle, "/release/id", json!(id("r")));
    set(bundle, "/review/version", json!(id("v")));
    set(bundle, "/url", json!(format!("ftp://archive.example.com/{}", "u".repeat(400))));
    bundle["artifacts"] = json!([]);
    let checklist = &mut seed.checklists[0];
    set(checklist, "/release/id", json!(id("r")));
    set(checklist, "/review/version", json!(id("v")));
    set(checklist, "/state", json!(long));
    checklist["items"] = (0..50).map(|item| json!({"id": format!("i{item}"), "title": title, "done": false})).collect();
    let release = &mut seed.releases[0];
    set(release, "/release", wrong);
    set(release, "/state", json!(long));
    set(release, "/milestone", json!({"id": id("m"), "title": title}));
    release["closure"] = json!({"key": format!("{}@{}@{}", id("a"), id("b"), id("c")), "uid": "another"});
    let entry = &mut seed.queue_entries[0];
    set(entry, "/release/id", json!(id("r")));
    set(entry, "/review/version", json!(id("v")));
    set(entry, "/state", json!(long));
    let stage = Stage::with("halt-worst", Setup { seed, ..Setup::default() }).await;
    let clean = sandbox::generate(1);
    let review = &clean.reviews[0];
    let mut closure = stage.closure(1);
    closure["spec"]["release"] = review["release"].clone();
    closure["spec"]["review"]["version"] = review["version"].clone();
    closure["spec"]["review"]["acceptedEvent"]["id"] = review["acceptedEvent"]["id"].clone();
    closure["spec"]["milestone"] = review["milestone"].clone();
    let name = stage.create(&closure).await;
    let (closure, packet) = stage.halted(&name).await;
    let halt = closure.status.as_ref().unwrap().halt.clone().unwrap();
    let omitted = usize::try_from(halt.findings_omitted.unwrap()).unwrap();
    assert_eq!(halt.findings.len() + omitted, 29, "{:?}", halt.findings);
    assert_eq!((&packet.spec.findings, packet.spec.findings_omitted), (&halt.findings, halt.findings_omitted));
    for finding in &halt.findings {
        assert!(finding.expected.chars().count() <= 128 && finding.observed.chars().count() <= 128, "{finding:?}");
    }
    let size = serde_json::to_vec(&closure.status).unwrap().len();
    assert!(size < 16 * 1024, "{size} bytes");
    assert!(stage.writes().is_empty());
}

/// What a closure halts with whose bundle has this name and lacks all of these artifacts.
async fn lacking(name: &str, bundle: &str, kinds: &[String]) -> (Stage, ReleaseClosure, FollowUpPacket) {
    let mut seed = sandbox::generate(1);
    seed.reviews[0]["evidence"]["bundle"] = json!(bundle);
    seed.bundles[0]["bundle"] = json!(bundle);
    seed.bundles[0]["artifacts"] = json!([]);
    let stage = Stage::with(name, Setup { seed, ..Setup::default() }).await;
    let rules = json!({"archive": {"requiredArtifacts": kinds}});
    stage.patch_spec("closureplaybook", "engineering-release", rules).await;
    stage.settled_in().await;
    let closure = stage.start().await;
    let (closure, packet) = stage.halted(&closure).await;
    (stage, closure, packet)
}

#[tokio::test]
async fn of_many_findings_twenty_four_are_told_and_the_others_counted() {
    let kinds: Vec<String> = (10..42).map(|number| format!("kind-{number}")).collect();
    let (_stage, closure, packet) = lacking("halt-many", "short", &kinds).await;
    let halt = closure.status.unwrap().halt.unwrap();
    assert_eq!((halt.findings.len(), halt.findings_omitted), (24, Some(8)));
    assert_eq!((&packet.spec.findings, packet.spec.findings_omitted), (&halt.findings, halt.findings_omitted));
    assert_eq!(halt.findings[23].expected, kinds[23]);
}

#[tokio::test]
async fn findings_on_the_longest_names_fit_a_status_too() {
    let kinds: Vec<String> = (10..42).map(|number| format!("{number}{}", "k".repeat(126))).collect();
    let bundle = ["b".repeat(127).as_str(); 4].join("/");
    let (_stage, closure, packet) = lacking("halt-long", &bundle, &kinds).await;
    let halt = closure.status.as_ref().unwrap().halt.clone().unwrap();
    let omitted = usize::try_from(halt.findings_omitted.unwrap()).unwrap();
    assert_eq!(halt.findings.len() + omitted, kinds.len());
    assert_eq!(packet.spec.findings, halt.findings);
    let size = serde_json::to_vec(&closure.status).unwrap().len();
    assert!(size < 16 * 1024, "{size} bytes with {} findings", halt.findings.len());
}
