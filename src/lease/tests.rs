use super::*;
use axum::Router;
use axum::extract::{Json, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;
use tokio::time::sleep;

/// One lease on an API server, as far as it matters here.
#[derive(Default)]
pub(crate) struct Server {
    pub(crate) record: Option<Value>,
    pub(crate) version: u64,
    /// Requests that were let in.
    writes: Vec<String>,
    refused: usize,
    mood: Mood,
    /// Requests that read, and those that watch.
    looks: usize,
    watches: usize,
    /// Whether nobody may watch.
    unwatched: bool,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// Takes requests and never answers.
    Hanging,
    /// Applies writes and never answers.
    Lossy,
    Down,
}

pub(crate) type Shared = Arc<Mutex<Server>>;

async fn serve(State(server): State<Shared>, method: Method, uri: Uri, body: Option<Json<Value>>) -> Response {
    let mood = server.lock().unwrap().mood;
    if mood == Mood::Hanging {
        std::future::pending::<()>().await;
    }
    if uri.query().is_some_and(|query| query.contains("watch=true")) && mood != Mood::Down {
        return watch(server, uri.query().unwrap_or_default());
    }
    let reply = answer(&server, &method, body.map(|Json(body)| body));
    if mood == Mood::Lossy && method != Method::GET {
        std::future::pending::<()>().await;
    }
    let (code, body) = match reply {
        _ if mood == Mood::Down => {
            let status = json!({"kind": "Status", "status": "Failure", "reason": "Unavailable", "code": 503});
            (StatusCode::SERVICE_UNAVAILABLE, status)
        }
        Ok(body) => (StatusCode::OK, body),
        Err((code, reason)) => {
            (code, json!({"kind": "Status", "status": "Failure", "reason": reason, "code": code.as_u16()}))
        }
    };
    (code, Json(body)).into_response()
}

/// Tells of the first change after the version that is asked for.
pub(crate) fn watch(server: Shared, query: &str) -> Response {
    let begun = {
        let mut server = server.lock().unwrap();
        server.watches += 1;
        if server.unwatched {
            let status = json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403});
            return (StatusCode::FORBIDDEN, Json(status)).into_response();
        }
        let asked = query.split('&').find_map(|part| part.strip_prefix("resourceVersion="));
        asked.and_then(|version| version.parse().ok()).unwrap_or(server.version)
    };
    let first = async move {
        loop {
            sleep(Duration::from_millis(10)).await;
            let server = server.lock().unwrap();
            if server.version != begun {
                let event = json!({"type": "MODIFIED", "object": server.record});
                return Ok::<_, std::convert::Infallible>(format!("{event}\n"));
            }
        }
    };
    axum::body::Body::from_stream(futures::stream::once(first)).into_response()
}

pub(crate) fn answer(
    server: &Shared,
    method: &Method,
    body: Option<Value>,
) -> Result<Value, (StatusCode, &'static str)> {
    let mut server = server.lock().unwrap();
    if server.mood == Mood::Down {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "Unavailable"));
    }
    if *method == Method::GET {
        server.looks += 1;
        return server.record.clone().ok_or((StatusCode::NOT_FOUND, "NotFound"));
    }
    let mut body = body.unwrap();
    let stored = server.record.as_ref().map(|record| record["metadata"]["resourceVersion"].clone());
    let verdict = match (method.as_str(), stored) {
        ("POST", Some(_)) => Err((StatusCode::CONFLICT, "AlreadyExists")),
        ("POST", None) => Ok(()),
        ("PUT", None) => Err((StatusCode::NOT_FOUND, "NotFound")),
        ("PUT", Some(stored)) if stored == body["metadata"]["resourceVersion"] => Ok(()),
        ("PUT", Some(_)) => Err((StatusCode::CONFLICT, "Conflict")),
        other => panic!("{other:?}"),
    };
    if let Err(error) = verdict {
        server.refused += 1;
        return Err(error);
    }
    server.version += 1;
    body["metadata"]["resourceVersion"] = json!(server.version.to_string());
    server.writes.push(body["spec"]["holderIdentity"].as_str().unwrap_or("").to_owned());
    server.record = Some(body.clone());
    Ok(body)
}

struct World {
    server: Shared,
    started: Instant,
    /// How long the machine was suspended, in milliseconds.
    suspended: Arc<AtomicU64>,
}

impl World {
    fn new() -> World {
        World { server: Shared::default(), started: Instant::now(), suspended: Arc::default() }
    }

    fn clock(&self) -> Clock {
        let (started, suspended) = (self.started, self.suspended.clone());
        Arc::new(move || started.elapsed() + Duration::from_millis(suspended.load(Ordering::SeqCst)))
    }

    fn candidate(&self, identity: &str) -> Lease {
        let router = Router::new().fallback(serve).with_state(self.server.clone());
        Lease::new(Client::new(router, "ns"), "ns", "releaseclosure-operator", identity.to_owned())
            .with(Timing::default(), self.clock())
    }

    fn mood(&self, mood: Mood) {
        self.server.lock().unwrap().mood = mood;
    }

    fn holder(&self) -> String {
        let server = self.server.lock().unwrap();
        server.record.as_ref().unwrap()["spec"]["holderIdentity"].as_str().unwrap_or("").to_owned()
    }

    fn writes(&self) -> usize {
        self.server.lock().unwrap().writes.len()
    }
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_and_renews_every_ten_seconds() {
    let world = World::new();
    let leadership = world.candidate("a").acquire(|_| ()).await;
    let fence = leadership.fence();
    assert!(fence.valid_for() > seconds(14) && fence.valid_for() <= seconds(15));
    let mut least = fence.valid_for();
    for _ in 0..1300 {
        sleep(Duration::from_millis(50)).await;
        least = least.min(fence.valid_for());
    }
    assert_eq!(world.writes(), 7, "one claim and six renewals in 65 s");
    assert!(least > seconds(4), "{least:?}");
}

#[tokio::test(start_paused = true)]
async fn the_second_waits_until_it_has_seen_the_record_unchanged_for_its_duration() {
    let world = World::new();
    let first = world.candidate("a").acquire(|_| ()).await;
    let fence = first.fence();
    let (told, mut holders) = tokio::sync::mpsc::unbounded_channel();
    let candidate = world.candidate("b");
    let second = tokio::spawn(candidate.acquire(move |holder| told.send(holder.to_owned()).unwrap()));
    sleep(seconds(120)).await;
    assert!(!second.is_finished() && world.holder() == "a");
    // The first one dies: no renewal, no release.
    drop(first);
    let died = Instant::now();
    while !second.is_finished() {
        assert!(died.elapsed() < seconds(18));
        sleep(Duration::from_millis(20)).await;
    }
    assert!(fence.valid_for().is_zero(), "the old term is over before the new one begins");
    assert_eq!((world.holder().as_str(), holders.recv().await.as_deref()), ("b", Some("a")));
    let record = world.server.lock().unwrap().record.clone().unwrap();
    assert_eq!(record["spec"]["leaseTransitions"], 1);
    assert!(holders.recv().await.is_none(), "told once");
}

#[tokio::test(start_paused = true)]
async fn a_machines_wrong_clock_does_not_matter() {
    let world = World::new();
    let _first = world.candidate("a").acquire(|_| ()).await;
    // The record's own times are of the year 1970: whoever believed them would take over at once.
    world.server.lock().unwrap().record.as_mut().unwrap()["spec"]["renewTime"] = json!("1970-01-01T00:00:00.000000Z");
    let second = tokio::spawn(world.candidate("b").acquire(|_| ()));
    sleep(seconds(9)).await;
    assert!(!second.is_finished());
}

/// Who may watch sees it at once; who may not, with the next look.
#[tokio::test(start_paused = true)]
async fn a_clean_release_hands_over_at_once() {
    for (unwatched, longest) in [(false, Duration::from_millis(300)), (true, seconds(3))] {
        let world = World::new();
        world.server.lock().unwrap().unwatched = unwatched;
        let first = world.candidate("a").acquire(|_| ()).await;
        let fence = first.fence();
        let second = tokio::spawn(world.candidate("b").acquire(|_| ()));
        sleep(seconds(5)).await;
        first.release().await;
        assert!(fence.valid_for().is_zero());
        assert_eq!(fence.ended().await, Lost::Released);
        let released = Instant::now();
        let _second = second.await.unwrap();
        assert!(released.elapsed() < longest, "{:?}", released.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn standing_by_costs_one_look_and_one_watch_for_each_renewal() {
    let world = World::new();
    let _first = world.candidate("a").acquire(|_| ()).await;
    let second = tokio::spawn(world.candidate("b").acquire(|_| ()));
    sleep(seconds(65)).await;
    assert!(!second.is_finished());
    let server = world.server.lock().unwrap();
    assert_eq!(server.writes.len(), 7, "of the leader");
    // One of the looks is the leader's own.
    assert_eq!((server.looks, server.watches), (8, 7));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_hangs_ends_the_term_in_time() {
    for mood in [Mood::Hanging, Mood::Down] {
        let world = World::new();
        let leadership = world.candidate("a").acquire(|_| ()).await;
        let began = Instant::now();
        world.mood(mood);
        assert_eq!(leadership.lost().await, Lost::Lapsed);
        assert!(leadership.fence().valid_for().is_zero());
        assert!(began.elapsed() <= seconds(15) && began.elapsed() > seconds(14), "{:?}", began.elapsed());
        // Nothing brings it back.
        world.mood(Mood::Well);
        sleep(seconds(60)).await;
        assert!(leadership.fence().valid_for().is_zero());
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_shorter_than_the_slack_is_survived() {
    let world = World::new();
    let leadership = world.candidate("a").acquire(|_| ()).await;
    sleep(seconds(9)).await;
    world.mood(Mood::Down);
    sleep(Duration::from_millis(4500)).await;
    world.mood(Mood::Well);
    sleep(seconds(20)).await;
    assert!(!leadership.fence().valid_for().is_zero());
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_found_out_by_reading() {
    let world = World::new();
    world.mood(Mood::Lossy);
    let candidate = tokio::spawn(world.candidate("a").acquire(|_| ()));
    sleep(seconds(1)).await;
    world.mood(Mood::Well);
    let leadership = candidate.await.unwrap();
    assert_eq!(world.writes(), 2, "it found its own name on the record and did not wait");
    sleep(seconds(9)).await;
    world.mood(Mood::Lossy);
    sleep(seconds(2)).await;
    world.mood(Mood::Well);
    sleep(seconds(3)).await;
    assert!(leadership.fence().valid_for() > seconds(9));
    assert_eq!(world.server.lock().unwrap().refused, 0, "an unsure holder reads before it writes");
}

#[tokio::test(start_paused = true)]
async fn a_stale_write_is_refused_and_the_holder_yields() {
    let world = World::new();
    let leadership = world.candidate("a").acquire(|_| ()).await;
    {
        let mut server = world.server.lock().unwrap();
        server.version += 1;
        let version = json!(server.version.to_string());
        let record = server.record.as_mut().unwrap();
        record["metadata"]["resourceVersion"] = version;
        record["spec"]["holderIdentity"] = json!("usurper");
    }
    assert_eq!(leadership.lost().await, Lost::Taken("usurper".to_owned()));
    assert_eq!(world.holder(), "usurper");
    assert_eq!(world.server.lock().unwrap().refused, 1);
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_label_costs_one_more_write_and_stays() {
    let world = World::new();
    let leadership = world.candidate("a").acquire(|_| ()).await;
    {
        let mut server = world.server.lock().unwrap();
        server.version += 1;
        let version = json!(server.version.to_string());
        let record = server.record.as_mut().unwrap();
        record["metadata"]["resourceVersion"] = version;
        record["metadata"]["labels"] = json!({"team": "platform"});
    }
    sleep(seconds(12)).await;
    assert!(leadership.fence().valid_for() > seconds(12));
    let record = world.server.lock().unwrap().record.clone().unwrap();
    assert_eq!(record["metadata"]["labels"]["team"], "platform");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_record_ends_the_term_and_those_who_saw_it_wait() {
    let world = World::new();
    let first = world.candidate("a").acquire(|_| ()).await;
    let second = tokio::spawn(world.candidate("b").acquire(|_| ()));
    sleep(seconds(5)).await;
    world.server.lock().unwrap().record = None;
    let deleted = Instant::now();
    assert_eq!(first.lost().await, Lost::Deleted);
    assert!(!second.is_finished());
    let _second = second.await.unwrap();
    assert!(deleted.elapsed() >= seconds(15));
}

#[tokio::test(start_paused = true)]
async fn two_that_start_together_make_one_leader() {
    let world = World::new();
    let mut candidates = tokio::task::JoinSet::new();
    for identity in ["a", "b", "c"] {
        let candidate = world.candidate(identity);
        candidates.spawn(async move { candidate.acquire(|_| ()).await });
    }
    let leader = candidates.join_next().await.unwrap().unwrap();
    sleep(seconds(60)).await;
    assert!(candidates.try_join_next().is_none());
    assert!(!leader.fence().valid_for().is_zero());
}

#[tokio::test(start_paused = true)]
async fn a_suspended_machine_wakes_up_without_a_term() {
    let world = World::new();
    let leadership = world.candidate("a").acquire(|_| ()).await;
    let fence = leadership.fence();
    world.suspended.store(3_600_000, Ordering::SeqCst);
    assert!(fence.valid_for().is_zero(), "at once, before anything else has run");
    let woke = Instant::now();
    assert_eq!(leadership.lost().await, Lost::Lapsed);
    assert!(woke.elapsed() <= seconds(1));
    assert_eq!(world.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_long_write_has_the_lease_renewed_out_of_turn() {
    let world = World::new();
    let leadership = world.candidate("a").acquire(|_| ()).await;
    let fence = leadership.fence();
    sleep(seconds(8)).await;
    assert!(!fence.outlasts(seconds(10)));
    let many = (0..50).map(|_| fence.secure(seconds(10)));
    assert!(futures::future::join_all(many).await.into_iter().all(|secured| secured));
    assert_eq!(world.writes(), 2, "fifty callers, one renewal");
    assert!(fence.secure(seconds(10)).await && world.writes() == 2, "no renewal where the term is long enough");
    assert!(!fence.secure(seconds(15)).await, "longer than a term can ever be");

    sleep(seconds(8)).await;
    world.mood(Mood::Hanging);
    let asked = Instant::now();
    assert!(!fence.secure(seconds(10)).await);
    assert!(asked.elapsed() <= seconds(2));
    drop(leadership);
    assert!(!fence.secure(seconds(10)).await);
}

#[test]
fn identities_are_never_the_same_twice() {
    let pod = Some(("operator-0", "0b9f"));
    assert_ne!(identity(pod), identity(pod));
    assert!(identity(pod).starts_with("operator-0_0b9f_"));
    assert_ne!(identity(None), identity(None));
}

#[test]
fn the_clock_runs_and_never_back() {
    let clock = boottime();
    let first = clock();
    assert!(first > Duration::ZERO && clock() >= first);
}
