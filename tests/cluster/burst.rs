//! Hundreds of closures at once, thousands where there is time: each is closed once.

use crate::stage::{PATIENCE, Setup, Stage};
use crate::support::figures;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{ListParams, PostParams};
use releaseclosure::api::ReleaseClosure;
use releaseclosure::sandbox;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

#[tokio::test]
async fn closures_that_come_all_at_once_are_each_announced_once_and_each_record_is_written_once() {
    let count: usize = std::env::var("BURST").map_or(500, |count| count.parse().expect("BURST, how many closures"));
    let limits = json!({"requestsPerSecond": 1000, "concurrency": 64, "timeout": "10s"});
    let seed = sandbox::generate(count);
    let stage = Stage::with("burst", Setup { seed, limits, ..Setup::default() }).await;
    let closures = (1..=count).map(|number| serde_json::from_value(stage.closure(number)).expect("a closure"));
    let closures: Vec<ReleaseClosure> = closures.collect();
    stream::iter(&closures)
        .map(|closure| async { stage.closures.create(&PostParams::default(), closure).await.map(drop) })
        .buffer_unordered(32)
        .try_collect::<()>()
        .await
        .expect("all are let in");

    let start = Instant::now();
    let unfinished = ListParams::default().fields("status.completionTime=");
    loop {
        let left = stage.closures.list_metadata(&unfinished).await.unwrap().items.len();
        if left == 0 {
            break;
        }
        let patience = 2 * PATIENCE * u32::try_from(count.div_ceil(500)).unwrap();
        assert!(start.elapsed() < patience, "{left} of {count} are not finished");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let took = start.elapsed();
    figures::tell(&format!("burst: {count} closures at once, each closed and announced once, in {took:?}"));
    stage.quiet(Duration::from_secs(3)).await;

    let deliveries = stage.sandbox().deliveries();
    let keys: BTreeSet<_> = deliveries.iter().map(|delivery| delivery.key.clone()).collect();
    assert_eq!((deliveries.len(), keys.len()), (count, count));
    // Each of the three records once, and the tracker's a second time with the link.
    let writes = [("checklist", count), ("tracker", 2 * count), ("queue", count), ("intake", count)];
    let expected: BTreeMap<_, _> = writes.map(|(role, count)| (role.to_owned(), count)).into();
    assert_eq!(stage.writes(), expected);
    // Not even one that was refused.
    assert_eq!(stage.requests().iter().filter(|request| request.starts_with("PATCH")).count(), 4 * count);
    assert_eq!(stage.count("POST", "intake"), count);

    let all = stage.closures.list(&ListParams::default()).await.unwrap().items;
    let closed = all.iter().filter(|closure| crate::stage::ready(closure) == ("True".to_owned(), "Closed".to_owned()));
    assert_eq!(closed.count(), count);
    let changed = all.iter().filter(|closure| crate::stage::outcomes(closure) == ["Changed"; 5]);
    assert_eq!(changed.count(), count);
    assert_eq!(stage.all_packets().await.len(), 0);
}
