//! Accepted reviews that become closures by themselves: events posted by those who may, those who may not, and those who
//! post them again.

#[path = "feeds/asked.rs"]
mod asked;
#[path = "feeds/many.rs"]
mod many;
#[path = "feeds/poster.rs"]
pub mod poster;
#[path = "feeds/rights.rs"]
mod rights;

use crate::operators::{Operator, Start};
use crate::stage::{OPEN_FEEDS, PATIENCE, Setup, Stage, outcomes, shipped};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use poster::{Poster, SECRET, count, now};
use releaseclosure::api::{AcceptanceFeed, ReleaseClosure};
use releaseclosure::sandbox::{self, Role};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A stage whose operator takes webhooks, with these feeds.
pub struct Fed {
    pub stage: Stage,
    pub operator: Option<Operator>,
    /// Where it takes them.
    pub address: String,
    pub feeds: Api<AcceptanceFeed>,
    environment: Vec<(&'static str, String)>,
}

/// A feed of webhooks.
pub fn webhook(name: &str, format: &str, keys: &[&str]) -> Value {
    let references: Vec<Value> = keys.iter().map(|key| json!({"name": "sandbox-token", "key": key})).collect();
    json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "AcceptanceFeed", "metadata": {"name": name},
        "spec": {"playbookRef": {"name": "engineering-release"},
            "webhook": {"format": format, "secretRefs": references, "reviewIdPointer": "/data/review/id"},
            "template": {"coordinator": "release-coordinators"}}})
}

/// The secrets by which webhooks are signed, and the shipped right to make closures.
pub async fn open_for_feeds(stage: &Stage) {
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let patch = json!({"stringData": {"webhook": SECRET, "next": "whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"}});
    secrets.patch("sandbox-token", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    stage.apply(shipped(&stage.namespace, OPEN_FEEDS).to_vec()).await;
}

impl Fed {
    /// One with this many releases.
    pub async fn new(name: &str, releases: usize, feeds: &[Value]) -> Fed {
        let setup = Setup { seed: sandbox::generate(releases), shared: false, ..Setup::default() };
        Fed::with(name, setup, feeds).await
    }

    pub async fn with(name: &str, setup: Setup, feeds: &[Value]) -> Fed {
        Fed::within(Vec::new(), name, setup, feeds).await
    }

    /// One whose operator has more in its environment.
    pub async fn within(environment: Vec<(&'static str, String)>, name: &str, setup: Setup, feeds: &[Value]) -> Fed {
        let stage = Stage::with(name, setup).await;
        let mut fed = Fed {
            feeds: Api::namespaced(stage.client.clone(), name),
            address: format!("127.0.0.1:{}", crate::operators::free_port()),
            stage,
            operator: None,
            environment,
        };
        open_for_feeds(&fed.stage).await;
        for feed in feeds {
            fed.add(feed).await;
        }
        fed.start().await;
        fed.stage.settled_in().await;
        for feed in feeds {
            fed.ready(feed["metadata"]["name"].as_str().unwrap()).await;
        }
        fed.stage.sandbox().clear_requests();
        fed
    }

    pub async fn add(&self, feed: &Value) {
        let feed: AcceptanceFeed = serde_json::from_value(feed.clone()).unwrap();
        self.feeds.create(&Default::default(), &feed).await.unwrap();
    }

    /// Starts the operator, after a crash as well.
    pub async fn start(&mut self) {
        self.operator = Some(self.stage.next(self.how()).await);
    }

    /// How it is started.
    pub fn how(&self) -> Start {
        let flags = vec![format!("--feeds-bind-address={}", self.address)];
        Start { environment: self.environment.clone(), flags, ..Start::default() }
    }

    pub fn poster(&self, feed: &str) -> Poster {
        Poster::new(format!("http://{}/feeds/{}/{feed}", self.address, self.stage.namespace))
    }

    /// Waits until it is so of a feed.
    pub async fn wait(&self, name: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let feed = serde_json::to_value(self.feeds.get(name).await.unwrap()).unwrap();
            if so(&feed["status"]) {
                return feed["status"].clone();
            }
            assert!(start.elapsed() < PATIENCE, "{name} is not {what}: {:#}", feed["status"]);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn ready(&self, name: &str) {
        self.wait(name, "ready", |status| status["conditions"][0]["status"] == "True").await;
    }

    /// Every closure of the namespace.
    pub async fn closures(&self) -> Vec<ReleaseClosure> {
        self.stage.closures.list(&ListParams::default()).await.unwrap().items
    }

    /// The one closure of a release.
    pub async fn closure_of(&self, number: usize) -> ReleaseClosure {
        let release = format!("load-{number:05}");
        let mut found = self.closures().await;
        found.retain(|closure| closure.spec.release.id == release);
        assert_eq!(found.len(), 1, "closures of {release}");
        found.remove(0)
    }

    /// The operator's metrics.
    pub async fn metrics(&self) -> String {
        let metrics = self.operator.as_ref().unwrap().metrics.clone();
        poster::client().get(format!("{metrics}/metrics")).send().await.unwrap().text().await.unwrap()
    }

    /// How many events became this, by the operator's metrics.
    pub async fn counted(&self, outcome: &str) -> u64 {
        self.metric(&format!("releaseclosure_feed_events_total{{source=\"webhook\",outcome=\"{outcome}\"}}")).await
            as u64
    }

    async fn metric(&self, series: &str) -> f64 {
        let text = self.metrics().await;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
    }

    /// Waits until the operator has heard that what is finished is.
    async fn none_unfinished(&self) {
        let start = Instant::now();
        while self.metric("releaseclosure_closures_unfinished").await > 0.0 {
            assert!(start.elapsed() < PATIENCE, "{}", self.operator.as_ref().unwrap().read_log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub fn review(number: usize) -> String {
    format!("RR-load-{number:05}")
}

#[tokio::test]
async fn an_accepted_review_is_closed_and_what_is_no_event_of_it_does_nothing() {
    let fed = Fed::new("feed-one", 3, &[webhook("governance", "StandardWebhooks", &["webhook"])]).await;
    let poster = fed.poster("governance");
    // What the event claims is another matter than what the record says.
    let body =
        json!({"data": {"review": {"id": review(1)}, "release": {"id": "evil"}, "state": "Rejected"}}).to_string();
    assert_eq!(poster.standard("evt-1", now(), &body).await, 204);
    let made = fed.closure_of(1).await;
    let record = fed.stage.record(Role::Governance, &review(1));
    let spec = serde_json::to_value(&made.spec).unwrap();
    for field in ["release", "milestone", "evidence"] {
        assert_eq!(spec[field], record[field], "{field}");
    }
    assert_eq!(spec["review"]["acceptedEvent"]["id"], record["acceptedEvent"]["id"]);
    assert_eq!(spec["coordinator"], "release-coordinators");
    assert_eq!(made.annotations()["releaseclosure.io/feed"], "governance");
    assert_eq!(outcomes(&fed.stage.closed(&made.name_any()).await), ["Changed"; 5]);

    fed.stage.sandbox().clear_requests();
    let second = |id: &str| json!({"data": {"review": {"id": id}}}).to_string();
    assert_eq!(poster.standard("evt-1", now(), &body).await, 204, "a replay is no error of its sender");
    assert_eq!(poster.forged("evt-2", now(), &second(&review(2))).await, 403);
    assert_eq!(poster.standard("evt-3", now() - 301, &second(&review(2))).await, 403);
    assert_eq!(poster.standard("evt-4", now(), "no json").await, 403);
    assert_eq!(poster.standard("evt-5", now(), &second("../x")).await, 403);
    assert_eq!(poster.standard("evt-6", now(), "{}").await, 204, "a ping");
    let nobodys = Poster::new(poster.url.replace("governance", "nobodys"));
    assert_eq!(nobodys.standard("evt-7", now(), &body).await, 403);
    assert_eq!(fed.stage.requests(), Vec::<String>::new(), "nobody was asked for any of these");

    assert_eq!(poster.standard("evt-8", now(), &second("RR-unheard-of")).await, 403);
    fed.stage.sandbox().edit(Role::Governance, &review(2), &json!({"state": "InReview"}));
    assert_eq!(poster.standard("evt-9", now(), &second(&review(2))).await, 204);
    assert_eq!(fed.closures().await.len(), 1);
    for (outcome, count) in [
        ("created", 1),
        ("replayed", 1),
        ("wrongly_signed", 1),
        ("stale", 1),
        ("malformed", 2),
        ("ignored", 1),
        ("unknown", 2),
        ("not_accepted", 1),
        ("met", 0),
    ] {
        assert_eq!(fed.counted(outcome).await, count, "{outcome}");
    }
    // An event of which nothing came may come again: now the review is accepted.
    fed.stage.sandbox().edit(Role::Governance, &review(2), &json!({"state": "Accepted"}));
    assert_eq!(poster.standard("evt-9", now(), &second(&review(2))).await, 204);
    let second = fed.closure_of(2).await.name_any();
    fed.stage.closed(&second).await;

    let status = fed.wait("governance", "counted", |status| count(status, "Stale") == 1).await;
    let last = &status["lastEvent"];
    assert_eq!(
        (&last["outcome"], &last["event"], &last["closure"]),
        (&json!("Created"), &json!("evt-9"), &json!(second))
    );
    assert_eq!(status["lastRefusal"]["outcome"], "Unknown");
    assert_eq!(status["path"], "/feeds/feed-one/governance");
    assert_eq!((count(&status, "Created"), count(&status, "WronglySigned"), count(&status, "Unknown")), (2, 1, 1));
}

#[tokio::test]
async fn a_delivery_is_remembered_by_the_next_process_and_two_secrets_are_good_while_one_is_rotated() {
    let feeds =
        [webhook("one", "StandardWebhooks", &["webhook"]), webhook("two", "StandardWebhooks", &["webhook", "next"])];
    let mut fed = Fed::new("feed-again", 1, &feeds).await;
    let body = json!({"data": {"review": {"id": review(1)}}}).to_string();
    assert_eq!(fed.poster("one").standard("evt-1", now(), &body).await, 204);
    let stored = fed.feeds.get("one").await.unwrap().status.unwrap();
    assert_eq!(stored.seen.map(|seen| seen.len()), Some(8), "what is answered is written down");
    let name = fed.closure_of(1).await.name_any();
    fed.stage.closed(&name).await;
    fed.operator.take().unwrap().kill();
    fed.start().await;
    fed.ready("one").await;
    fed.stage.sandbox().clear_requests();
    assert_eq!(fed.poster("one").until_answered("evt-1", &body).await, 204);
    assert_eq!((fed.counted("replayed").await, fed.stage.requests()), (1, Vec::new()));
    // To the other feed it is new, and meets the same object.
    assert_eq!(fed.poster("two").standard("evt-1", now(), &body).await, 204);
    assert_eq!((fed.counted("met").await, fed.closures().await.len()), (1, 1));

    let next = fed.poster("two").with_secret("whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB");
    assert_eq!(next.standard("evt-2", now(), &body).await, 204);
    assert_eq!(
        fed.poster("one").with_secret("whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB").standard("e", now(), &body).await,
        403
    );
    let gone = json!([{"name": "sandbox-token", "key": "next"}]);
    let patch = Patch::Merge(json!({"spec": {"webhook": {"secretRefs": gone}}}));
    let patched = fed.feeds.patch("two", &PatchParams::default(), &patch).await.unwrap();
    fed.wait("two", "judged", |status| status["observedGeneration"] == json!(patched.metadata.generation)).await;
    assert_eq!(next.standard("evt-3", now(), &body).await, 204);
    assert_eq!(fed.poster("two").standard("evt-4", now(), &body).await, 403);
}

#[tokio::test]
async fn only_who_leads_listens_and_a_clean_stop_hands_that_over() {
    let mut fed = Fed::new("feed-handed", 2, &[webhook("governance", "StandardWebhooks", &["webhook"])]).await;
    let leading = fed.operator.take().unwrap();
    let first = fed.poster("governance");
    let body = |number: usize| json!({"data": {"review": {"id": review(number)}}}).to_string();
    fed.address = format!("127.0.0.1:{}", crate::operators::free_port());
    let next = fed.stage.launch(fed.how()).await;
    next.until_logged("standing by").await;
    // A connection that is refused has sent nothing: whoever forwards may try the other one.
    assert_eq!(fed.poster("governance").try_standard("evt-1", now(), &body(1)).await, None);
    assert_eq!(first.standard("evt-1", now(), &body(1)).await, 204);
    leading.signal("-TERM");
    assert_eq!(fed.poster("governance").until_answered("evt-2", &body(2)).await, 204);
    for number in [1, 2] {
        let name = fed.closure_of(number).await.name_any();
        fed.stage.closed(&name).await;
    }
    assert_eq!(first.try_standard("evt-3", now(), &body(2)).await, None);
}

#[tokio::test]
async fn a_closure_that_others_made_is_met_under_any_name_and_one_that_waits_is_woken_at_once() {
    let setup = Setup {
        seed: sandbox::generate(2),
        shared: false,
        policy: json!({"retry": {"initial": "1h", "max": "1h"}}),
        ..Setup::default()
    };
    let fed = Fed::with("feed-others", setup, &[webhook("governance", "GitHub", &["webhook"])]).await;
    let poster = fed.poster("governance");
    let body =
        |number: usize, more: &str| json!({"data": {"review": {"id": review(number)}}, "more": more}).to_string();
    let finished = fed.stage.start().await;
    fed.stage.closed(&finished).await;
    fed.none_unfinished().await;
    assert_eq!(poster.github(&body(1, "")).await, 204);
    assert_eq!(fed.closure_of(1).await.name_any(), finished);

    let fault = fed.stage.fault(json!({"match": {"role": "tracker"}, "action": {"status": {"code": 503}}}));
    let waits = fed.stage.create(&fed.stage.closure(2)).await;
    fed.stage.waiting(&waits, "TrackerUnavailable").await;
    fed.stage.sandbox().remove_fault(&fault);
    assert_eq!(poster.github(&body(2, "")).await, 204);
    // It would have tried again in an hour.
    assert_eq!(outcomes(&fed.stage.closed(&waits).await), ["Changed"; 5]);
    assert_eq!(fed.closure_of(2).await.name_any(), waits);
    assert_eq!((fed.counted("met").await, fed.counted("woken").await, fed.counted("created").await), (1, 1, 0));
    // GitHub signs the body alone: what is the same is told by that.
    assert_eq!(poster.github(&body(2, "")).await, 204);
    assert_eq!(fed.counted("replayed").await, 1);
    fed.none_unfinished().await;
    assert_eq!(poster.github(&body(2, "another")).await, 204);
    assert_eq!(fed.counted("met").await, 2);
}

#[tokio::test]
async fn the_record_is_the_fact_and_where_it_gives_no_answer_the_event_may_come_again() {
    let setup = Setup { seed: sandbox::generate(4), shared: false, ..Setup::default() };
    let fed = Fed::with("feed-record", setup, &[webhook("governance", "StandardWebhooks", &["webhook"])]).await;
    let poster = fed.poster("governance");
    let body = |number: usize| json!({"data": {"review": {"id": review(number)}}}).to_string();
    let fault = fed.stage.fault(json!({"match": {"role": "governance"}, "action": {"status": {"code": 503}}}));
    assert_eq!(poster.standard("evt-1", now(), &body(1)).await, 503);
    assert_eq!(fed.closures().await.len(), 0);
    fed.stage.sandbox().remove_fault(&fault);
    // The breaker lets a trial through in its own time.
    assert_eq!(poster.until_answered("evt-1", &body(1)).await, 204);
    assert_eq!(fed.closure_of(1).await.spec.review.id, review(1));
    let mut nowhere = fed.stage.record(Role::Governance, &review(2));
    nowhere["milestone"] = Value::Null;
    fed.stage.sandbox().put(Role::Governance, &review(2), nowhere);
    fed.stage.sandbox().edit(Role::Governance, &review(3), &json!({"release": {"service": "other"}}));
    let playbooks: Api<releaseclosure::api::ClosurePlaybook> =
        Api::namespaced(fed.stage.client.clone(), &fed.stage.namespace);
    let service = fed.stage.record(Role::Governance, &review(1))["release"]["service"].clone();
    let patch = Patch::Merge(json!({"spec": {"services": [service]}}));
    let patched = playbooks.patch("engineering-release", &PatchParams::default(), &patch).await.unwrap();
    let (generation, start) = (patched.metadata.generation, Instant::now());
    let judged =
        async || playbooks.get("engineering-release").await.unwrap().status.map(|status| status.observed_generation);
    while judged().await != generation {
        assert!(start.elapsed() < PATIENCE, "the playbook is not judged");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fed.stage.sandbox().edit(Role::Governance, &review(4), &json!({"state": "InReview"}));
    // Why no closure came of it, an administrator reads in the status and in the log.
    for (number, what) in [(2, "lacks milestone."), (3, "of the service other"), (4, "state is \"InReview\"")] {
        assert_eq!(poster.standard(&format!("evt-{number}"), now(), &body(number)).await, 204);
        let last = |status: &Value| status["lastEvent"]["review"] == review(number);
        let status = fed.wait("governance", "told of it", last).await;
        let why = status["lastEvent"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(why.contains(what), "{number}: {why}");
        let log = fed.operator.as_ref().unwrap().read_log();
        let level = if number == 4 { "INFO" } else { "WARN" };
        let told = |line: &&str| line.contains("a review makes no closure") && line.contains(&review(number));
        let lines: Vec<&str> = log.lines().filter(told).collect();
        assert!(lines.len() == 1 && lines[0].contains(level), "{lines:?}");
    }
    let counted =
        [fed.counted("incomplete").await, fed.counted("not_allowed").await, fed.counted("not_accepted").await];
    assert_eq!((counted, fed.closures().await.len()), ([1, 1, 1], 1));
}

#[tokio::test]
async fn who_cannot_sign_does_not_learn_which_feeds_there_are_or_how_they_stand() {
    let fed = Fed::new("feed-unsigned", 1, &[webhook("governance", "StandardWebhooks", &["webhook"])]).await;
    let mut quiet = webhook("quiet", "StandardWebhooks", &["webhook"]);
    quiet["spec"]["suspend"] = json!(true);
    fed.add(&quiet).await;
    let body = json!({"data": {"review": {"id": review(1)}}}).to_string();
    let large = "x".repeat((1 << 20) + 1);
    let suspended = |status: &Value| status["conditions"][0]["reason"] == "Suspended";
    fed.wait("quiet", "suspended", suspended).await;
    for feed in ["governance", "quiet", "nobodys"] {
        let poster = fed.poster(feed);
        assert_eq!(poster.forged("evt-1", now(), &body).await, 403, "{feed}");
        assert_eq!(poster.forged("evt-1", now(), &large).await, 413, "{feed}");
    }
    // Who can sign is to come again.
    assert_eq!(fed.poster("quiet").standard("evt-2", now(), &body).await, 503);
    // Without a secret nothing can be verified: that much shows.
    fed.add(&webhook("keyless", "StandardWebhooks", &["nowhere"])).await;
    fed.wait("keyless", "judged", |status| status["conditions"][0]["status"] == "False").await;
    assert_eq!(fed.poster("keyless").forged("evt-3", now(), &body).await, 503);
    assert_eq!(fed.closures().await.len(), 0);
    let text = fed.metrics().await;
    let ready = |feed: &str| {
        let series = format!("releaseclosure_feed_ready{{namespace=\"feed-unsigned\",feed=\"{feed}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).map(str::to_owned)
    };
    assert_eq!([ready("governance"), ready("keyless"), ready("quiet")], [Some("1.0".into()), Some("0.0".into()), None]);
}
