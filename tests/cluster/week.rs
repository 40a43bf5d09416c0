//! A week of two hundred releases, as a script: systems that fail, records that disagree, people who help, and an operator that is
//! killed. The four figures that the operator tells are what the script did, also after it has been killed; and a real
//! Prometheus that scraped it answers every query of the shipped dashboard.

use crate::operators::Operator;
use crate::prometheus::{Prometheus, dashboard, get};
use crate::stage::{PATIENCE, Setup, Stage, outcomes, ready};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use releaseclosure::api::{ClosurePlaybook, ReleaseClosure, SystemConnection};
use releaseclosure::sandbox::{self, Role};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const RELEASES: usize = 200;
const DAYS: usize = 7;

/// What the script does with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    /// Nothing: it closes.
    Clean,
    /// Somebody has done a step before.
    Done(Role),
    /// The tracker gives no answer for a while.
    Outage,
    /// The milestone is renamed before anything is written; somebody names it back and resumes.
    Renamed,
    /// The review is reopened right after the checklist was closed; somebody accepts it again and resumes.
    Reopened,
    /// The milestone is renamed, and somebody gives the closure up.
    GivenUp,
}

fn deed(number: usize) -> Deed {
    match number % 20 {
        0 => Deed::Renamed,
        1 => Deed::Reopened,
        2 => Deed::GivenUp,
        3 | 4 => Deed::Done(Role::Checklist),
        5 => Deed::Done(Role::Queue),
        15.. if [2, 5].contains(&day(number)) => Deed::Outage,
        _ => Deed::Clean,
    }
}

fn day(number: usize) -> usize {
    (number - 1) * DAYS / RELEASES
}

fn edit(stage: &Stage, role: Role, record: String, patch: serde_json::Value) {
    assert!(stage.sandbox().edit(role, &record, &patch), "{record}");
}

/// What happens before a release's closure is made.
fn prepare(stage: &Stage, number: usize) {
    match deed(number) {
        Deed::Clean | Deed::Outage => {}
        Deed::Done(Role::Queue) => edit(stage, Role::Queue, format!("Q-{number:05}"), json!({"state": "Cleared"})),
        Deed::Done(_) => edit(stage, Role::Checklist, format!("CHK-{number:05}"), json!({"state": "Closed"})),
        Deed::Renamed | Deed::GivenUp => {
            edit(stage, Role::Tracker, format!("REL-{number:05}"), json!({"milestone": {"title": "Renamed"}}));
        }
        Deed::Reopened => {
            let reopen =
                json!({"role": "governance", "record": format!("RR-load-{number:05}"), "patch": {"state": "Reopened"}});
            stage.fault(json!({"id": format!("reopen-{number}"), "action": {"edit": reopen},
                "match": {"role": "checklist", "method": "PATCH", "record": format!("CHK-{number:05}"), "nth": 1}}));
        }
    }
}

/// What people do about it, and how it ends.
async fn help(stage: &Stage, number: usize, name: &str) {
    match deed(number) {
        Deed::Clean | Deed::Done(_) | Deed::Outage => {}
        Deed::GivenUp => {
            let (_, packet) = stage.halted(name).await;
            stage.resolve(&packet, "Abandon", None).await;
            stage.wait(name, "abandoned", |closure| ready(closure).1 == "Abandoned").await;
            return;
        }
        Deed::Renamed => {
            let (_, packet) = stage.halted(name).await;
            let title = format!("M {number:05}");
            edit(stage, Role::Tracker, format!("REL-{number:05}"), json!({"milestone": {"title": title}}));
            stage.resolve(&packet, "Resume", None).await;
        }
        Deed::Reopened => {
            let (_, packet) = stage.halted(name).await;
            edit(stage, Role::Governance, format!("RR-load-{number:05}"), json!({"state": "Accepted"}));
            stage.resolve(&packet, "Resume", None).await;
        }
    }
    let closed = stage.closed(name).await;
    let done = outcomes(&closed).iter().filter(|outcome| *outcome == "AlreadyDone").count();
    assert_eq!(done, usize::from(matches!(deed(number), Deed::Done(_))), "{name}");
}

/// What the operator tells of the figures: each series with its value.
async fn told(operator: &Operator) -> BTreeMap<String, f64> {
    let text = get(&format!("{}/metrics", operator.metrics)).await.expect("an answer");
    let figures = ["closures_finished{", "halts{", "findings{", "traces{", "resumes{", "resumes_waited_seconds{"];
    let lines = text.lines().filter_map(|line| line.strip_prefix("releaseclosure_"));
    let lines = lines.filter(|line| figures.iter().any(|figure| line.starts_with(figure)));
    let value = |line: &str| line.rsplit_once(' ').map(|(series, value)| (series.to_owned(), value.parse().unwrap()));
    lines.filter_map(value).filter(|(_, value)| *value != 0.0).collect()
}

/// What the script did, as the operator should tell it; of how long things took, what the stored statuses say.
fn done(closures: &[ReleaseClosure]) -> BTreeMap<String, f64> {
    let count = |so: &dyn Fn(Deed) -> bool| (1..=RELEASES).filter(|number| so(deed(*number))).count() as f64;
    let helped = count(&|deed| matches!(deed, Deed::Renamed | Deed::Reopened));
    let given_up = count(&|deed| deed == Deed::GivenUp);
    let alone = RELEASES as f64 - helped - given_up;
    let before = count(&|deed| matches!(deed, Deed::Renamed | Deed::GivenUp));
    let after = count(&|deed| deed == Deed::Reopened);
    let status = || closures.iter().filter_map(|closure| closure.status.as_ref());
    // A busy machine may be too slow to renew the lease in time for a write: then a closure has waited, too.
    let resumed: u64 = status().map(|status| u64::from(status.outages.count)).sum();
    assert!(resumed as f64 >= count(&|deed| deed == Deed::Outage), "{resumed}");
    let outages: u64 = status().map(|status| u64::from(status.outages.seconds)).sum();
    let halted: i64 = status()
        .flat_map(|status| &status.halts)
        .filter(|past| past.decision == releaseclosure::closure::ledger::Decision::Resume)
        .map(|past| past.resolved_at.duration_since(past.at).as_secs())
        .sum();
    let mut all = BTreeMap::from([
        (r#"closures_finished{outcome="closed",person="false"}"#.to_owned(), alone),
        (r#"closures_finished{outcome="closed",person="true"}"#.to_owned(), helped),
        (r#"closures_finished{outcome="abandoned",person="true"}"#.to_owned(), given_up),
        (r#"halts{cause="MilestoneRenamed",before_write="true"}"#.to_owned(), before),
        (r#"halts{cause="SourceNotAccepted",before_write="false"}"#.to_owned(), after),
        (r#"findings{check="C7",reason="MilestoneRenamed",before_write="true"}"#.to_owned(), before),
        (r#"findings{check="C1",reason="SourceNotAccepted",before_write="false"}"#.to_owned(), after),
        (r#"resumes{after="outage"}"#.to_owned(), resumed as f64),
        (r#"resumes{after="already_updated"}"#.to_owned(), count(&|deed| matches!(deed, Deed::Done(_)))),
        (r#"resumes{after="halt"}"#.to_owned(), helped),
        (r#"resumes_waited_seconds{after="outage"}"#.to_owned(), outages as f64),
        (r#"resumes_waited_seconds{after="halt"}"#.to_owned(), halted as f64),
    ]);
    for system in ["checklist", "tracker", "archive", "queue", "intake"] {
        all.insert(format!(r#"traces{{system="{system}",complete="true"}}"#), alone + helped);
    }
    all.retain(|_, value| *value != 0.0);
    all
}

async fn tells(stage: &Stage, operator: &Operator) -> BTreeMap<String, f64> {
    let closures = stage.closures.list(&ListParams::default()).await.unwrap().items;
    let (expected, start) = (done(&closures), Instant::now());
    loop {
        let told = told(operator).await;
        if told == expected || start.elapsed() > PATIENCE {
            assert_eq!(told, expected);
            return told;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn one_day(stage: &Stage, mut operator: Operator, today: usize, prometheus: Option<&Prometheus>) -> Operator {
    let (away, others): (Vec<usize>, Vec<usize>) =
        (1..=RELEASES).filter(|number| day(*number) == today).partition(|number| deed(*number) == Deed::Outage);
    if !away.is_empty() {
        let outage = stage.fault(json!({"match": {"role": "tracker"}, "action": {"status": {"code": 503}}}));
        let mut names = Vec::new();
        for number in away {
            names.push(stage.create(&stage.closure(number)).await);
        }
        for name in &names {
            stage.waiting(name, "TrackerUnavailable").await;
        }
        if today == 2 {
            // What waits is known to the one that comes after.
            operator.kill();
            operator = stage.operator_after_a_crash().await;
            if let Some(prometheus) = prometheus {
                prometheus.scrape(&operator.metrics);
            }
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        stage.sandbox().remove_fault(&outage);
        for name in &names {
            let closed = stage.closed(name).await;
            let outages = closed.status.unwrap().outages;
            assert_eq!((outages.count, outages.since), (1, None), "{name}");
            assert!(outages.seconds >= 1, "{name}: it was away for two seconds");
        }
    }
    let mut names = Vec::new();
    for number in others {
        prepare(stage, number);
        names.push((number, stage.create(&stage.closure(number)).await));
    }
    futures::future::join_all(names.iter().map(|(number, name)| help(stage, *number, name))).await;
    operator
}

#[tokio::test]
async fn the_four_figures_of_a_week_are_what_the_week_was() {
    let limits = json!({"requestsPerSecond": 1000, "concurrency": 64, "timeout": "12s"});
    let setup = Setup { seed: sandbox::generate(RELEASES + 2), limits, shared: false, ..Setup::default() };
    let stage = Stage::with("week", setup.clone()).await;
    let mut operator = stage.operator().await;
    let home = stage.plane.kubeconfig().with_file_name("prometheus");
    let prometheus = Prometheus::start(home).await;
    if let Some(prometheus) = &prometheus {
        prometheus.scrape(&operator.metrics);
    }
    for today in 0..DAYS {
        operator = one_day(&stage, operator, today, prometheus.as_ref()).await;
    }
    let before = tells(&stage, &operator).await;
    assert_eq!(stage.sandbox().deliveries().len() as f64, before[r#"traces{system="intake",complete="true"}"#]);

    // Nothing of it was in the process's memory.
    operator.kill();
    let operator = stage.operator_after_a_crash().await;
    assert_eq!(tells(&stage, &operator).await, before);
    let Some(prometheus) = prometheus else { return };
    prometheus.scrape(&operator.metrics);
    looks(&stage, &setup, &prometheus, &before).await;
}

/// The dashboard, with one closure more that closes, and one that is halted and told of.
async fn looks(stage: &Stage, setup: &Setup, prometheus: &Prometheus, figures: &BTreeMap<String, f64>) {
    let share = r#"sum(releaseclosure_closures_finished{outcome="closed",person="false"}) / sum(releaseclosure_closures_finished)"#;
    let alone = figures[r#"closures_finished{outcome="closed",person="false"}"#];
    prometheus.becomes(share, |found| found.len() == 1 && found[0].1 == alone / RELEASES as f64).await;

    let connections: Api<SystemConnection> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let channel = serde_json::from_value(stage.connection("follow-up", "FollowUp", setup)).unwrap();
    connections.create(&PostParams::default(), &channel).await.unwrap();
    let playbooks: Api<ClosurePlaybook> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let patch = json!({"spec": {"followUp": {"connectionRef": {"name": "follow-up"}}}});
    playbooks.patch("engineering-release", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let clean = stage.create(&stage.closure(RELEASES + 1)).await;
    stage.closed(&clean).await;
    let number = RELEASES + 2;
    edit(stage, Role::Tracker, format!("REL-{number:05}"), json!({"milestone": {"title": "Renamed"}}));
    let halted = stage.create(&stage.closure(number)).await;
    stage.halted(&halted).await;

    let queries = dashboard();
    assert!(queries.len() >= 20, "{queries:?}");
    for (title, query) in queries {
        let found = prometheus.becomes(&query, |found| found.iter().any(|(_, value)| value.is_finite())).await;
        println!("{title}: {} series", found.len());
    }
    let alerts = std::fs::read_to_string(crate::support::controlplane::repository("manifests/monitoring/rules.yaml"));
    let rules = prometheus.rules().await;
    assert_eq!(rules.len(), alerts.unwrap().matches("- alert: ").count());
    assert!(rules.iter().all(|(_, health)| health == "ok"), "{rules:?}");
    prometheus
        .becomes(r#"ALERTS{alertname="ReleaseClosureHaltUnresolved",alertstate="pending"}"#, |found| found.len() == 1)
        .await;
}
