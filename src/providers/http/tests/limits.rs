//! The limits as a server sees them. Their arithmetic is tested without sockets, on a clock that the test moves.

use super::server::{Act, Seen, Server, json, page, problem, reply};
use super::*;
use crate::closure::ids::System;
use crate::closure::snapshot::Observation;
use crate::roles::{Probe, WriteReply};

async fn read(connected: &Connected, id: &str) -> Result<(), Trouble> {
    match connected.checklist.as_ref().unwrap().checklist(subject(Some(id)), None).await {
        Observation::Found(..) | Observation::Missing => Ok(()),
        Observation::Unreachable(why) => Err(why.trouble),
        Observation::Ambiguous(_) => panic!(),
    }
}

#[tokio::test]
async fn a_system_that_fails_for_three_records_is_left_alone() {
    let server = Server::always(page(500)).await;
    let connected = connected(&server);
    for id in ["a", "b", "c"] {
        assert!(!connected.gate.congested());
        assert_eq!(read(&connected, id).await, Err(Trouble::Unavailable));
    }
    assert!(connected.gate.congested());
    for id in ["a", "b", "c", "d", "e"] {
        assert_eq!(read(&connected, id).await, Err(Trouble::HeldBack));
    }
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn one_bad_record_stops_no_other() {
    for bad in [page(404), page(500), page(403), problem(403), json("{}"), Act::Close, reply(200, "text/html", "", "")]
    {
        let server = Server::start(
            move |_, seen: &Seen| if seen.target.ends_with("bad") { bad.clone() } else { json(CHECKLIST) },
        )
        .await;
        let connected = connected(&server);
        for _ in 0..20 {
            assert!(matches!(read(&connected, "bad").await, Err(why) if why != Trouble::HeldBack));
        }
        assert_eq!(read(&connected, "good").await, Ok(()));
    }
}

#[tokio::test]
async fn a_record_that_always_times_out_stops_no_other() {
    let server =
        Server::start(|_, seen: &Seen| if seen.target.ends_with("bad") { Act::Hang } else { json(CHECKLIST) }).await;
    let mut settings = at(&server);
    settings.limits.timeout = Duration::from_millis(100);
    let connected = connect(&settings).unwrap();
    for _ in 0..5 {
        assert_eq!(read(&connected, "bad").await, Err(Trouble::Unavailable));
    }
    assert!(!connected.gate.congested());
}

#[tokio::test]
async fn three_refusals_in_the_systems_own_words_are_answers() {
    for status in [403, 404, 410] {
        let server = Server::always(problem(status)).await;
        let connected = connected(&server);
        for id in ["a", "b", "c", "d"] {
            assert_ne!(read(&connected, id).await, Err(Trouble::HeldBack));
        }
    }
}

#[tokio::test]
async fn a_retry_after_holds_the_whole_connection_back() {
    for status in [429, 503] {
        let busy = reply(status, "text/plain", "retry-after: 3000\r\n", "busy");
        let server = Server::start(move |at, _| if at == 0 { busy.clone() } else { json(CHECKLIST) }).await;
        let connected = connected(&server);
        let early = permit(&connected).await;
        assert!(read(&connected, "a").await.is_err());
        let Observation::Unreachable(held) = connected.queue.as_ref().unwrap().entry(subject(Some("Q-1")), None).await
        else {
            panic!()
        };
        assert_eq!(held.trouble, Trouble::HeldBack);
        assert!(held.retry_after.is_some_and(|left| left > Duration::from_secs(2900)));
        // A permit from before does not help, nor does a probe.
        let reply = connected.checklist.as_ref().unwrap().close(close(), early).await;
        assert!(matches!(reply, WriteReply::NotApplied(why) if why.trouble == Trouble::HeldBack), "{reply:?}");
        assert!(
            matches!(connected.prober.probe(System::Queue).await, Probe::Failed(why) if why.trouble == Trouble::HeldBack)
        );
        assert!(connected.gate.congested());
        assert_eq!(server.count(), 1);
    }
}

#[tokio::test]
async fn after_a_401_only_probes_go_through_and_few() {
    let server = Server::always(page(401)).await;
    let connected = connected(&server);
    assert_eq!(read(&connected, "a").await, Err(Trouble::Unauthorized));
    for _ in 0..100 {
        assert_eq!(read(&connected, "a").await, Err(Trouble::HeldBack));
        connected.prober.probe(System::Checklist).await;
    }
    assert_eq!(server.count(), 1 + 3);
}

#[tokio::test]
async fn a_successful_probe_ends_the_lock_out() {
    let server = Server::start(|at, _| match at {
        0 => page(401),
        1 => page(500),
        2 => problem(404),
        _ => json(CHECKLIST),
    })
    .await;
    let connected = connected(&server);
    assert_eq!(read(&connected, "a").await, Err(Trouble::Unauthorized));
    assert!(matches!(connected.prober.probe(System::Checklist).await, Probe::Failed(_)));
    assert_eq!(read(&connected, "a").await, Err(Trouble::HeldBack));
    assert_eq!(connected.prober.probe(System::Checklist).await, Probe::Ready);
    assert_eq!(read(&connected, "a").await, Ok(()));
}

#[tokio::test]
async fn reads_use_the_held_place_one_after_the_other() {
    let server = Server::always(json(CHECKLIST)).await;
    let mut settings = at(&server);
    settings.limits.concurrency = 1;
    let connected = connect(&settings).unwrap();
    let held = permit(&connected).await;
    let checklist = connected.checklist.as_ref().unwrap();
    let reads = (0..20).map(|_| checklist.checklist(subject(Some("CHK-1")), Some(&held)));
    for found in futures::future::join_all(reads).await {
        assert!(matches!(found, Observation::Found(..)));
    }
    assert_eq!((server.busiest(), server.sockets()), (1, 1));
    // Without it there is no place left; with the permit the write goes.
    assert_eq!(read(&connected, "CHK-1").await, Err(Trouble::HeldBack));
    let reply = checklist.close(close(), held).await;
    assert!(matches!(reply, WriteReply::Answered(..)));
    assert_eq!(read(&connected, "CHK-1").await, Ok(()));
}

#[tokio::test]
async fn never_more_requests_at_a_time_than_allowed() {
    let server = Server::always(json(CHECKLIST)).await;
    let mut settings = at(&server);
    settings.limits.concurrency = 3;
    let connected = connect(&settings).unwrap();
    let reads = (0..60).map(|_| read(&connected, "CHK-1"));
    futures::future::join_all(reads).await;
    assert!(server.busiest() <= 3 && server.sockets() <= 3, "{} {}", server.busiest(), server.sockets());
}

#[tokio::test]
async fn requests_are_counted_by_method_and_outcome() {
    use crate::providers::meter::{Class, Verb};
    let server = Server::start(|at, _| if at == 0 { json(CHECKLIST) } else { problem(412) }).await;
    let settings = at(&server);
    let connected = connect(&settings).unwrap();
    read(&connected, "CHK-1").await.unwrap();
    connected.checklist.as_ref().unwrap().close(close(), permit(&connected).await).await;
    let meter = &settings.meter;
    assert_eq!(meter.requests(Verb::Get, Class::Success), 1);
    assert_eq!(meter.requests(Verb::Patch, Class::Answered), 1);
    assert_eq!((meter.sent(), meter.held_back(), meter.breaker_open()), (2, 0, false));
}
