//! Replicas that share leases out, in virtual time. Everything that acts asks a fence; who acts on what is looked at all the
//! time, and it is never two at once.

use super::tests::{Mood, Server, answer, seconds};
use super::*;
use crate::shards::Shards;
use axum::Router;
use axum::extract::{Json, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::{Instant, sleep};

type Records = Arc<Mutex<BTreeMap<String, Arc<Mutex<Server>>>>>;

/// Many leases on one API server, which one replica reaches while `mood` is well.
async fn serve(
    State((records, mood)): State<(Records, Arc<Mutex<Mood>>)>,
    method: Method,
    uri: Uri,
    body: Option<Json<Value>>,
) -> Response {
    // The time that a call takes.
    sleep(Duration::from_millis(30)).await;
    if *mood.lock().unwrap() == Mood::Hanging {
        std::future::pending::<()>().await;
    }
    let query = uri.query().unwrap_or_default().to_owned();
    let named = query.split(['=', '&', '%']).find(|part| part.starts_with("3D")).map(|part| part[2..].to_owned());
    let body = body.map(|Json(body)| body);
    let posted = body.as_ref().and_then(|body| body["metadata"]["name"].as_str()).map(str::to_owned);
    let last = uri.path().rsplit('/').next().unwrap().to_owned();
    let name = named.or(posted).unwrap_or(last);
    let server = records.lock().unwrap().entry(name).or_default().clone();
    if query.contains("watch=true") {
        return super::tests::watch(server, &query);
    }
    match answer(&server, &method, body) {
        Ok(body) => (StatusCode::OK, Json(body)).into_response(),
        Err((code, reason)) => {
            let status = json!({"kind": "Status", "status": "Failure", "reason": reason, "code": code.as_u16()});
            (code, Json(status)).into_response()
        }
    }
}

/// Who may write to which namespaces right now, as the fences say: layout and index, and by whom.
type Acting = Arc<Mutex<BTreeMap<(String, String), (Shards, u16, Fence)>>>;

struct World {
    records: Records,
    started: Instant,
    acting: Acting,
    /// The fences of the common lease, by when each was begun.
    commons: Arc<Mutex<Vec<Fence>>>,
    /// How often a lease was taken.
    taken: Arc<Mutex<usize>>,
}

/// One replica, as far as leases go.
struct Replica {
    task: tokio::task::JoinHandle<()>,
    stop: Arc<AtomicBool>,
    mood: Arc<Mutex<Mood>>,
}

impl World {
    fn new() -> World {
        World {
            records: Records::default(),
            started: Instant::now(),
            acting: Acting::default(),
            commons: Arc::default(),
            taken: Arc::default(),
        }
    }

    fn start(&self, identity: &str, shards: &str) -> Replica {
        let shards: Shards = shards.parse().unwrap();
        let (started, acting, taken) = (self.started, self.acting.clone(), self.taken.clone());
        let commons = self.commons.clone();
        let clock: Clock = Arc::new(move || started.elapsed());
        let mood: Arc<Mutex<Mood>> = Arc::default();
        let router = Router::new().fallback(serve).with_state((self.records.clone(), mood.clone()));
        let lease = {
            let clock = clock.clone();
            move |name: &str, identity: &str| {
                Lease::new(Client::new(router.clone(), "ns"), "ns", name, identity.to_owned())
                    .with(Timing::default(), clock.clone())
            }
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (me, stopping) = (identity.to_owned(), stop.clone());
        let task = tokio::spawn(async move {
            let stopped = || async {
                while !stopping.load(Ordering::SeqCst) {
                    sleep(Duration::from_millis(20)).await;
                }
            };
            if shards == Shards::ONE {
                let leadership = lease("common", &me).acquire(|_| ()).await;
                let fence = leadership.fence();
                acting.lock().unwrap().insert((me.clone(), "0".to_owned()), (shards, 0, fence.clone()));
                tokio::select! { _ = fence.ended() => return, () = stopped() => {} }
                acting.lock().unwrap().retain(|(who, _), _| *who != me);
                return leadership.release().await;
            }
            let members = Arc::new(Members::new(&me));
            let common = lease("common", &shards.layout()).together(members.clone()).acquire(|_| ()).await;
            let fence = common.fence();
            commons.lock().unwrap().push(fence.clone());
            let leave = async {
                stopped().await;
                members.leave();
                fence.renewed().await;
            };
            let left = futures::FutureExt::shared(leave);
            let seats = Seats::new(shards.count().into(), members.clone(), fence.clone(), clock);
            let one = |shard: crate::shards::Shard| {
                let (seats, fence, me, acting, taken) = (&seats, &fence, &me, &acting, &taken);
                let (lease, stopped, stopping, left) = (&lease, &stopped, &stopping, left.clone());
                async move {
                    loop {
                        let candidate = lease(&shard.lease_name("common"), me).shared_out(seats.clone());
                        let leadership = tokio::select! {
                            leadership = candidate.acquire(|_| ()) => leadership,
                            () = stopped() => return,
                            _ = fence.ended() => return,
                        };
                        *taken.lock().unwrap() += 1;
                        let asked = seats.leads(shard.index());
                        let both = leadership.fence().under(fence.clone());
                        let key = (me.clone(), shard.index().to_string());
                        acting.lock().unwrap().insert(key.clone(), (shards, shard.index(), both.clone()));
                        tokio::select! { _ = asked => {}, () = stopped() => {}, _ = both.ended() => return }
                        acting.lock().unwrap().remove(&key);
                        seats.gives_back(shard.index());
                        if stopping.load(Ordering::SeqCst) {
                            left.clone().await;
                            return leadership.release().await;
                        }
                        leadership.release().await;
                    }
                }
            };
            let all = futures::future::join_all(shards.all().map(one));
            tokio::select! {
                _ = futures::future::join(all, left.clone()) => {}
                () = seats.balance() => {}
            }
            common.release().await;
        });
        Replica { task, stop, mood }
    }

    /// Who acts on what right now; nothing of it is two replicas' at once. By replica, the indices.
    fn shares(&self) -> BTreeMap<String, BTreeSet<u16>> {
        let acting = self.acting.lock().unwrap();
        let valid: Vec<_> = acting.iter().filter(|(_, (.., fence))| !fence.valid_for().is_zero()).collect();
        let mut shares: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
        let mut layouts = BTreeSet::new();
        let mut all = BTreeSet::new();
        for ((who, _), (shards, index, _)) in valid {
            layouts.insert(shards.count());
            assert!(all.insert(*index), "two act on shard {index}");
            shares.entry(who.clone()).or_default().insert(*index);
        }
        assert!(layouts.len() <= 1, "two divide the namespaces otherwise, and both act: {layouts:?}");
        shares
    }

    /// Lets time pass, looking at what is so all the time.
    async fn pass(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.shares();
            sleep(Duration::from_millis(25)).await;
        }
    }

    /// Until it is so; how long it took.
    async fn until(&self, most: Duration, so: impl Fn(&BTreeMap<String, BTreeSet<u16>>) -> bool) -> Duration {
        let began = Instant::now();
        while !so(&self.shares()) {
            assert!(began.elapsed() < most, "{:?}", self.shares());
            sleep(Duration::from_millis(25)).await;
        }
        began.elapsed()
    }

    fn sizes(&self) -> Vec<usize> {
        self.shares().values().map(BTreeSet::len).collect()
    }
}

fn in_all(shares: &BTreeMap<String, BTreeSet<u16>>) -> usize {
    shares.values().map(BTreeSet::len).sum()
}

#[tokio::test(start_paused = true)]
async fn replicas_share_and_come_to_rest() {
    let world = World::new();
    let _a = world.start("a", "7");
    world.until(seconds(2), |shares| in_all(shares) == 7).await;
    let _b = world.start("b", "7");
    let _c = world.start("c", "7");
    world.until(seconds(40), |shares| shares.values().map(BTreeSet::len).eq([3, 2, 2])).await;
    world.pass(seconds(10)).await;
    let (taken, shares) = (*world.taken.lock().unwrap(), world.shares());
    world.pass(seconds(600)).await;
    assert_eq!((*world.taken.lock().unwrap(), world.shares()), (taken, shares), "nothing moves any more");
    assert!(taken <= 7 + 7, "{taken}: each moved once at most");
}

#[tokio::test(start_paused = true)]
async fn more_replicas_than_shards_leave_some_standing_by() {
    let world = World::new();
    let _all = ["a", "b", "c", "d"].map(|name| world.start(name, "2"));
    world.pass(seconds(60)).await;
    assert_eq!(world.sizes(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_hands_every_shard_over_within_two_seconds() {
    let world = World::new();
    let a = world.start("a", "4");
    let _b = world.start("b", "4");
    world.until(seconds(40), |shares| shares.values().map(BTreeSet::len).eq([2, 2])).await;
    world.pass(seconds(7)).await;
    a.stop.store(true, Ordering::SeqCst);
    let took = world.until(seconds(2), |shares| shares.get("b").is_some_and(|of| of.len() == 4)).await;
    assert!(took < seconds(2), "{took:?}");
    a.task.await.unwrap();
    world.pass(seconds(60)).await;
    assert_eq!(world.sizes(), [4]);
}

#[tokio::test(start_paused = true)]
async fn a_killed_replicas_shards_are_taken_once_their_leases_have_run_out() {
    for seed in 0..10 {
        let world = World::new();
        let a = world.start("a", "4");
        let _b = world.start("b", "4");
        world.until(seconds(40), |shares| shares.values().map(BTreeSet::len).eq([2, 2])).await;
        world.pass(Duration::from_millis(5000 + 1700 * seed)).await;
        a.task.abort();
        let took = world.until(seconds(18), |shares| shares.get("b").is_some_and(|of| of.len() == 4)).await;
        assert!(took >= seconds(4), "{took:?}");
        let taken = *world.taken.lock().unwrap();
        world.pass(seconds(120)).await;
        assert_eq!((world.sizes(), *world.taken.lock().unwrap()), (vec![4], taken), "it keeps them");
    }
}

/// A replica that reaches no API server any more: its fences end before another's begin.
#[tokio::test(start_paused = true)]
async fn a_replica_that_is_cut_off_acts_no_more_when_another_begins() {
    let world = World::new();
    let a = world.start("a", "4");
    let _b = world.start("b", "4");
    let _c = world.start("c", "4");
    world.until(seconds(60), |shares| shares.values().map(BTreeSet::len).eq([2, 1, 1])).await;
    *a.mood.lock().unwrap() = Mood::Hanging;
    world.until(seconds(20), |shares| !shares.contains_key("a")).await;
    world.until(seconds(60), |shares| shares.values().map(BTreeSet::len).eq([2, 2])).await;
    world.pass(seconds(60)).await;
}

/// The number changes while replicas of the other one are at work: at no moment do both act.
#[tokio::test(start_paused = true)]
async fn another_number_of_shards_waits_for_the_end_of_the_last_one() {
    for (old, new) in [("4", "3"), ("1", "4"), ("4", "1"), ("2", "5")] {
        for clean in [true, false] {
            let world = World::new();
            let (a, b) = (world.start("a", old), world.start("b", old));
            world.pass(seconds(30)).await;
            let _c = world.start("c", new);
            let _d = world.start("d", new);
            world.pass(seconds(120)).await;
            assert!(!world.shares().contains_key("c") && !world.shares().contains_key("d"), "{old} → {new}");
            // One of the old ones goes: the other still holds the common lease.
            a.stop.store(true, Ordering::SeqCst);
            if old != "1" {
                world.pass(seconds(60)).await;
                assert_eq!(in_all(&world.shares()), old.parse::<usize>().unwrap(), "{old} → {new}");
            }
            if clean {
                b.stop.store(true, Ordering::SeqCst);
            } else {
                b.task.abort();
                a.task.abort();
            }
            let all = new.parse::<usize>().unwrap();
            let of_new = |shares: &BTreeMap<String, BTreeSet<u16>>| in_all(shares) == all && !shares.contains_key("b");
            // A shard of the old division that nobody gave back has to run out, too.
            let took = world.until(seconds(if clean { 6 } else { 45 }), of_new).await;
            world.pass(seconds(60)).await;
            assert!(clean || took > seconds(4), "{took:?}");
        }
    }
}

/// Whenever a write asks: while the one lease is renewed for it, the other may come to be too short.
#[tokio::test(start_paused = true)]
async fn a_write_is_not_held_up_because_two_leases_end_one_after_the_other() {
    let world = World::new();
    let _a = world.start("a", "2");
    world.until(seconds(2), |shares| in_all(shares) == 2).await;
    let needed = seconds(6);
    for _ in 0..20 {
        let fence = world.acting.lock().unwrap().values().next().unwrap().2.clone();
        let common = world.commons.lock().unwrap()[0].clone();
        futures::future::join(fence.renewed(), common.renewed()).await;
        while fence.valid_for() > needed {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(fence.secure(needed).await, "{:?}", world.started.elapsed());
    }
}

/// What a shard's fence says is never more than the common lease holds.
#[tokio::test(start_paused = true)]
async fn a_shard_without_the_common_lease_is_none() {
    let world = World::new();
    let _a = world.start("a", "2");
    world.until(seconds(2), |shares| in_all(shares) == 2).await;
    {
        let records = world.records.lock().unwrap();
        let mut server = records["common"].lock().unwrap();
        server.version += 1;
        let version = json!(server.version.to_string());
        let record = server.record.as_mut().unwrap();
        record["metadata"]["resourceVersion"] = version;
        record["spec"]["holderIdentity"] = json!("a release that knew no shards");
    }
    world.until(seconds(11), |shares| in_all(shares) == 0).await;
    let records = world.records.lock().unwrap();
    let holder = |name: &str| records[name].lock().unwrap().record.as_ref().unwrap()["spec"]["holderIdentity"].clone();
    assert_eq!(holder("common"), json!("a release that knew no shards"));
}
