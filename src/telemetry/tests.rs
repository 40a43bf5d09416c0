use super::*;
use crate::closure::snapshot::Trouble;

fn line(text: &str, series: &str) -> String {
    let found = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    found.unwrap_or_else(|| panic!("{series} is not in\n{text}")).rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn the_four_questions_have_their_metrics() {
    let metrics = Metrics::new();
    metrics.closure_finished(Finish::Closed, false);
    metrics.found(Check::C7, Reason::MilestoneRenamed, true);
    metrics.halted(Reason::MilestoneRenamed);
    metrics.step_settled(System::Tracker, Outcome::AlreadyDone);
    metrics.step_settled(System::Tracker, Outcome::Pending);
    metrics.resumed(After::Outage, Some(Duration::from_secs(20)));
    metrics.resumed(After::AlreadyUpdated, None);
    let text = metrics.render();
    for (series, value) in [
        (r#"releaseclosure_closures_finished_total{outcome="closed",manual="false"}"#, "1"),
        (r#"releaseclosure_closures_finished_total{outcome="abandoned",manual="true"}"#, "0"),
        (r#"releaseclosure_findings_total{check="C7",reason="MilestoneRenamed",before_write="true"}"#, "1"),
        (r#"releaseclosure_halts_total{cause="MilestoneRenamed"}"#, "1"),
        (r#"releaseclosure_trace_steps_total{system="tracker",outcome="AlreadyDone"}"#, "1"),
        (r#"releaseclosure_trace_steps_total{system="intake",outcome="Unconfirmed"}"#, "0"),
        (r#"releaseclosure_resumed_total{after="outage"}"#, "1"),
        (r#"releaseclosure_resumed_total{after="already_updated"}"#, "1"),
        (r#"releaseclosure_resume_seconds_count{after="outage"}"#, "1"),
        (r#"releaseclosure_resume_seconds_sum{after="outage"}"#, "20.0"),
    ] {
        assert_eq!(line(&text, series), value, "{series}");
    }
    assert!(!text.contains("Pending") && text.ends_with("# EOF\n"));
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
fn gauges_counters_and_requests() {
    let metrics = Metrics::new();
    metrics.set_unfinished(3);
    metrics.set_unresolved(1);
    metrics.set_leader(true);
    metrics.status_written();
    metrics.status_conflict();
    metrics.breaker_opened(System::Queue);
    metrics.request(System::Governance, Method::Get, Reply::from(Trouble::TooManyRequests));
    let text = metrics.render();
    for (series, value) in [
        ("releaseclosure_closures_unfinished", "3"),
        ("releaseclosure_packets_unresolved", "1"),
        ("releaseclosure_leader", "1"),
        ("releaseclosure_status_writes_total", "1"),
        ("releaseclosure_status_conflicts_total", "1"),
        (r#"releaseclosure_breakers_open{system="queue"}"#, "1"),
        (r#"releaseclosure_system_requests_total{system="governance",method="GET",outcome="too_many_requests"}"#, "1"),
    ] {
        assert_eq!(line(&text, series), value, "{series}");
    }
    let build = format!(r#"releaseclosure_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"));
    assert_eq!(line(&text, &build), "1");
}
