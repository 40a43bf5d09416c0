//! NATS JetStream as intake and queue: what the conformance suite does not play.

use super::orders::order;
use super::settings::{product, settings};
use crate::fault_proxy::tcp::{Line, Mode};
use crate::systems::nats::Nats;
use crate::systems::repository;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use releaseclosure::closure::ids::{Step, System};
use releaseclosure::closure::snapshot::{Observation, Progress, Revision, Trouble};
use releaseclosure::providers::{Settings, connect};
use releaseclosure::roles::{AnnounceReply, Connected, HandoffSighting, Probe, Subject, WriteReply};
use serde_json::{Value, json};
use std::time::Duration;

const KEY: &str = "r-1@RR-2@3";
const PENDING: &str = r#"{"release":{"id":"r-1"},"review":{"version":"3"},"state":"Pending"}"#;

fn at(address: &str, changed: &[(&str, Value)], user: &str) -> Settings {
    let secret = json!({"name": "nats", "key": "key"});
    let mut spec = json!({"endpoint": format!("nats://{}", address.trim_start_matches("nats://")),
        "userSecretRef": secret, "passwordSecretRef": secret,
        "intake": {"stream": "INTAKE", "subjectPrefix": "closure.handoffs"},
        "queue": {"stream": "QUEUE", "subjectPrefix": "closure.queue"}});
    for (pointer, value) in changed {
        *spec.pointer_mut(pointer).expect("a setting") = value.clone();
    }
    let password = format!("{user}-password");
    settings(product(json!({ "nats": spec })), &[("user", user), ("password", &password)])
}

async fn streams(nats: &Nats, window: Duration) {
    nats.stream("INTAKE", &["closure.handoffs.>"], window).await;
    nats.stream("QUEUE", &["closure.queue.>"], Duration::from_secs(120)).await;
}

async fn announce(connected: &Connected) -> AnnounceReply {
    let permit = connected.gate.permit().await.expect("a permit");
    connected.intake.as_ref().expect("the role").announce(order(Step::NotifyCoordinator, None), permit).await
}

async fn clear(connected: &Connected, revision: &str) -> WriteReply<releaseclosure::closure::snapshot::QueueRecord> {
    let permit = connected.gate.permit().await.expect("a permit");
    connected.queue.as_ref().expect("the role").clear(order(Step::ClearQueueEntry, Some(revision)), permit).await
}

async fn entry(connected: &Connected) -> (Progress, Revision) {
    let subject = Subject { record: None, release: "r-1", review_version: "3" };
    match connected.queue.as_ref().expect("the role").entry(subject, None).await {
        Observation::Found(record, revision) => (record.state, revision),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_handoff_is_there_once_long_after_the_window_of_its_id() {
    let Some(nats) = Nats::start().await else { return };
    streams(&nats, Duration::from_millis(100)).await;
    let connected = connect(&at(&nats.url(), &[], "writer")).expect("settings");
    assert_eq!(announce(&connected).await, AnnounceReply::Accepted);
    // Until the server no longer knows the id: somebody else's message with it is taken again.
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", KEY);
    loop {
        let sent = nats.admin.publish_with_headers("closure.handoffs.other", headers.clone(), "x".into()).await;
        if !sent.expect("sent").await.expect("acknowledged").duplicate {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(announce(&connected).await, AnnounceReply::AlreadyThere);
    let intake = connected.intake.as_ref().expect("the role");
    assert_eq!(intake.handoff(KEY, None).await, HandoffSighting::There);
    assert_eq!(intake.handoff("r-1@RR-2@4", None).await, HandoffSighting::NotThere);
    let ours = nats.messages("INTAKE").await.into_iter().filter(|(subject, _)| !subject.ends_with("other"));
    assert_eq!(ours.count(), 1);
}

#[tokio::test]
async fn another_handoff_under_our_key_is_a_conflict() {
    let Some(nats) = Nats::start().await else { return };
    streams(&nats, Duration::from_secs(120)).await;
    let connected = connect(&at(&nats.url(), &[], "writer")).expect("settings");
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(KEY));
    let sent = nats.admin.publish(format!("closure.handoffs.{digest}"), "{}".into()).await.expect("sent");
    sent.await.expect("stored");
    assert_eq!(announce(&connected).await, AnnounceReply::Conflict);
    assert_eq!(nats.messages("INTAKE").await.len(), 1);
}

#[tokio::test]
async fn a_lost_acknowledgement_leaves_one_handoff_and_one_clearing() {
    let Some(nats) = Nats::start().await else { return };
    streams(&nats, Duration::from_secs(120)).await;
    nats.admin.publish("closure.queue.r-1.3", PENDING.into()).await.expect("sent").await.expect("stored");
    let address = nats.url().trim_start_matches("nats://").to_owned();
    let line = Line::to(&address).await;
    let mut slow = at(line.address(), &[], "writer");
    slow.limits.timeout = Duration::from_secs(4);
    let connected = connect(&slow).expect("settings");

    // Nothing of what the server says comes through: not even a greeting, so that nothing was sent.
    line.set(Mode::Mute);
    assert!(matches!(announce(&connected).await, AnnounceReply::NotSent(why) if why.trouble == Trouble::Unavailable));
    assert_eq!(nats.messages("INTAKE").await, []);
    line.set(Mode::Pass);
    assert_eq!(announce(&connected).await, AnnounceReply::Accepted);
    let (state, revision) = entry(&connected).await;
    assert_eq!(state, Progress::ToDo("Pending".into()));
    assert!(matches!(clear(&connected, &revision.0).await, WriteReply::Answered(..)));
    assert_eq!(clear(&connected, &revision.0).await, WriteReply::Conflict);

    // A line that is held is no answer, and a line that is cut none either; what waits on it never arrives.
    line.set(Mode::Hold);
    assert!(matches!(announce(&connected).await, AnnounceReply::NotSent(_)));
    line.cut();
    line.set(Mode::Pass);
    assert_eq!(announce(&connected).await, AnnounceReply::AlreadyThere);
    assert_eq!(nats.messages("INTAKE").await.len(), 1);
    assert_eq!(nats.messages("QUEUE").await.len(), 2, "as it was, and cleared");
}

#[tokio::test]
async fn a_stream_that_may_lose_something_does_not_fit() {
    let Some(nats) = Nats::start().await else { return };
    streams(&nats, Duration::from_secs(120)).await;
    let good = connect(&at(&nats.url(), &[], "writer")).expect("settings");
    assert_eq!(good.prober.probe(System::Intake).await, Probe::Ready);
    assert_eq!(good.prober.probe(System::Queue).await, Probe::Ready);
    // The probe's message is refused, and leaves nothing.
    assert_eq!((nats.messages("INTAKE").await.len(), nats.messages("QUEUE").await.len()), (0, 0));

    let subjects = |name: &str| vec![format!("closure.{name}.>")];
    let config = |name: &str| Config { name: name.to_owned(), subjects: subjects(name), ..Config::default() };
    for (name, config) in [
        ("work", Config { retention: RetentionPolicy::WorkQueue, ..config("work") }),
        ("memory", Config { storage: StorageType::Memory, ..config("memory") }),
        ("short", Config { max_messages: 10, discard: DiscardPolicy::Old, ..config("short") }),
        ("young", Config { max_age: Duration::from_secs(3600), ..config("young") }),
        ("deaf", Config { no_ack: true, ..config("deaf") }),
    ] {
        nats.admin.create_stream(config).await.expect("a stream");
        let prefix = format!("closure.{name}");
        let changed = [("/intake/stream", json!(name)), ("/intake/subjectPrefix", json!(prefix))];
        let found = connect(&at(&nats.url(), &changed, "writer")).expect("settings").prober.probe(System::Intake).await;
        assert!(matches!(found, Probe::Unfit { setting: "nats.intake.stream", .. }), "{name}: {found:?}");
    }
    for (changed, user, wrong) in [
        (("/queue/stream", json!("NONE")), "writer", "nats.queue.stream"),
        (("/queue/subjectPrefix", json!("closure.elsewhere")), "writer", "nats.queue.subjectPrefix"),
        (("/queue/stream", json!("QUEUE")), "reader", "nats"),
    ] {
        let found = connect(&at(&nats.url(), &[changed], user)).expect("settings").prober.probe(System::Queue).await;
        assert!(matches!(found, Probe::Unfit { setting, .. } if setting == wrong), "{wrong}: {found:?}");
    }
    // Whichever role is asked for, the other's stream is looked at, too.
    let broken = at(&nats.url(), &[("/queue/stream", json!("NONE"))], "writer");
    let found = connect(&broken).expect("settings").prober.probe(System::Intake).await;
    assert!(matches!(found, Probe::Unfit { setting: "nats.queue.stream", .. }), "{found:?}");
    // A user who may ask, and may not publish.
    nats.stream("OTHER", &["other.>"], Duration::from_secs(1)).await;
    let changed = [("/queue/stream", json!("OTHER")), ("/queue/subjectPrefix", json!("other.queue"))];
    let found = connect(&at(&nats.url(), &changed, "writer")).expect("settings").prober.probe(System::Queue).await;
    assert!(matches!(found, Probe::Unfit { setting: "nats", what } if what.contains("publish")), "{found:?}");
}

#[tokio::test]
async fn an_address_that_the_guard_refuses_is_not_dialled() {
    let Some(nats) = Nats::start().await else { return };
    streams(&nats, Duration::from_secs(120)).await;
    let mut refused = at(&nats.url(), &[], "writer");
    refused.allow_loopback = false;
    assert!(connect(&refused).is_err());
    refused.product = at(&nats.url().replace("127.0.0.1", "localtest"), &[], "writer").product;
    let connected = connect(&refused).expect("a name may be anything");
    assert!(matches!(announce(&connected).await, AnnounceReply::NotSent(_)));
    for endpoint in ["nats://169.254.169.254:4222", "nats://user:pw@host", "nats://host/path", "http://host"] {
        let mut settings = at(&nats.url(), &[("/endpoint", json!(endpoint))], "writer");
        settings.allow_loopback = false;
        assert!(connect(&settings).is_err(), "{endpoint}");
    }
    let plain = Settings { allow_plaintext: false, ..at("example.com:4222", &[], "writer") };
    assert!(connect(&plain).is_err());
}

#[tokio::test]
async fn a_server_with_tls_is_known_by_its_authority_and_its_name() {
    let tls = repository("src/providers/http/tests/tls");
    let Some(nats) = Nats::start_encrypted(&tls.join("server.pem"), &tls.join("ca.pem")).await else { return };
    streams(&nats, Duration::from_secs(120)).await;
    let address = nats.url().trim_start_matches("nats://").to_owned();
    let of = |endpoint: &str| at(&address, &[("/endpoint", json!(endpoint))], "writer");
    let ready = async |settings: &Settings| connect(settings).expect("settings").prober.probe(System::Intake).await;

    let plain = ready(&of(&format!("nats://{address}"))).await;
    assert!(matches!(plain, Probe::Unfit { setting: "nats.endpoint", what } if what.contains("tls://")), "{plain:?}");
    // The machine's own authorities do not know it.
    let mut settings = of(&format!("tls://{address}"));
    settings.allow_plaintext = false;
    assert!(matches!(ready(&settings).await, Probe::Failed(why) if why.trouble == Trouble::Unavailable));
    settings.ca_pem = Some(std::fs::read(tls.join("ca.pem")).expect("readable"));
    assert_eq!(ready(&settings).await, Probe::Ready);
    assert_eq!(announce(&connect(&settings).expect("settings")).await, AnnounceReply::Accepted);
    // Its certificate is for another name.
    settings.product = of(&format!("tls://{}", address.replace("127.0.0.1", "localhost"))).product;
    assert!(matches!(ready(&settings).await, Probe::Failed(why) if why.trouble == Trouble::Unavailable));
    settings.ca_pem = Some(b"rubbish".to_vec());
    assert!(connect(&settings).is_err());
}
