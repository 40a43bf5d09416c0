//! The adapter against a receiver that takes an event only where the standard's own reader does.

use crate::closure::ids::{Step, System};
use crate::closure::snapshot::{Trouble, Unreachable};
use crate::products::CloudEvents;
use crate::providers::http::tests::orders::order;
use crate::providers::http::tests::server::{Act, Seen, Server, page, reply};
use crate::providers::http::tests::{KEY, settings};
use crate::providers::{Product, Refused, Settings, connect};
use crate::roles::{AnnounceReply, Connected, HandoffSighting, Probe};
use cloudevents::binding::http::to_event;
use cloudevents::{AttributesReader as _, Data, Event};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use std::time::Duration;

fn at(server: &Server, more: Value) -> Settings {
    let endpoint = format!("http://{}/in/box", server.address);
    let mut spec = json!({ "endpoint": endpoint });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let events: CloudEvents = serde_json::from_value(spec).unwrap();
    let mut settings = settings(endpoint);
    settings.product = Product::CloudEvents(Box::new(events));
    settings.limits.timeout = Duration::from_secs(2);
    settings
}

fn connected(server: &Server) -> Connected {
    connect(&at(server, json!({}))).unwrap()
}

async fn announce(connected: &Connected) -> AnnounceReply {
    let permit = connected.gate.permit().await.unwrap();
    connected.intake.as_ref().unwrap().announce(order(Step::NotifyCoordinator), permit).await
}

/// The event of a request, where it is one.
fn event(seen: &Seen) -> Result<Event, cloudevents::message::Error> {
    let headers: HeaderMap = seen
        .head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (HeaderName::try_from(name.trim()).unwrap(), HeaderValue::try_from(value.trim()).unwrap()))
        .collect();
    to_event(&headers, seen.body.clone().into_bytes())
}

/// A receiver that answers 202 to an event, and 400 to anything else.
async fn strict() -> Server {
    Server::start(|_, seen| {
        let taken = seen.method == "POST" && seen.target == "/in/box" && event(seen).is_ok();
        if taken { reply(202, "text/plain", "", "thanks") } else { page(400) }
    })
    .await
}

fn data(event: &Event) -> Value {
    match event.data().expect("it has data") {
        Data::Json(json) => json.clone(),
        Data::Binary(bytes) => serde_json::from_slice(bytes).unwrap(),
        Data::String(text) => serde_json::from_str(text).unwrap(),
    }
}

#[tokio::test]
async fn a_handoff_is_one_event_in_either_mode() {
    let expected = json!({"releaseId": "r-1", "reviewVersion": "3", "service": "s\"\u{e9}", "closureKey": KEY,
        "coordinator": "release-coordinators"});
    let mut told = Vec::new();
    for mode in ["Structured", "Binary"] {
        let server = strict().await;
        let connected = connect(&at(&server, json!({ "mode": mode, "source": "/closures?a=b" }))).unwrap();
        assert_eq!(announce(&connected).await, AnnounceReply::Accepted, "{mode}");
        let event = event(&server.seen()[0]).unwrap();
        assert_eq!(event.id(), KEY);
        assert_eq!(event.source().as_str(), "/closures?a=b");
        assert_eq!(event.ty(), "io.releaseclosure.handoff.v1");
        assert_eq!(event.subject(), Some("r-1"));
        let mut data = data(&event);
        let links = data.as_object_mut().unwrap().remove("links").unwrap();
        assert!(links[0]["url"].as_str().unwrap().starts_with("https://"), "{links}");
        let service = data["service"].clone();
        assert_eq!(data, {
            let mut expected = expected.clone();
            expected["service"] = service;
            expected
        });
        told.push((data, links));
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn the_same_handoff_is_the_same_event_to_the_byte() {
    for mode in ["Structured", "Binary"] {
        let server = strict().await;
        let connected = connect(&at(&server, json!({ "mode": mode }))).unwrap();
        for _ in 0..2 {
            assert_eq!(announce(&connected).await, AnnounceReply::Accepted);
        }
        let [one, other] = server.seen().try_into().unwrap();
        assert_eq!((one.head, one.body), (other.head, other.body));
    }
}

#[tokio::test]
async fn what_a_status_says_of_an_event() {
    let not_sent = |trouble: Trouble| AnnounceReply::NotSent(trouble.into());
    let unknown = |trouble: Trouble| AnnounceReply::Unknown(trouble.into());
    let asked = Unreachable { trouble: Trouble::TooManyRequests, retry_after: Some(Duration::from_secs(7)) };
    for (act, expected) in [
        (reply(200, "application/json", "", "{}"), AnnounceReply::Accepted),
        (reply(201, "text/html", "", "<p>"), AnnounceReply::Accepted),
        (reply(204, "", "", ""), AnnounceReply::Accepted),
        (page(400), AnnounceReply::Refused),
        (page(410), AnnounceReply::Refused),
        (page(413), AnnounceReply::Refused),
        (page(415), AnnounceReply::Refused),
        (page(401), not_sent(Trouble::Unauthorized)),
        (page(403), not_sent(Trouble::Forbidden)),
        (page(409), not_sent(Trouble::NotUnderstood)),
        (reply(429, "text/plain", "retry-after: 7\r\n", ""), AnnounceReply::NotSent(asked)),
        (page(408), unknown(Trouble::Unavailable)),
        (page(500), unknown(Trouble::Unavailable)),
        (page(503), unknown(Trouble::Unavailable)),
        (page(302), unknown(Trouble::NotUnderstood)),
        (Act::Close, unknown(Trouble::Unavailable)),
        (Act::Hang, unknown(Trouble::Unavailable)),
    ] {
        let server = Server::always(act.clone()).await;
        assert_eq!(announce(&connected(&server)).await, expected, "{act:?}");
        assert_eq!(server.count(), 1, "{act:?}: an event is sent once");
    }
}

#[tokio::test]
async fn nobody_there_is_not_sent() {
    let server = strict().await;
    let settings = at(&server, json!({}));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut nowhere = settings.clone();
    if let Product::CloudEvents(events) = &mut nowhere.product {
        events.endpoint = format!("http://{free}/");
    }
    assert_eq!(announce(&connect(&nowhere).unwrap()).await, AnnounceReply::NotSent(Trouble::Unavailable.into()));
}

#[tokio::test]
async fn a_probe_sends_no_event() {
    for (status, ready) in [(405, true), (200, true), (400, true)] {
        let server = Server::always(page(status)).await;
        let found = connected(&server).prober.probe(System::Intake).await;
        assert_eq!(found == Probe::Ready, ready, "{status}: {found:?}");
        assert_eq!(server.seen()[0].method, "GET");
        assert!(server.seen()[0].body.is_empty());
    }
    let server = Server::always(page(404)).await;
    let found = connected(&server).prober.probe(System::Intake).await;
    assert!(matches!(found, Probe::Unfit { setting: "cloudEvents.endpoint", .. }), "{found:?}");
    let server = Server::always(page(401)).await;
    let found = connected(&server).prober.probe(System::Intake).await;
    assert_eq!(found, Probe::Failed(Trouble::Unauthorized.into()));
}

#[tokio::test]
async fn what_is_relied_on_is_what_the_settings_say() {
    use crate::closure::decide::Delivery;
    let server = strict().await;
    for (more, delivery, window) in [
        (json!({}), Delivery::None, None),
        (json!({"duplicates": "Dropped"}), Delivery::IdempotencyKey, None),
        (json!({"duplicates": "Dropped", "window": "24h"}), Delivery::IdempotencyKey, Some(86_400)),
    ] {
        let connected = connect(&at(&server, more)).unwrap();
        let abilities = connected.prober.abilities(System::Intake).unwrap();
        assert_eq!((abilities.delivery, abilities.window), (Some(delivery), window.map(Duration::from_secs)));
        assert!(!abilities.can_look_up);
        let sighting = connected.intake.unwrap().handoff(KEY, None).await;
        assert_eq!(sighting, HandoffSighting::Unreachable(Trouble::NotUnderstood.into()));
        assert!(
            System::ALL
                .into_iter()
                .all(|system| { (system == System::Intake) == connected.prober.abilities(system).is_some() })
        );
    }
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_window_that_is_none_is_named() {
    let server = strict().await;
    let refused = connect(&at(&server, json!({"window": "soon"}))).err().unwrap();
    assert!(matches!(refused, Refused::Setting { setting: "cloudEvents.window", .. }));
    assert_eq!(refused.to_string(), "spec.cloudEvents.window must be a duration such as 10m or 24h");
}
