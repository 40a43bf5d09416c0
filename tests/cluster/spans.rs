//! What a collector is told of passes, deliveries and requests; and that nothing depends on a collector.

#[path = "spans/collector.rs"]
mod collector;

use crate::feeds::{Fed, webhook};
use crate::operators::{Operator, Start, free_port};
use crate::stage::{Setup, Stage, outcomes};
use collector::{Collector, KEY, Mood, context, said};
use kube::ResourceExt as _;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use releaseclosure::sandbox::{self, Role};
use serde_json::json;
use std::time::Duration;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// An id of zeros, and none.
const MALFORMED: &str = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";

fn exporting(environment: Vec<(&'static str, String)>) -> Start {
    Start { environment, ..Start::default() }
}

fn alone(releases: usize) -> Setup {
    Setup { seed: sandbox::generate(releases), shared: false, ..Setup::default() }
}

/// Stops an operator, and waits until it is gone: what it had to tell is told then.
async fn stopped(operator: &Operator) {
    operator.signal("-TERM");
    operator.until_ended().await;
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn children<'a>(spans: &'a [Span], of: &Span) -> Vec<&'a Span> {
    let own = |span: &&Span| span.parent_span_id == of.span_id && span.trace_id == of.trace_id;
    spans.iter().filter(own).collect()
}

/// The passes over a closure that asked any system.
fn passes<'a>(spans: &'a [Span], key: &str, outcome: &str) -> Vec<&'a Span> {
    let mut passes = named(spans, "pass");
    passes.retain(|pass| said(&pass.attributes, "releaseclosure.key").as_deref() == Some(key));
    passes.retain(|pass| said(&pass.attributes, "releaseclosure.outcome").as_deref() == Some(outcome));
    passes
}

fn links(span: &Span) -> Vec<String> {
    span.links.iter().map(|link| context(&link.trace_id, &link.span_id)).collect()
}

/// How many passes the operator counts.
async fn counted(operator: &Operator) -> usize {
    let url = format!("{}/metrics", operator.metrics);
    let text = crate::feeds::poster::client().get(url).send().await.unwrap().text().await.unwrap();
    let passes = text.lines().filter(|line| line.starts_with("releaseclosure_passes_total{"));
    passes.map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap()).sum()
}

#[tokio::test]
async fn a_pass_is_told_with_every_request_of_it() {
    let collector = Collector::start(Mood::Takes).await;
    let stage = Stage::with("spans-of-passes", alone(2)).await;
    let operator = stage.operator_with(exporting(collector.environment())).await;
    let mut clean = stage.closure(1);
    clean["metadata"]["annotations"] = json!({"releaseclosure.io/traceparent": PARENT});
    let closed = stage.create(&clean).await;
    stage.closed(&closed).await;
    let requests = stage.requests();
    assert!(stage.sandbox().edit(Role::Tracker, "REL-00002", &json!({"milestone": {"title": "Words of a system"}})));
    let mut other = stage.closure(2);
    other["metadata"]["annotations"] = json!({"releaseclosure.io/traceparent": MALFORMED});
    let halted = stage.create(&other).await;
    stage.halted(&halted).await;
    stage.quiet(Duration::from_secs(1)).await;
    let made = counted(&operator).await;
    let log = operator.read_log();
    stopped(&operator).await;

    let spans = collector.spans();
    assert_eq!(named(&spans, "pass").len(), made, "each pass is told once");
    let key = |number: usize| format!("load-{number:05}@RR-load-{number:05}@1");
    let [pass] = passes(&spans, &key(1), "closed")[..] else { panic!("one pass closes it: {spans:#?}") };
    assert_eq!((pass.parent_span_id.as_slice(), pass.kind), (&[][..], SpanKind::Internal as i32));
    for (name, value) in [
        ("k8s.namespace.name", stage.namespace.as_str()),
        ("releaseclosure.name", closed.as_str()),
        ("cloudevents.event_id", clean["spec"]["review"]["acceptedEvent"]["id"].as_str().unwrap()),
        ("cloudevents.event_source", "/governance/reviews"),
    ] {
        assert_eq!(said(&pass.attributes, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(links(pass), [PARENT]);

    // Fifteen, in the order in which they went out, each by its row.
    let asked = children(&spans, pass);
    let told: Vec<[String; 4]> = asked
        .iter()
        .map(|span| {
            let word = |key| said(&span.attributes, key).unwrap_or_else(|| panic!("{key}: {span:?}"));
            assert_eq!(span.kind, SpanKind::Client as i32);
            assert_eq!(span.name, format!("{} {}", word("http.request.method"), word("url.template")));
            assert_eq!(word("releaseclosure.provider"), "http");
            assert_eq!(word("releaseclosure.outcome"), "success");
            assert_eq!(word("k8s.namespace.name"), stage.namespace);
            assert_eq!(word("releaseclosure.connection"), word("releaseclosure.role"));
            assert!(said(&span.attributes, "error.type").is_none() && span.events.is_empty());
            ["http.request.method", "releaseclosure.role", "url.template", "http.response.status_code"].map(word)
        })
        .collect();
    let seen: Vec<String> = told.iter().map(|[method, role, ..]| format!("{method} {role}")).collect();
    let sent: Vec<&str> = requests.iter().map(|request| request.rsplit_once(' ').unwrap().0).collect();
    // Where several went out together, the systems may have seen them in another order.
    let sorted = |part: &[&str]| {
        let mut part: Vec<String> = part.iter().map(|word| (*word).to_owned()).collect();
        part.sort();
        part
    };
    let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    assert_eq!((seen.len(), sent.len()), (15, 15));
    for together in [0..5, 5..10, 10..12, 12..15] {
        assert_eq!(sorted(&seen[together.clone()]), sorted(&sent[together.clone()]), "{together:?}");
    }
    assert_eq!(seen[5..10], sent[5..10]);
    let templates: Vec<[&str; 2]> = told.iter().map(|[_, _, template, status]| [&**template, &**status]).collect();
    assert_eq!(templates[5], ["/checklists/{id}", "200"]);
    assert_eq!(templates[14], ["/handoffs", "201"]);

    let [pass] = passes(&spans, &key(2), "halted")[..] else { panic!("one pass halts it: {spans:#?}") };
    assert_eq!(children(&spans, pass).len(), 5);
    assert!(pass.links.is_empty(), "what is malformed is ignored");

    // Whatever is not of a pass is a probe, and a root.
    let own = spans.iter().filter(|span| !span.parent_span_id.is_empty()).count();
    assert_eq!(own, 20);

    assert_eq!(said(&collector.resource(), "service.name").as_deref(), Some("releaseclosure"));
    assert_eq!(said(&collector.resource(), "k8s.cluster.name").as_deref(), Some("of-tests"));
    assert!(collector.keys().iter().all(|key| key.as_deref() == Some(KEY)));
    for secret in
        ["a-token-that-shall-never-show", KEY, "Words of a system", "REL-0000", "CHK-0000", "sha256:", "127.0.0.1"]
    {
        assert!(!collector.was_sent(secret), "{secret} went to the collector");
    }
    assert!(log.contains("traces go to a collector") && !log.contains(KEY));
    // Logs are as they are without a collector.
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let said: Vec<serde_json::Value> = lines.filter(|line| line["message"] == "closed").collect();
    assert_eq!(said.len(), 1);
    assert_eq!(
        said[0]["span"],
        json!({"name": "pass", "object": closed, "namespace": stage.namespace, "closure": key(1)})
    );
}

#[tokio::test]
async fn a_closure_is_linked_to_the_delivery_that_made_it() {
    let collector = Collector::start(Mood::Takes).await;
    let feeds = [webhook("governance", "StandardWebhooks", &["webhook"])];
    let fed = Fed::within(collector.environment(), "spans-of-deliveries", alone(3), &feeds).await;
    let event = |number: usize| json!({"data": {"review": {"id": format!("RR-load-{number:05}")}}}).to_string();
    let now = crate::feeds::poster::now;
    let mut poster = fed.poster("governance");
    let mut made = Vec::new();
    for (number, traceparent) in [(1, Some(PARENT)), (2, None), (3, Some(MALFORMED))] {
        poster.traceparent = traceparent.map(str::to_owned);
        assert_eq!(poster.standard(&format!("event-{number}"), now(), &event(number)).await, 204);
        let objects = fed.stage.closures.list(&Default::default()).await.unwrap().items;
        let release = format!("load-{number:05}");
        let object = objects.into_iter().find(|object| object.spec.release.id == release).expect("the closure is made");
        fed.stage.closed(&object.name_any()).await;
        made.push(object.annotations().get("releaseclosure.io/traceparent").cloned().expect("a context"));
    }
    poster.traceparent = Some(PARENT.to_owned());
    assert_eq!(poster.forged("event-4", now(), &event(1)).await, 403);
    stopped(fed.operator.as_ref().unwrap()).await;

    let spans = collector.spans();
    let deliveries = named(&spans, "delivery");
    let became: Vec<String> =
        deliveries.iter().filter_map(|delivery| said(&delivery.attributes, "releaseclosure.outcome")).collect();
    assert_eq!(became, ["created", "created", "created", "wrongly_signed"]);
    for delivery in &deliveries {
        assert_eq!((delivery.parent_span_id.as_slice(), delivery.kind), (&[][..], SpanKind::Server as i32));
        assert_eq!(said(&delivery.attributes, "releaseclosure.source").as_deref(), Some("webhook"));
        assert_eq!(said(&delivery.attributes, "releaseclosure.feed").as_deref(), Some("governance"));
    }
    // The record is read once for each that was signed, and for none that was not.
    let read: Vec<usize> = deliveries.iter().map(|delivery| children(&spans, delivery).len()).collect();
    assert_eq!(read, [1, 1, 1, 0]);
    let own: Vec<String> = deliveries.iter().map(|delivery| context(&delivery.trace_id, &delivery.span_id)).collect();
    // The sender's where it gave one that is well-formed, else the delivery's.
    assert_eq!(made, [PARENT.to_owned(), own[1].clone(), own[2].clone()]);
    let named: Vec<Vec<String>> = deliveries.iter().map(|delivery| links(delivery)).collect();
    assert_eq!(named, [vec![PARENT.to_owned()], vec![], vec![], vec![]]);
    for (number, made) in made.iter().enumerate() {
        let number = number + 1;
        let [pass] = passes(&spans, &format!("load-{number:05}@RR-load-{number:05}@1"), "closed")[..] else {
            panic!("one pass closes it: {spans:#?}")
        };
        assert_eq!(links(pass), std::slice::from_ref(made));
        // Three of the records are looked up, as the feed knows only the review.
        assert_eq!(children(&spans, pass).len(), 18);
    }
}

/// A collector that is away, does not answer, or answers with an error: the same fifteen requests, and one line in the log.
#[tokio::test]
async fn nothing_depends_on_a_collector() {
    let failing = Collector::start(Mood::Fails).await;
    let hanging = Collector::start(Mood::Hangs).await;
    let away = format!("http://127.0.0.1:{}", free_port());
    let lost = "the collector does not take traces";
    for (name, endpoint) in [("fails", failing.endpoint.clone()), ("hangs", hanging.endpoint.clone()), ("away", away)] {
        let stage = Stage::with(&format!("spans-collector-{name}"), alone(20)).await;
        let environment = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000".to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "32".to_owned()),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8".to_owned()),
        ];
        let operator = stage.operator_with(exporting(environment)).await;
        for number in 1..=20 {
            stage.create(&stage.closure(number)).await;
        }
        for number in 1..=20 {
            let closure = stage.closed(&format!("load-{number:05}-rv1")).await;
            assert_eq!(outcomes(&closure), ["Changed"; 5], "{name}");
        }
        assert_eq!(stage.requests().len(), 15 * 20, "{name}");
        operator.until_logged(lost).await;
        stopped(&operator).await;
        let log = operator.read_log();
        assert_eq!(log.matches(lost).count(), 1, "{name}: {log}");
        assert!(log.matches("dropped a Span due to queue full").count() <= 1, "{name}: {log}");
        assert!(log.contains("every pass under way has ended"), "{name}: a clean stop");
        assert!(!log.contains("words of the collector"), "{name}: {log}");
    }
    assert!(hanging.batches() > 0 && failing.batches() > 0);
}

/// What cannot be is said, and the operator goes on without.
#[test]
fn an_endpoint_that_is_none_is_named() {
    let ran = std::process::Command::new(env!("CARGO_BIN_EXE_releaseclosure"))
        .args(["operator", "--metrics-bind-address=0", "--log-format=json"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "not a place")
        .env("KUBECONFIG", "/nonexistent")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(log.contains("no traces: the environment asks for what cannot be"), "{log}");
    assert!(log.contains("releaseclosure: "), "it went on to look for its cluster: {log}");
}

/// What is switched off in one of the standard ways is off.
#[tokio::test]
async fn what_is_switched_off_sends_nothing() {
    let collector = Collector::start(Mood::Takes).await;
    for (name, variable, value) in
        [("disabled", "OTEL_SDK_DISABLED", "true"), ("sampler", "OTEL_TRACES_SAMPLER", "always_off")]
    {
        let stage = Stage::with(&format!("spans-{name}"), alone(1)).await;
        let mut environment = collector.environment();
        environment.push((variable, value.to_owned()));
        let operator = stage.operator_with(exporting(environment)).await;
        let closed = stage.start().await;
        stage.closed(&closed).await;
        stopped(&operator).await;
        assert_eq!((stage.requests().len(), collector.batches()), (15, 0), "{name}");
    }
}
