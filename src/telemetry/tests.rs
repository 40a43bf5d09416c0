use super::figures::Waited;
use super::scene::{Line, Scene};
use super::*;
use crate::closure::ids::{Step, System};
use crate::closure::ledger::{
    Check, Decision, Finding, Ledger, NameRef, ObjectVersion, Outcome, PastHalt, StateAt, StepRecord,
};
use crate::closure::reason::Reason;
use std::collections::{BTreeMap, BTreeSet};

fn line(text: &str, series: &str) -> String {
    let found = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    found.unwrap_or_else(|| panic!("{series} is not in\n{text}")).rsplit(' ').next().unwrap().to_owned()
}

/// A ledger of five steps that are all told of.
fn traced() -> Ledger {
    let state = || Some(StateAt { state: "s".into(), revision: "1".into() });
    let step = |name: Step| StepRecord {
        outcome: Outcome::Changed,
        connection: Some(ObjectVersion { name: "c".into(), uid: "u".into(), generation: 1 }),
        record: (name != Step::NotifyCoordinator).then(|| "R-1".to_owned()),
        before: state(),
        after: state(),
        reference: matches!(name, Step::AttachEvidence | Step::NotifyCoordinator).then(|| "k".to_owned()),
        at: Some(jiff::Timestamp::UNIX_EPOCH),
        ..StepRecord::pending(name)
    };
    Ledger { steps: Step::ALL.map(step).to_vec(), ..Ledger::default() }
}

fn past(decision: Decision, seconds: i64) -> PastHalt {
    PastHalt {
        id: format!("h-{seconds}"),
        cause: Reason::MilestoneRenamed,
        at: jiff::Timestamp::UNIX_EPOCH,
        packet_ref: NameRef { name: "p".into() },
        decision,
        handoff: None,
        resolved_by: None,
        resolved_at: jiff::Timestamp::from_second(seconds).unwrap(),
        superseded: None,
    }
}

fn finding() -> Finding {
    Finding {
        check: Check::C7,
        reason: Reason::MilestoneRenamed,
        system: System::Tracker,
        record: None,
        field: "milestone.title".into(),
        expected: "a".into(),
        observed: "b".into(),
        link: None,
    }
}

/// Metrics in which something has happened everywhere.
fn busy() -> Metrics {
    struct Fixed;
    impl Watch for Fixed {
        fn scene(&self) -> Scene {
            let connections = vec![Line {
                namespace: "payments".into(),
                name: "tracker".into(),
                requests: vec![("GET", "success", 7), ("PATCH", "unavailable", 1)],
                held_back: vec![("rate", 2)],
                breaker_open: true,
                breaker_opened: 3,
                took: (vec![(0.005, 4), (0.01, 3)], 1),
                took_seconds: 1.5,
            }];
            let unresolved = BTreeMap::from([(("payments".to_owned(), Reason::MilestoneRenamed), 2)]);
            let of = |name: &str| ("payments".to_owned(), name.to_owned());
            let connections_ready = BTreeMap::from([(of("tracker"), true)]);
            let feeds_ready = BTreeMap::from([(of("governance"), false)]);
            Scene { unfinished: 3, waiting: 1, unresolved, connections, connections_ready, feeds_ready }
        }
    }
    let metrics = Metrics::new();
    let mut figures = Figures::of_finished(Finish::Closed, &traced(), Waited::default());
    let mut helped = traced();
    helped.halts = vec![past(Decision::Resume, 30), past(Decision::Resume, 12)];
    helped.steps[0].outcome = Outcome::AlreadyDone;
    helped.steps[0].before = None;
    // What a crash took, what nobody can tell.
    helped.steps[1].before = None;
    helped.steps[4].outcome = Outcome::Unconfirmed;
    figures.add(&Figures::of_finished(Finish::Closed, &helped, Waited { times: 2, total: Duration::from_secs(90) }));
    let given_up = Ledger { halts: vec![past(Decision::Abandon, 5)], ..traced() };
    figures.add(&Figures::of_finished(Finish::Abandoned, &given_up, Waited::default()));
    figures.add(&Figures::of_halt(
        Reason::MilestoneRenamed,
        &[finding(), finding()],
        [Outcome::Pending, Outcome::AlreadyDone],
    ));
    figures.add(&Figures::of_halt(Reason::MilestoneRenamed, &[finding()], [Outcome::Changed, Outcome::Pending]));
    metrics.set_figures(0, Some(figures));
    metrics.set_watch(0, Some(Arc::new(Fixed)));
    metrics.resumed(After::Outage, Duration::from_secs(20));
    metrics.follow_up(Told::Announced);
    metrics.pass().end(Ending::Closed);
    drop(metrics.queue());
    metrics
}

#[test]
fn the_four_figures_follow_from_what_is_stored() {
    let text = busy().render();
    for (series, value) in [
        (r#"releaseclosure_closures_finished{outcome="closed",person="false"}"#, "1.0"),
        (r#"releaseclosure_closures_finished{outcome="closed",person="true"}"#, "1.0"),
        (r#"releaseclosure_closures_finished{outcome="abandoned",person="true"}"#, "1.0"),
        (r#"releaseclosure_closures_finished{outcome="abandoned",person="false"}"#, "0.0"),
        (r#"releaseclosure_halts{cause="MilestoneRenamed",before_write="true"}"#, "1.0"),
        (r#"releaseclosure_halts{cause="MilestoneRenamed",before_write="false"}"#, "1.0"),
        (r#"releaseclosure_findings{check="C7",reason="MilestoneRenamed",before_write="true"}"#, "2.0"),
        (r#"releaseclosure_traces{system="checklist",complete="true"}"#, "2.0"),
        (r#"releaseclosure_traces{system="tracker",complete="true"}"#, "1.0"),
        (r#"releaseclosure_traces{system="tracker",complete="false"}"#, "1.0"),
        (r#"releaseclosure_traces{system="archive",complete="true"}"#, "2.0"),
        (r#"releaseclosure_traces{system="intake",complete="false"}"#, "1.0"),
        (r#"releaseclosure_resumes{after="outage"}"#, "2.0"),
        (r#"releaseclosure_resumes_waited_seconds{after="outage"}"#, "90.0"),
        (r#"releaseclosure_resumes{after="already_updated"}"#, "1.0"),
        (r#"releaseclosure_resumes{after="halt"}"#, "2.0"),
        (r#"releaseclosure_resumes_waited_seconds{after="halt"}"#, "42.0"),
        (r#"releaseclosure_resume_seconds_sum{after="outage"}"#, "20.0"),
    ] {
        assert_eq!(line(&text, series), value, "{series}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn how_it_stands_is_looked_up_at_each_scrape() {
    let metrics = busy();
    let text = metrics.render();
    let of = r#"namespace="payments",connection="tracker""#;
    for (series, value) in [
        ("releaseclosure_closures_unfinished".to_owned(), "3.0"),
        ("releaseclosure_closures_waiting".to_owned(), "1.0"),
        (r#"releaseclosure_packets_unresolved{namespace="payments",cause="MilestoneRenamed"}"#.to_owned(), "2.0"),
        (format!("releaseclosure_connection_ready{{{of}}}"), "1.0"),
        (r#"releaseclosure_feed_ready{namespace="payments",feed="governance"}"#.to_owned(), "0.0"),
        (format!(r#"releaseclosure_requests_total{{{of},method="GET",outcome="success"}}"#), "7"),
        (format!(r#"releaseclosure_requests_held_back_total{{{of},why="rate"}}"#), "2"),
        (format!("releaseclosure_breaker_open{{{of}}}"), "1.0"),
        (format!("releaseclosure_breaker_opened_total{{{of}}}"), "3"),
        (format!(r#"releaseclosure_request_seconds_bucket{{le="0.01",{of}}}"#), "7"),
        (format!(r#"releaseclosure_request_seconds_bucket{{le="+Inf",{of}}}"#), "8"),
        (format!("releaseclosure_request_seconds_count{{{of}}}"), "8"),
        (format!("releaseclosure_request_seconds_sum{{{of}}}"), "1.5"),
    ] {
        assert_eq!(line(&text, &series), value, "{series}");
    }
    metrics.set_figures(0, None);
    metrics.set_watch(0, None);
    let text = metrics.render();
    assert!(!text.contains("payments") && !text.contains("closures_finished"), "who does not lead, tells of nobody");
}

#[test]
fn a_connection_for_many_namespaces_is_one_series_however_many_shards_are_led() {
    struct Half(u64);
    impl Watch for Half {
        fn scene(&self) -> Scene {
            let line = |namespace: &str| Line {
                namespace: namespace.into(),
                name: "shared".into(),
                requests: vec![("GET", "success", self.0), ("PATCH", "success", 1)],
                held_back: vec![("rate", self.0)],
                breaker_open: self.0 > 1,
                breaker_opened: self.0,
                took: (vec![(0.005, self.0), (0.01, 1)], 2),
                took_seconds: 0.5,
            };
            let own = format!("team-{}", self.0);
            Scene { connections: vec![line(""), line(&own)], ..Scene::default() }
        }
    }
    let metrics = Metrics::new();
    metrics.set_watch(0, Some(Arc::new(Half(1))));
    metrics.set_watch(1, Some(Arc::new(Half(2))));
    let text = metrics.render();
    let series: Vec<&str> = text.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
    assert_eq!(series.len(), series.iter().collect::<BTreeSet<_>>().len(), "{text}");
    let of = r#"namespace="",connection="shared""#;
    for (series, value) in [
        (format!(r#"releaseclosure_requests_total{{{of},method="GET",outcome="success"}}"#), "3"),
        (format!(r#"releaseclosure_requests_total{{{of},method="PATCH",outcome="success"}}"#), "2"),
        (format!(r#"releaseclosure_requests_held_back_total{{{of},why="rate"}}"#), "3"),
        (format!("releaseclosure_breaker_open{{{of}}}"), "1.0"),
        (format!("releaseclosure_breaker_opened_total{{{of}}}"), "3"),
        (format!(r#"releaseclosure_request_seconds_bucket{{le="0.01",{of}}}"#), "5"),
        (format!("releaseclosure_request_seconds_count{{{of}}}"), "9"),
        (format!("releaseclosure_request_seconds_sum{{{of}}}"), "1.0"),
        (r#"releaseclosure_breaker_opened_total{namespace="team-2",connection="shared"}"#.to_owned(), "2"),
    ] {
        assert_eq!(line(&text, &series), value, "{series}");
    }
}

#[test]
fn a_pass_is_counted_however_it_ends() {
    let metrics = Metrics::new();
    let pass = metrics.pass();
    assert_eq!(line(&metrics.render(), "releaseclosure_passes_in_flight"), "1");
    pass.end(Ending::Halted);
    let panicking = metrics.clone();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _pass = panicking.pass();
        std::panic::resume_unwind(Box::new("a defect"));
    }));
    assert!(panicked.is_err());
    drop(metrics.pass());
    let text = metrics.render();
    for (series, value) in [
        ("releaseclosure_passes_in_flight", "0"),
        (r#"releaseclosure_passes_total{ending="halted"}"#, "1"),
        (r#"releaseclosure_passes_total{ending="panic"}"#, "1"),
        (r#"releaseclosure_passes_total{ending="waiting"}"#, "0"),
        ("releaseclosure_pass_seconds_count", "2"),
    ] {
        assert_eq!(line(&text, series), value, "{series}");
    }
}

#[test]
fn gauges_and_counters() {
    let metrics = Metrics::new();
    metrics.set_led(1);
    metrics.status_written();
    metrics.status_conflict();
    let queued = metrics.queue();
    let text = metrics.render();
    for (series, value) in [
        ("releaseclosure_leader", "1"),
        ("releaseclosure_passes_queued", "1"),
        ("releaseclosure_queue_seconds_count", "0"),
        ("releaseclosure_status_writes_total", "1"),
        ("releaseclosure_status_conflicts_total", "1"),
    ] {
        assert_eq!(line(&text, series), value, "{series}");
    }
    drop(queued);
    let text = metrics.render();
    assert_eq!(line(&text, "releaseclosure_passes_queued"), "0");
    assert_eq!(line(&text, "releaseclosure_queue_seconds_count"), "1");
    let build = format!(r#"releaseclosure_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"));
    assert_eq!(line(&text, &build), "1");
}

/// Every label of every series: its name is one of these, and its value of the set beside it. Three are names of objects, which
/// administrators make; nothing else may say more than this program's own words.
#[test]
fn every_label_is_of_a_closed_set() {
    let words = |all: &[&'static str]| all.iter().copied().collect::<BTreeSet<_>>();
    let truths = words(&["false", "true"]);
    let reasons: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let checks = (1..=16).map(|number| format!("C{number}")).chain(["Write".to_owned(), "Notification".to_owned()]);
    let checks: Vec<String> = checks.collect();
    let sets: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::from([
        ("version", words(&[env!("CARGO_PKG_VERSION")])),
        ("ending", Ending::ALL.iter().map(|ending| ending.as_str()).collect()),
        ("after", After::ALL.iter().map(|after| after.as_str()).collect()),
        ("person", truths.clone()),
        ("complete", truths.clone()),
        ("before_write", truths),
        ("cause", reasons.clone()),
        ("reason", reasons),
        ("check", checks.iter().map(String::as_str).collect()),
        ("system", System::ALL.iter().map(|system| system.as_str()).collect()),
        ("method", words(&["GET", "HEAD", "PATCH", "POST"])),
        ("why", words(&["concurrency", "rate", "breaker", "retry_after", "unauthorized"])),
        (
            "outcome",
            words(&[
                "closed",
                "abandoned",
                "announced",
                "refused",
                "unavailable",
                "unusable",
                "held_back",
                "success",
                "answered",
                "unauthorized",
                "forbidden",
                "too_many_requests",
                "not_understood",
            ])
            .into_iter()
            .chain(crate::feeds::Outcome::ALL.iter().map(|outcome| outcome.label()))
            .collect(),
        ),
        ("source", crate::feeds::Source::ALL.iter().map(|source| source.label()).collect()),
    ]);
    let (text, mut seen) = (busy().render(), BTreeSet::new());
    for series in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, labels)) = series.split_once('{') else { continue };
        for label in labels.rsplit_once('}').unwrap().0.split(',') {
            let (name, value) = label.split_once('=').unwrap();
            let value = value.trim_matches('"');
            seen.insert(name.to_owned());
            match name {
                "le" => assert!(value == "+Inf" || value.parse::<f64>().is_ok(), "{series}"),
                "namespace" => assert_eq!(value, "payments"),
                "connection" => assert_eq!(value, "tracker"),
                "feed" => assert_eq!(value, "governance"),
                _ => assert!(sets.get(name).is_some_and(|set| set.contains(value)), "{label} in {series}"),
            }
        }
    }
    let named: BTreeSet<String> = sets.keys().map(|name| (*name).to_owned()).collect();
    let known: BTreeSet<String> =
        named.into_iter().chain(["le", "namespace", "connection", "feed"].map(str::to_owned)).collect();
    assert_eq!(seen, known, "a label that no series has, or one that is not told here");
}

/// What is told is in the page about it, and nothing else is.
#[test]
fn every_metric_is_in_the_documentation() {
    let text = busy().render();
    let told = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let told: BTreeSet<&str> = told.filter_map(|line| line.split(' ').next()).collect();
    let page = include_str!("../../docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `releaseclosure_")?.split('`').next());
    let rows: BTreeSet<String> = rows.map(|name| format!("releaseclosure_{name}")).collect();
    assert_eq!(told.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), rows);
}
