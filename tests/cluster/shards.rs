//! Two replicas and four shards: each closure is closed once, by whoever leads its namespace.

use crate::audit::Asked;
use crate::feeds::poster::{Poster, now};
use crate::feeds::{open_for_feeds, review, webhook};
use crate::grants::differences;
use crate::operators::{ACCOUNT, Operator, Start, free_port, own_plane};
use crate::permissions::{asked, granted};
use crate::stage::{LEASE, PATIENCE, Setup, Stage, outcomes};
use crate::support::controlplane::{ControlPlane, eventually, kustomized, repository};
use crate::support::objects;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, PostParams};
use releaseclosure::api::AcceptanceFeed;
use releaseclosure::sandbox::{self, Verdict};
use releaseclosure::shards::Shard;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// One namespace and more in each of four shards: `team-0` to `team-8`.
const NAMESPACES: usize = 9;
/// Requests to the systems of one clean closure.
const REQUESTS: usize = 15;
/// How long two replicas are watched doing nothing, and the requests that they may make meanwhile: each 0.2 a second for the common
/// Lease, 0.1 for each of two shards that it leads, 0.2 for each of the other two, as docs/shards.md says; and each once more.
const IDLE: Duration = Duration::from_secs(30);
const IDLE_REQUESTS: usize = 2 * (24 + 5);

fn launch(plane: &ControlPlane, shards: &str) -> Operator {
    Operator::installed(plane, Start::with(&[&format!("--shards={shards}")]))
}

/// An API server where the account has what the component grants: each Lease by its name.
async fn plane(flags: &'static [&'static str]) -> &'static ControlPlane {
    let plane = own_plane(flags).await;
    let open = || {
        let rendered = kustomized(&repository("tests/install/rights"));
        assert!(rendered.contains("- --shards=4"), "{rendered}");
        let all = objects::documents(&rendered);
        let role = all.iter().find(|one| one["kind"] == "Role" && one["metadata"]["name"] == LEASE.1).unwrap();
        objects::at_once(plane, async |client| objects::apply(&client, std::slice::from_ref(role)).await);
    };
    tokio::task::spawn_blocking(open).await.unwrap();
    plane
}

async fn stages(plane: &'static ControlPlane, releases: usize) -> Vec<Stage> {
    let mut stages = Vec::new();
    for number in 0..NAMESPACES {
        let setup = Setup { plane: Some(plane), seed: sandbox::generate(releases), ..Setup::default() };
        stages.push(Stage::with(&format!("team-{number}"), setup).await);
    }
    let shards = "4".parse().unwrap();
    let used: BTreeSet<u16> = stages.iter().map(|stage| Shard::of(&stage.namespace, shards).index()).collect();
    assert_eq!(used.len(), 4, "a namespace at least in each shard");
    stages
}

/// How many shards each replica holds.
async fn held(stages: &[Stage]) -> BTreeMap<String, usize> {
    let leases: Api<Lease> = Api::namespaced(stages[0].client.clone(), "releaseclosure-system");
    let mut held = BTreeMap::new();
    for lease in leases.list(&ListParams::default()).await.unwrap().items {
        let shard = lease.metadata.name.is_some_and(|name| name.contains("-shard-"));
        if let Some(holder) = lease.spec.and_then(|spec| spec.holder_identity).filter(|_| shard) {
            *held.entry(holder).or_insert(0) += 1;
        }
    }
    held
}

async fn until_held(stages: &[Stage], wanted: &[usize]) {
    let start = Instant::now();
    loop {
        let held: Vec<usize> = held(stages).await.into_values().collect();
        if held == wanted {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{held:?} and not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn create(stages: &[Stage], number: usize) -> Vec<String> {
    let mut names = Vec::new();
    for stage in stages {
        names.push(stage.create(&stage.closure(number)).await);
    }
    names
}

async fn closed(stages: &[Stage], names: &[String]) {
    for (stage, name) in stages.iter().zip(names) {
        assert_eq!(outcomes(&stage.closed(name).await), ["Changed"; 5]);
    }
}

/// Two replicas that share four shards, and have closed a closure in each namespace.
async fn two_at_work() -> (&'static ControlPlane, Vec<Stage>, Operator, Operator) {
    let plane = plane(&[]).await;
    let stages = stages(plane, 4).await;
    let (a, b) = (launch(plane, "4"), launch(plane, "4"));
    until_held(&stages, &[2, 2]).await;
    for stage in &stages {
        stage.settled_in().await;
    }
    closed(&stages, &create(&stages, 1).await).await;
    (plane, stages, a, b)
}

/// So many closures took effect in each namespace, each once.
fn each_once(stages: &[Stage], closures: usize) {
    for stage in stages {
        assert_eq!(stage.writes().values().sum::<usize>(), 5 * closures, "{}: {:?}", stage.namespace, stage.writes());
        assert_eq!(stage.sandbox().deliveries().len(), closures, "{}", stage.namespace);
    }
}

/// How many closures each has closed, when together they say that they have closed so many: they say so after it is stored.
async fn have_closed<const N: usize>(operators: [&Operator; N], all: usize) -> [usize; N] {
    let start = Instant::now();
    loop {
        let done = operators.map(closes);
        if done.iter().sum::<usize>() >= all {
            return done;
        }
        assert!(start.elapsed() < PATIENCE, "{done:?} of {all}\n{}", operators.map(Operator::read_log).join("\n"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn closes(operator: &Operator) -> usize {
    operator.read_log().lines().filter(|line| line.contains("\"closed\"") || line.contains(": closed ")).count()
}

#[tokio::test]
async fn two_replicas_share_the_work_and_each_closure_is_closed_once() {
    let (_, stages, a, b) = two_at_work().await;
    for stage in &stages {
        let told = |operator: &Operator| {
            let log = operator.read_log();
            log.lines()
                .filter(|line| line.contains(&stage.namespace) || line.contains("renew"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let requests = stage.requests();
        assert_eq!(requests.len(), REQUESTS, "{}: {requests:#?}\n{}\n{}", stage.namespace, told(&a), told(&b));
    }
    each_once(&stages, 1);
    let done = have_closed([&a, &b], NAMESPACES).await;
    let logs = || format!("{}\n{}", a.read_log(), b.read_log());
    assert!(done[0] > 0 && done[1] > 0 && done[0] + done[1] == NAMESPACES, "{done:?}\n{}", logs());
}

#[tokio::test]
async fn a_killed_replica_a_new_one_and_a_clean_stop_repeat_nothing() {
    let (plane, stages, a, b) = two_at_work().await;
    each_once(&stages, 1);
    // A kill in the middle of it, with a write of each closure on its way.
    let queue = json!({"match": {"role": "queue", "method": "PATCH"}, "action": "hold"});
    let faults: Vec<String> = stages.iter().map(|stage| stage.fault(queue.clone())).collect();
    let names = create(&stages, 2).await;
    for (stage, fault) in stages.iter().zip(&faults) {
        stage.holds(fault, 1).await;
    }
    a.kill();
    for (stage, fault) in stages.iter().zip(&faults) {
        stage.sandbox().remove_fault(fault);
        stage.sandbox().release(fault, Verdict::Release);
    }
    closed(&stages, &names).await;
    each_once(&stages, 2);
    until_held(&stages, &[4]).await;

    // Another one joins, and is handed its share; then a clean stop hands everything over.
    let c = launch(plane, "4");
    until_held(&stages, &[2, 2]).await;
    closed(&stages, &create(&stages, 3).await).await;
    each_once(&stages, 3);
    have_closed([&c], 1).await;
    b.signal("-TERM");
    let names = create(&stages, 4).await;
    closed(&stages, &names).await;
    each_once(&stages, 4);
    until_held(&stages, &[4]).await;
    b.until_ended().await;
    assert!(!b.logged("broken off") && !b.logged("leadership ended"), "{}", b.read_log());
}

/// A webhook is taken by who leads the shard of its namespace; any other says that another one is to be asked.
#[tokio::test]
async fn a_webhook_is_taken_by_one_replica_and_sent_on_by_the_other() {
    let plane = plane(&[]).await;
    let stages = stages(plane, 2).await;
    for stage in &stages {
        open_for_feeds(stage).await;
        let feed = serde_json::from_value(webhook("governance", "StandardWebhooks", &["webhook"])).unwrap();
        let feeds: Api<AcceptanceFeed> = Api::namespaced(stage.client.clone(), &stage.namespace);
        feeds.create(&PostParams::default(), &feed).await.unwrap();
    }
    let addresses = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
    let replicas = addresses.each_ref().map(|address| {
        Operator::installed(plane, Start::with(&["--shards=4", &format!("--feeds-bind-address={address}")]))
    });
    until_held(&stages, &[2, 2]).await;
    for stage in &stages {
        stage.settled_in().await;
    }
    let mut taken = [0; 2];
    for stage in &stages {
        let body = json!({"data": {"review": {"id": review(1)}}}).to_string();
        let poster = |address: &String| Poster::new(format!("http://{address}/feeds/{}/governance", stage.namespace));
        // Each delivery comes twice, as by a proxy that tries all endpoints; who takes it may have to judge the feed first.
        let start = Instant::now();
        let answers = loop {
            let mut answers = Vec::new();
            for address in &addresses {
                answers.push(poster(address).standard("evt-1", now(), &body).await);
            }
            if answers.contains(&204) || start.elapsed() > PATIENCE {
                break answers;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert!(matches!(answers[..], [204, 503] | [503, 204]), "{}: {answers:?}", stage.namespace);
        taken[usize::from(answers[1] == 204)] += 1;
        let made = stage.closures.list(&ListParams::default()).await.unwrap().items;
        assert_eq!(made.len(), 1, "{}", stage.namespace);
        stage.closed(&made[0].name_any()).await;
    }
    each_once(&stages, 1);
    assert!(taken[0] > 0 && taken[1] > 0, "{taken:?}");
    assert_eq!(taken, have_closed(replicas.each_ref(), NAMESPACES).await, "who took it closed it");
}

async fn metric(operator: &Operator, line: &str) -> bool {
    operator.served("/metrics").await.is_some_and(|(_, text)| text.lines().any(|found| found == line))
}

/// Whoever divides the namespaces otherwise waits, says so, and takes over when the others have ended.
#[tokio::test]
async fn another_number_of_shards_acts_when_the_replicas_of_the_last_one_have_ended() {
    let plane = plane(&[]).await;
    let stages = stages(plane, 3).await;
    let old = launch(plane, "4");
    until_held(&stages, &[4]).await;
    for stage in &stages {
        stage.settled_in().await;
    }
    for (number, next, shards) in [(1, "1", 1), (2, "3", 3)] {
        let new = launch(plane, next);
        let start = Instant::now();
        while !metric(&new, "releaseclosure_shards_disagree 1").await {
            assert!(start.elapsed() < PATIENCE, "it does not say what it waits for:\n{}", new.read_log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(metric(&new, &format!("releaseclosure_shards {shards}")).await);
        new.until_logged("replicas that divide the namespaces otherwise are at work").await;
        // It stands by, so that a rollout goes on and ends the others.
        assert_eq!(new.served("/readyz").await, Some((200, "ok\n".to_owned())));
        closed(&stages, &create(&stages, number).await).await;
        each_once(&stages, number);
        assert_eq!(closes(&new), 0);
        if number == 1 {
            new.kill();
            continue;
        }
        old.signal("-TERM");
        closed(&stages, &create(&stages, 3).await).await;
        each_once(&stages, 3);
        have_closed([&new], 1).await;
        assert!(metric(&new, "releaseclosure_shards_led 3").await);
    }
}

/// Losing the Lease of one shard ends the process: the one it lost is somebody else's from then on, and the other is given back.
#[tokio::test]
async fn who_loses_one_shard_writes_nothing_of_it_and_ends() {
    let plane = plane(&[]).await;
    let stage = Stage::with("team-0", Setup { plane: Some(plane), ..Setup::default() }).await;
    let operator = launch(plane, "2");
    let stages = [stage];
    until_held(&stages, &[2]).await;
    let [stage] = &stages;
    stage.settled_in().await;
    let lost = Shard::of("team-0", "2".parse().unwrap()).index();
    let fault = stage.fault(json!({"match": {"role": "checklist", "method": "GET"}, "action": "hold"}));
    stage.start().await;
    stage.holds(&fault, 1).await;
    let taken = r#"{"spec":{"holderIdentity":"somebody"}}"#;
    let lease = |index: u16| format!("lease/releaseclosure-operator-shard-{index}");
    plane.kubectl(&["-n", "releaseclosure-system", "patch", &lease(lost), "--type=merge", "-p", taken]);
    operator.until_ended().await;
    stage.sandbox().remove_fault(&fault);
    assert!(operator.logged("leadership ended; nothing is written any more"), "{}", operator.read_log());
    assert_eq!(stage.writes().values().sum::<usize>(), 0, "{:?}", stage.writes());
    let holder = |index: u16| {
        plane.kubectl(&["-n", "releaseclosure-system", "get", &lease(index), "-o", "jsonpath={.spec.holderIdentity}"])
    };
    assert_eq!((holder(lost), holder(1 - lost)), ("somebody".to_owned(), String::new()));
}

/// What the component grants is what shards need.
#[tokio::test]
async fn the_rights_on_leases_are_those_that_shards_use() {
    let plane = plane(&["--audit"]).await;
    let operators = tokio::task::spawn_blocking(move || {
        let first = launch(plane, "4");
        eventually("all are led", || first.read_log().matches("unfinished closures is complete").count() == 4);
        let second = launch(plane, "4");
        eventually("two are handed over", || second.read_log().matches("unfinished closures is complete").count() == 2);
        // What they begin with is over.
        std::thread::sleep(IDLE / 2);
        let before = asked(plane).len();
        std::thread::sleep(IDLE);
        let mut idle = BTreeMap::new();
        for Asked { verb, what, name, .. } in asked(plane).split_off(before) {
            *idle.entry(format!("{verb} {what} {name}")).or_insert(0) += 1;
        }
        let requests: usize = idle.values().sum();
        println!("two idle replicas, four shards: {requests} requests in {IDLE:?}: {idle:#?}");
        assert!(requests <= IDLE_REQUESTS, "{requests} requests in {IDLE:?}: {idle:#?}");
        let third = launch(plane, "1");
        eventually("another waits", || third.logged("otherwise are at work"));
        // It watches the Lease that it waits for.
        let watches = |asked: &Asked| asked.verb == "watch" && asked.name == "releaseclosure-operator";
        eventually("another watches", || asked(plane).iter().any(watches));
        first.signal("-TERM");
        eventually("all are handed over", || second.read_log().matches("unfinished closures is complete").count() == 4);
        (first, second, third)
    });
    drop(operators.await.unwrap());
    let of_leases = |what: &str| what.starts_with("leases.");
    let granted: Vec<_> = granted(plane).into_iter().filter(|grant| of_leases(grant.what())).collect();
    let used: Vec<Asked> = asked(plane).into_iter().filter(|asked| of_leases(&asked.what)).collect();
    assert!(granted.len() >= 4 && !used.is_empty(), "{ACCOUNT} has rights on leases, and uses them");
    assert_eq!(differences(&granted, &used), Vec::<String>::new());
    assert_eq!(used.iter().filter(|asked| asked.status == 403).count(), 0);
}
