//! Ten thousand deliveries: twice and more often, in no order, to two feeds, while the operator is killed again and again.

use super::poster::{count, now};
use super::{Fed, review, webhook};
use crate::stage::PATIENCE;
use kube::ResourceExt as _;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const DELIVERIES: usize = 10_000;
const REVIEWS: usize = 100;
/// Events that say something of a review, each with an id of its own.
const EVENTS: usize = 2_000;
const SENDERS: usize = 24;
/// After how many deliveries the operator is killed.
const KILLS: [usize; 3] = [700, 3_000, 6_000];

/// The event of each delivery: every one at least once, the rest again, in an order of the seed's.
fn deliveries(seed: u64) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut all: Vec<usize> = (0..EVENTS).collect();
    all.extend((EVENTS..DELIVERIES).map(|_| random.usize(..EVENTS)));
    random.shuffle(&mut all);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_deliveries_and_a_few_crashes_make_one_object_per_closure_key() {
    let feeds = [webhook("one", "StandardWebhooks", &["webhook"]), webhook("two", "GitHub", &["webhook"])];
    let mut fed = Fed::new("feed-many", REVIEWS, &feeds).await;
    // Of some a pipeline has made the object, under a name of its own.
    let mut made_by_others = BTreeSet::new();
    for number in 1..=5 {
        made_by_others.insert(fed.stage.create(&fed.stage.closure(number)).await);
    }
    let all = Arc::new(deliveries(20261123));
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (DELIVERIES, EVENTS));
    let (next, again) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..SENDERS {
        let (all, next, again) = (all.clone(), next.clone(), again.clone());
        let (one, two) = (fed.poster("one"), fed.poster("two"));
        senders.spawn(async move {
            while let Some(event) = all.get(next.fetch_add(1, Ordering::SeqCst)).copied() {
                let id = format!("evt-{event}");
                let body = json!({"data": {"review": {"id": review(event % REVIEWS + 1)}, "event": id}}).to_string();
                let start = Instant::now();
                loop {
                    let answer = match event % 2 {
                        0 => one.try_standard(&id, now(), &body).await,
                        _ => two.try_github(&body).await,
                    };
                    match answer {
                        Some(204) => break,
                        // Nobody listens, the connection broke, or there is no room: a sender tries again.
                        None | Some(503) => {}
                        Some(other) => panic!("{id}: {other}"),
                    }
                    again.fetch_add(1, Ordering::SeqCst);
                    assert!(start.elapsed() < PATIENCE, "{id} is not answered");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        });
    }
    for kill in KILLS {
        while next.load(Ordering::SeqCst) < kill {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        fed.operator.take().unwrap().kill();
        fed.start().await;
    }
    while let Some(sent) = senders.join_next().await {
        sent.unwrap();
    }

    let closures = fed.closures().await;
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for closure in &closures {
        let key = format!("{}@{}", closure.spec.review.id, closure.spec.review.version);
        names.entry(key).or_default().push(closure.name_any());
    }
    assert_eq!((names.len(), closures.len()), (REVIEWS, REVIEWS), "{names:#?}");
    let kept: BTreeSet<String> = closures.iter().map(|closure| closure.name_any()).collect();
    assert!(made_by_others.is_subset(&kept));
    for closure in &closures {
        fed.stage.closed(&closure.name_any()).await;
    }
    assert_eq!(fed.stage.sandbox().deliveries().len(), REVIEWS, "each is announced once");

    // What was answered after the last crash was counted; of refusals before it, some may be missing.
    let mut total = 0;
    let mut created = 0;
    for feed in ["one", "two"] {
        let status = fed.wait(feed, "counted", |status| count(status, "Created") > 0).await;
        let done = ["Created", "Met", "Woken", "Replayed"].map(|outcome| count(&status, outcome));
        total += done.iter().sum::<i64>();
        created += done[0];
        println!("{feed}: created {}, met {}, woken {}, replayed {}", done[0], done[1], done[2], done[3]);
    }
    println!(
        "{DELIVERIES} deliveries, {} of them sent again, {} kills: {total} counted",
        again.load(Ordering::SeqCst),
        KILLS.len()
    );
    assert!(created <= i64::try_from(REVIEWS - 5).unwrap(), "{created} were created");
    assert!(total >= i64::try_from(EVENTS).unwrap(), "{total} were counted");
}
