//! A halt reaches a person: on a channel of its own, at least once, whatever is killed in between; and no halt, no packet and
//! no closure waits for it.

use crate::stage::{PATIENCE, Setup, Stage, outcomes, ready};
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams, PostParams};
use releaseclosure::api::{ClosurePlaybook, FollowUpPacket, SystemConnection};
use releaseclosure::sandbox::{self, Role};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn setup(releases: usize, shared: bool) -> Setup {
    Setup { seed: sandbox::generate(releases), shared, ..Setup::default() }
}

/// A channel, and a playbook that names it.
async fn name_channel(stage: &Stage, setup: &Setup) {
    let connections: Api<SystemConnection> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let channel = serde_json::from_value(stage.connection("follow-up", "FollowUp", setup)).unwrap();
    connections.create(&PostParams::default(), &channel).await.unwrap();
    let playbooks: Api<ClosurePlaybook> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let patch = json!({"spec": {"followUp": {"connectionRef": {"name": "follow-up"}}}});
    playbooks.patch("engineering-release", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn stage(name: &str, setup: Setup) -> Stage {
    let stage = Stage::with(name, setup.clone()).await;
    name_channel(&stage, &setup).await;
    if setup.shared {
        stage.settled_in().await;
    }
    stage
}

fn rename(stage: &Stage, number: usize, title: &str) {
    let patch = json!({"milestone": {"title": title}});
    assert!(stage.sandbox().edit(Role::Tracker, &format!("REL-{number:05}"), &patch));
}

/// A closure that halts by a renamed milestone.
async fn halts(stage: &Stage, number: usize) -> (String, FollowUpPacket) {
    rename(stage, number, "Renamed");
    let name = stage.create(&stage.closure(number)).await;
    let packet = stage.halted(&name).await.1;
    (name, packet)
}

/// What a packet says of having been announced: status and reason.
async fn announced(stage: &Stage, packet: &str) -> Option<(String, String)> {
    let status = stage.packets.get(packet).await.unwrap().status?;
    let found = status.conditions.into_iter().find(|condition| condition.type_ == "Announced")?;
    Some((found.status, found.reason))
}

async fn says(stage: &Stage, packet: &FollowUpPacket, status: &str, reason: &str) {
    let start = Instant::now();
    let wanted = Some((status.to_owned(), reason.to_owned()));
    loop {
        let said = announced(stage, &packet.name_any()).await;
        if said == wanted {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{} says {said:?} and not {wanted:?}", packet.name_any());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What arrived on the channel under a halt's id.
fn told(stage: &Stage, packet: &FollowUpPacket) -> Option<Value> {
    Some(stage.sandbox().record(Role::FollowUp, &packet.spec.halt_id)?.value["followUp"].clone())
}

#[tokio::test]
async fn a_halt_is_told_once_in_the_words_of_its_packet() {
    let stage = stage("follow-up-told", setup(2, true)).await;
    let (name, packet) = halts(&stage, 1).await;
    says(&stage, &packet, "True", "Announced").await;
    let expected = json!({"haltId": packet.spec.halt_id, "closureKey": "load-00001@RR-load-00001@1",
        "packet": packet.name_any(), "namespace": stage.namespace, "coordinator": "release-coordinators",
        "cause": "MilestoneRenamed", "link": "https://tracker.example.com/REL-00001"});
    assert_eq!(told(&stage, &packet), Some(expected));
    stage.quiet(Duration::from_secs(2)).await;
    assert_eq!(stage.count("POST", "followUp"), 1);
    // Only the status says it: the facts of the packet are as they were made.
    let now = stage.packets.get(&packet.name_any()).await.unwrap();
    assert_eq!((now.spec, now.metadata.generation), (packet.spec.clone(), Some(1)));
    // The coordinator's resolution is told beside it, and nothing more goes out.
    rename(&stage, 1, "M 00001");
    stage.resolve(&packet, "Resume", None).await;
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
    let resolved = stage.packets.get(&packet.name_any()).await.unwrap().status.unwrap();
    let kinds: Vec<&str> = resolved.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(kinds, ["Announced", "Resolved"]);
    assert_eq!(stage.count("POST", "followUp"), 1);
    // A closure that closes is nothing to tell of here.
    let other = stage.create(&stage.closure(2)).await;
    stage.closed(&other).await;
    assert_eq!(stage.sandbox().len(Role::FollowUp), 1);
}

#[tokio::test]
async fn an_operator_that_dies_between_halt_and_telling_leaves_it_to_the_next() {
    for (stage_name, served) in [("follow-up-crash-before", false), ("follow-up-crash-after", true)] {
        let stage = stage(stage_name, setup(1, false)).await;
        let operator = stage.operator().await;
        let action = if served { "holdAfter" } else { "hold" };
        let fault = stage.fault(json!({"match": {"role": "followUp", "method": "POST"}, "action": action}));
        let (name, packet) = halts(&stage, 1).await;
        stage.holds(&fault, 1).await;
        // The halt is stored first, then its packet made, then it is told: versions are counted by the API server.
        let version = |meta: &kube::api::ObjectMeta| meta.resource_version.as_ref().unwrap().parse::<u64>().unwrap();
        let (closure, made) = (stage.get(&name).await, stage.packets.get(&packet.name_any()).await.unwrap());
        assert!(version(&closure.metadata) < version(&made.metadata), "a packet of a halt that is not stored");
        operator.kill();
        stage.sandbox().remove_fault(&fault);
        assert_eq!(announced(&stage, &packet.name_any()).await, None);
        assert_eq!(told(&stage, &packet).is_some(), served);
        let _operator = stage.operator_after_a_crash().await;
        says(&stage, &packet, "True", "Announced").await;
        // At least once, and the channel knows it by its key.
        let log = stage.sandbox().requests(0);
        let posts: Vec<_> =
            log.iter().filter(|entry| entry.method == "POST" && entry.path.contains("/follow-ups")).collect();
        assert!(posts.iter().all(|entry| entry.record.as_deref() == Some(packet.spec.halt_id.as_str())), "{posts:?}");
        assert_eq!(posts.iter().filter(|entry| entry.applied).count(), 1);
        assert_eq!(stage.sandbox().len(Role::FollowUp), 1);
    }
}

#[tokio::test]
async fn a_channel_that_hangs_holds_up_no_halt_and_no_closure() {
    let stage = stage("follow-up-away", setup(6, true)).await;
    let hangs = stage.fault(json!({"match": {"role": "followUp", "method": "POST"}, "action": "hold"}));
    let (released, first) = halts(&stage, 1).await;
    let (_, second) = halts(&stage, 2).await;
    stage.holds(&hangs, 2).await;
    // While it hangs others are halted and closed, and a halt is released.
    for number in 3..=5 {
        let name = stage.create(&stage.closure(number)).await;
        assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
    }
    rename(&stage, 1, "M 00001");
    stage.resolve(&first, "Resume", None).await;
    assert_eq!(outcomes(&stage.closed(&released).await), ["Changed"; 5]);
    says(&stage, &second, "False", "ChannelUnavailable").await;
    assert_eq!(stage.sandbox().len(Role::FollowUp), 0);
    stage.sandbox().remove_fault(&hangs);
    says(&stage, &second, "True", "Announced").await;
    // What is resolved is told to nobody any more.
    let (_, third) = halts(&stage, 6).await;
    says(&stage, &third, "True", "Announced").await;
    assert_eq!((told(&stage, &first), stage.sandbox().len(Role::FollowUp)), (None, 2));
}

/// A halt that meets a channel which is left alone, so that nothing is sent, is told of in the packet and in the metrics all the
/// same: else nobody would know that nobody knows.
#[tokio::test]
async fn a_channel_that_lets_nothing_through_shows() {
    let setup = Setup { policy: json!({"retry": {"initial": "1s", "max": "5s"}}), ..setup(4, false) };
    let stage = stage("follow-up-held", setup).await;
    let operator = stage.operator().await;
    let away =
        stage.fault(json!({"match": {"role": "followUp", "method": "POST"}, "action": {"status": {"code": 401}}}));
    let (_, first) = halts(&stage, 1).await;
    says(&stage, &first, "False", "ChannelUnavailable").await;
    let sent = stage.count("POST", "followUp");
    let (_, second) = halts(&stage, 2).await;
    says(&stage, &second, "False", "ChannelUnavailable").await;
    assert_eq!(stage.count("POST", "followUp"), sent, "nothing was sent for it");
    let text = crate::prometheus::get(&format!("{}/metrics", operator.metrics)).await.expect("metrics");
    let series = "releaseclosure_follow_ups_total{outcome=\"held_back\"} ";
    let counted = text.lines().find_map(|line| line.strip_prefix(series)).expect("the series");
    assert!(counted.parse::<u64>().unwrap() >= 1, "{counted}");
    stage.sandbox().remove_fault(&away);
}

#[tokio::test]
async fn a_channel_that_refuses_is_tried_again_and_one_named_later_hears_of_earlier_halts() {
    let setup = setup(1, true);
    let stage = Stage::with("follow-up-later", setup.clone()).await;
    let (name, packet) = halts(&stage, 1).await;
    stage.quiet(Duration::from_secs(1)).await;
    assert_eq!(announced(&stage, &packet.name_any()).await, None, "there is no channel");
    let refuses =
        stage.fault(json!({"match": {"role": "followUp", "method": "POST"}, "action": {"status": {"code": 422}}}));
    name_channel(&stage, &setup).await;
    says(&stage, &packet, "False", "ChannelRefused").await;
    stage.sandbox().remove_fault(&refuses);
    says(&stage, &packet, "True", "Announced").await;
    assert!(told(&stage, &packet).is_some());
    let halted = stage.get(&name).await;
    assert_eq!(
        (ready(&halted).1.as_str(), halted.status.unwrap().halt.unwrap().id),
        ("MilestoneRenamed", packet.spec.halt_id)
    );
}

#[tokio::test]
async fn a_channel_is_its_own_and_an_administrators_to_allow() {
    let setup = setup(1, true);
    let stage = Stage::with("follow-up-role", setup.clone()).await;
    let connections: Api<SystemConnection> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let mut shared = stage.connection("both", "FollowUp", &setup);
    shared["spec"]["allowedRoles"] = json!(["Intake", "FollowUp"]);
    let refused = connections.create(&PostParams::default(), &serde_json::from_value(shared).unwrap()).await;
    assert!(refused.unwrap_err().to_string().contains("FollowUp stands alone"));
    // The intake's own connection is not one, either: the playbook says so, and its closures halt and close as ever.
    let playbooks: Api<ClosurePlaybook> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let patch = json!({"spec": {"followUp": {"connectionRef": {"name": "intake"}}}});
    playbooks.patch("engineering-release", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let start = Instant::now();
    loop {
        let status = playbooks.get("engineering-release").await.unwrap().status.unwrap_or_default();
        if status
            .conditions
            .iter()
            .any(|found| (found.status.as_str(), found.reason.as_str()) == ("False", "RoleNotAllowed"))
        {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{status:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (name, packet) = halts(&stage, 1).await;
    says(&stage, &packet, "False", "RoleNotAllowed").await;
    rename(&stage, 1, "M 00001");
    stage.resolve(&packet, "Resume", None).await;
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
    assert_eq!((stage.count("POST", "followUp"), stage.sandbox().deliveries().len()), (0, 1));
}
