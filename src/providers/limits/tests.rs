//! On a clock that the test moves: no test here waits for anything.

use super::*;

fn limits(requests_per_second: f64, concurrency: usize) -> Limits {
    let timeout = Duration::from_secs(10);
    Limits::new(LimitSettings { requests_per_second, concurrency, timeout }, Arc::new(Meter::default()))
}

fn why(result: Result<Permit, Unreachable>) -> Trouble {
    result.unwrap_err().trouble
}

#[tokio::test(start_paused = true)]
async fn a_second_s_worth_goes_at_once_and_then_the_rate_holds() {
    let limits = limits(5.0, 1000);
    let start = Instant::now();
    for _ in 0..5 {
        limits.permit().await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    for _ in 0..50 {
        limits.permit().await.unwrap();
    }
    // Fifty more at five a second; the clock of the tests has a millisecond's grain.
    let taken = start.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_millis(10_100)).contains(&taken), "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_a_second() {
    let limits = Arc::new(limits(2.0, 1000));
    let start = Instant::now();
    let all = futures::future::join_all((0..100).map(|_| {
        let limits = limits.clone();
        async move { limits.permit().await.is_ok() }
    }))
    .await;
    assert!(start.elapsed() <= PATIENCE + Duration::from_millis(5));
    // Two at once, two within the second.
    assert_eq!(all.into_iter().filter(|got| *got).count(), 4);
    assert_eq!(limits.meter().held_back(), 96);
}

#[tokio::test(start_paused = true)]
async fn a_slow_rate_still_has_its_first_request() {
    let limits = limits(0.1, 1);
    limits.permit().await.unwrap();
    assert_eq!(why(limits.permit().await), Trouble::HeldBack);
    tokio::time::advance(Duration::from_secs(10)).await;
    limits.permit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn places_are_waited_for_a_second_at_most() {
    let limits = limits(1000.0, 2);
    let (first, _second) = (limits.permit().await.unwrap(), limits.permit().await.unwrap());
    let start = Instant::now();
    assert_eq!(why(limits.permit().await), Trouble::HeldBack);
    assert!((PATIENCE..PATIENCE + Duration::from_millis(5)).contains(&start.elapsed()));
    drop(first);
    limits.permit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn reads_on_a_held_permit_go_on_credit() {
    let limits = limits(1.0, 4);
    let permit = limits.permit().await.unwrap();
    let start = Instant::now();
    for _ in 0..2 {
        limits.enter(Some(&permit)).await.unwrap().may_send().unwrap();
    }
    limits.enter_with(permit).unwrap().may_send().unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO, "nothing waits between a re-check and its write");
    // Three were sent on one token: the two on credit are paid back before anybody else goes.
    assert_eq!(why(limits.permit().await), Trouble::HeldBack);
    tokio::time::advance(Duration::from_secs(2)).await;
    limits.permit().await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn the_permit_of_another_connection_is_none() {
    let (ours, theirs) = (limits(100.0, 1), limits(100.0, 1));
    let foreign = theirs.permit().await.unwrap();
    let own = ours.enter(Some(&foreign)).await.unwrap();
    assert!(own._own.is_some());
    drop(own);
    assert_eq!(ours.enter_with(foreign).unwrap_err().trouble, Trouble::HeldBack);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_ends_by_itself() {
    let limits = limits(100.0, 4);
    limits.settle(1, Lesson::Fails, Some(Duration::from_secs(90)), false);
    // A shorter one does not shorten it; an endless one is an hour.
    limits.settle(1, Lesson::Fails, Some(Duration::from_secs(1)), false);
    assert_eq!(limits.permit().await.unwrap_err().retry_after, Some(Duration::from_secs(90)));
    assert!(limits.congested() && limits.may_probe().is_err());
    tokio::time::advance(Duration::from_secs(90)).await;
    assert!(!limits.congested());
    limits.permit().await.unwrap();
    limits.settle(1, Lesson::Fails, Some(Duration::MAX), false);
    tokio::time::advance(RETRY_AFTER_MAX).await;
    limits.permit().await.unwrap();
    assert!(!limits.meter().breaker_open(), "that was one record");
}

#[tokio::test(start_paused = true)]
async fn a_lock_out_takes_three_probes_a_minute() {
    let limits = limits(100.0, 4);
    limits.settle(1, Lesson::LockedOut, None, false);
    let permitted = |limits: &Limits| (0..10).filter(|_| limits.may_probe().is_ok()).count();
    assert_eq!(why(limits.permit().await), Trouble::HeldBack);
    limits.may_probe().unwrap();
    tokio::time::advance(PROBE_PERIOD - Duration::from_millis(1)).await;
    assert_eq!(permitted(&limits), 2);
    // Three in any minute, not three at the end of one and three at the beginning of the next.
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(permitted(&limits), 1);
    tokio::time::advance(PROBE_PERIOD).await;
    assert_eq!(permitted(&limits), 3);
    // Somebody's late success does not end it, a probe's does.
    limits.settle(2, Lesson::Answers, None, false);
    assert_eq!(why(limits.permit().await), Trouble::HeldBack);
    limits.settle(2, Lesson::Answers, None, true);
    limits.permit().await.unwrap();
    assert_eq!(permitted(&limits), 10);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_lets_one_request_through_per_pause() {
    let limits = limits(1000.0, 100);
    for record in 0..3 {
        limits.settle(record, Lesson::Fails, None, false);
    }
    assert!(limits.congested() && limits.meter().breaker_open());
    assert_eq!((why(limits.permit().await), limits.meter().breaker_opened()), (Trouble::HeldBack, 1));
    let mut sent = 0;
    for _ in 0..600 {
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..5 {
            if limits.permit().await.is_ok() {
                sent += 1;
                limits.settle(9, Lesson::Fails, None, false);
            }
        }
    }
    // Ten minutes in pauses of up to half a minute, each shortened by up to a half.
    assert!((20..=45).contains(&sent), "{sent}");
    tokio::time::advance(super::super::breaker::PAUSE_MAX).await;
    limits.permit().await.unwrap();
    limits.settle(9, Lesson::Answers, None, false);
    assert!(!limits.congested());
    limits.permit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn permits_from_before_the_breaker_opened_are_used_up() {
    let limits = limits(1000.0, 100);
    let permit = limits.permit().await.unwrap();
    for record in 0..3 {
        limits.settle(record, Lesson::Fails, None, false);
    }
    // The re-checks of the one trial must get through as the trial itself does.
    limits.enter(Some(&permit)).await.unwrap().may_send().unwrap();
    limits.settle(9, Lesson::LockedOut, None, false);
    assert!(limits.enter(Some(&permit)).await.unwrap().may_send().is_err());
}
