//! A feed that takes events from a real NATS JetStream, and is killed while it does.

use crate::operators::Start;
use crate::stage::{OPEN_FEEDS, PATIENCE, Setup, Stage, crossed_a_crash, shipped};
use crate::systems::nats::Nats;
use async_nats::jetstream::consumer::{AckPolicy, Info, pull};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use releaseclosure::api::ReleaseClosure;
use releaseclosure::sandbox::{self, Role};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const REVIEWS: usize = 12;

async fn closures(stage: &Stage) -> Vec<ReleaseClosure> {
    stage.closures.list(&ListParams::default()).await.unwrap().items
}

async fn consumer(nats: &Nats) -> Info {
    let mut consumer: async_nats::jetstream::consumer::Consumer<pull::Config> =
        nats.admin.get_stream("EVENTS").await.unwrap().get_consumer("feed").await.unwrap();
    consumer.info().await.unwrap().clone()
}

async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !so().await {
        assert!(start.elapsed() < PATIENCE, "not {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn publish(nats: &Nats, body: String) {
    nats.admin.publish("reviews.accepted", body.into()).await.unwrap().await.unwrap();
}

fn event(number: usize) -> String {
    json!({"data": {"review": {"id": format!("RR-load-{number:05}")}}}).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_acknowledged_only_after_the_object_exists_and_a_crash_loses_none() {
    let Some(nats) = Nats::start().await else { return };
    let stream = nats.stream("EVENTS", &["reviews.>"], Duration::from_secs(1)).await;
    let config = pull::Config {
        durable_name: Some("feed".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(3),
        ..pull::Config::default()
    };
    stream.create_consumer(config).await.unwrap();
    let seed = sandbox::generate(REVIEWS);
    let stage = Stage::with("products-feed", Setup { seed, shared: false, ..Setup::default() }).await;
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let login = Patch::Merge(json!({"stringData": {"user": "admin", "password": "admin-password"}}));
    secrets.patch("sandbox-token", &PatchParams::default(), &login).await.unwrap();
    let key = |key: &str| json!({"name": "sandbox-token", "key": key});
    let object = |kind: &str, name: &str, spec: Value| {
        json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": stage.namespace}, "spec": spec})
    };
    let connection = json!({"allowedRoles": ["Governance"], "allowPlaintext": true,
        "limits": {"requestsPerSecond": 1000, "timeout": "5s"},
        "nats": {"endpoint": nats.url(), "userSecretRef": key("user"), "passwordSecretRef": key("password"),
            "events": {"stream": "EVENTS", "consumer": "feed"}}});
    let feed = json!({"playbookRef": {"name": "engineering-release"}, "nats": {"connectionRef": {"name": "events"}}});
    let mut objects = shipped(&stage.namespace, OPEN_FEEDS).to_vec();
    objects.extend([object("SystemConnection", "events", connection), object("AcceptanceFeed", "events", feed)]);
    stage.apply(objects).await;

    // While governance gives no answer nothing is acknowledged.
    let fault = stage.fault(json!({"match": {"role": "governance"}, "action": {"status": {"code": 503}}}));
    publish(&nats, event(1)).await;
    let first = stage.started(Start::default()).await;
    until("handed out", async || consumer(&nats).await.num_ack_pending == 1).await;
    until("handed out again", async || consumer(&nats).await.num_redelivered == 1).await;
    assert_eq!((closures(&stage).await.len(), consumer(&nats).await.ack_floor.stream_sequence), (0, 0));
    stage.sandbox().remove_fault(&fault);
    until("made", async || closures(&stage).await.len() == 1).await;

    // The rest, each three times, in a wild order, with others between; and a crash in the middle of it.
    let mut random = fastrand::Rng::with_seed(7);
    let mut all: Vec<usize> = (0..3 * REVIEWS).map(|number| number % REVIEWS + 1).collect();
    random.shuffle(&mut all);
    stage.sandbox().edit(Role::Governance, "RR-load-00012", &json!({"state": "InReview"}));
    let unheard = stage.fault(json!({"match": {"role": "intake", "method": "POST"}, "action": "holdAfter"}));
    for number in all {
        publish(&nats, event(number)).await;
        publish(&nats, "{}".to_owned()).await;
        publish(&nats, "no json".to_owned()).await;
    }
    until("some are made", async || closures(&stage).await.len() >= 3).await;
    // An announcement has arrived, and its sender never learns of it.
    stage.holds(&unheard, 1).await;
    first.kill();
    stage.sandbox().remove_fault(&unheard);
    let _second = stage.operator_after_a_crash().await;
    // What is put off holds up nothing: everything behind it is made.
    until("made", async || closures(&stage).await.len() == REVIEWS - 1).await;
    until("put off", async || consumer(&nats).await.num_ack_pending == 3).await;
    assert!(closures(&stage).await.iter().all(|closure| closure.spec.review.id != "RR-load-00012"));
    // Somebody accepts the twelfth after all, without another event.
    stage.sandbox().edit(Role::Governance, "RR-load-00012", &json!({"state": "Accepted"}));
    let settled = 1 + 9 * u64::try_from(REVIEWS).unwrap();
    until("settled", async || consumer(&nats).await.ack_floor.stream_sequence == settled).await;

    let mut made = closures(&stage).await;
    made.sort_by_key(|closure| closure.spec.review.id.clone());
    let ids: Vec<&str> = made.iter().map(|closure| closure.spec.review.id.as_str()).collect();
    let expected: Vec<String> = (1..=REVIEWS).map(|number| format!("RR-load-{number:05}")).collect();
    assert_eq!(ids, expected, "one of each");
    let mut unconfirmed = 0;
    for closure in &made {
        unconfirmed += usize::from(crossed_a_crash(&stage.closed(&closure.name_any()).await));
    }
    assert!(unconfirmed > 0, "the one that was held");
    assert_eq!(stage.sandbox().deliveries().len(), REVIEWS);
}

#[tokio::test]
async fn a_consumer_that_may_lose_events_does_not_fit() {
    use releaseclosure::closure::ids::System;
    use releaseclosure::providers::{LimitSettings, Product, Settings, connect};
    use releaseclosure::roles::Probe;
    let Some(nats) = Nats::start().await else { return };
    let stream = nats.stream("EVENTS", &["reviews.>"], Duration::from_secs(1)).await;
    let make = |name: &str, ack_policy| pull::Config {
        durable_name: Some(name.to_owned()),
        ack_policy,
        ..pull::Config::default()
    };
    stream.create_consumer(make("good", AckPolicy::Explicit)).await.unwrap();
    stream.create_consumer(make("none", AckPolicy::None)).await.unwrap();
    let narrow = pull::Config { max_ack_pending: 499, ..make("narrow", AckPolicy::Explicit) };
    stream.create_consumer(narrow).await.unwrap();
    for (consumer, expected) in [
        ("good", None),
        ("none", Some("explicit")),
        ("narrow", Some("max_ack_pending must be at least 500")),
        ("absent", Some("no consumer")),
    ] {
        let secret = json!({"name": "nats", "key": "key"});
        let product = Product::of_spec(&json!({"nats": {"endpoint": nats.url(), "userSecretRef": secret,
            "passwordSecretRef": secret, "events": {"stream": "EVENTS", "consumer": consumer}}}));
        let mut secrets = releaseclosure::providers::Secrets::default();
        secrets.insert("user", "admin".into());
        secrets.insert("password", "admin-password".into());
        let settings = Settings {
            product: product.unwrap(),
            token: None,
            ca_pem: None,
            client_certificate_pem: None,
            secrets,
            limits: LimitSettings::default(),
            allow_plaintext: true,
            allow_loopback: true,
            meter: Default::default(),
        };
        let connected = connect(&settings).unwrap();
        match (connected.prober.probe(System::Governance).await, expected) {
            (Probe::Ready, None) => {}
            (Probe::Unfit { setting, what }, Some(expected)) => {
                assert_eq!(setting, "nats.events.consumer");
                assert!(what.contains(expected), "{what}");
            }
            (other, _) => panic!("{consumer}: {other:?}"),
        }
    }
}
