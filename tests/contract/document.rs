//! The OpenAPI document itself, and a run through all of it.

use releaseclosure::sandbox::{Role, Settings, generate};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::client::{Bench, close, follow_up, handoff, link, marker, patch_headers, post_headers};
use super::openapi::Contract;

/// The whole allow-list.
const PAIRS: [(&str, &str); 16] = [
    ("GET", "/bundles/{bundle}"),
    ("GET", "/checklists"),
    ("GET", "/checklists/{id}"),
    ("GET", "/follow-ups/{haltId}"),
    ("GET", "/handoffs/{key}"),
    ("GET", "/queue-entries"),
    ("GET", "/queue-entries/{id}"),
    ("GET", "/releases"),
    ("GET", "/releases/{id}"),
    ("GET", "/reviews"),
    ("GET", "/reviews/{id}"),
    ("PATCH", "/checklists/{id}"),
    ("PATCH", "/queue-entries/{id}"),
    ("PATCH", "/releases/{id}"),
    ("POST", "/follow-ups"),
    ("POST", "/handoffs"),
];

fn walk<'a>(value: &'a Value, visit: &mut impl FnMut(&'a serde_json::Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            visit(fields);
            fields.values().for_each(|value| walk(value, visit));
        }
        Value::Array(values) => values.iter().for_each(|value| walk(value, visit)),
        _ => {}
    }
}

#[test]
fn the_document_has_the_sixteen_pairs_and_no_other() {
    let mut pairs = Contract::load().pairs();
    pairs.sort();
    let pairs: Vec<_> = pairs.iter().map(|(method, path)| (method.as_str(), path.as_str())).collect();
    assert_eq!(pairs, PAIRS);
}

#[test]
fn every_reference_points_somewhere_and_every_component_is_used() {
    let contract = Contract::load();
    let mut used = Vec::new();
    walk(contract.document(), &mut |fields| {
        if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
            contract.resolve(&json!(fields));
            used.push(reference.to_owned());
        }
    });
    for kind in ["parameters", "headers", "responses", "schemas"] {
        for name in contract.document()["components"][kind].as_object().expect(kind).keys() {
            assert!(used.contains(&format!("#/components/{kind}/{name}")), "nothing uses {kind}/{name}");
        }
    }
}

#[test]
fn every_operation_is_complete() {
    let contract = Contract::load();
    assert!(contract.document()["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")));
    let mut ids = Vec::new();
    for (method, template) in contract.pairs() {
        let operation = &contract.document()["paths"][&template][method.to_lowercase()];
        let name = format!("{method} {template}");
        assert!(operation["summary"].is_string() && operation["tags"].is_array(), "{name}");
        ids.push(operation["operationId"].as_str().expect(&name));
        let parameters: Vec<_> =
            operation["parameters"].as_array().into_iter().flatten().map(|one| contract.resolve(one)).collect();
        for parameter in &parameters {
            assert!(parameter["description"].is_string() && parameter["schema"].is_object(), "{name} {parameter}");
        }
        let has = |place: &str, name: &str| {
            parameters.iter().any(|one| one["in"] == place && one["name"] == name && one["required"] == true)
        };
        for part in template.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            assert!(has("path", part), "{name}: {part}");
        }
        assert_eq!(has("header", "If-Match"), method == "PATCH", "{name}");
        assert_eq!(has("header", "Idempotency-Key"), method == "POST", "{name}");
        assert_eq!(operation.get("requestBody").is_some(), method != "GET", "{name}");
        for (status, response) in operation["responses"].as_object().expect(&name) {
            let content = contract.resolve(response)["content"].as_object().expect(&name);
            let media_type = if status.starts_with('2') { "application/json" } else { "application/problem+json" };
            assert_eq!(content.keys().collect::<Vec<_>>(), [media_type], "{name} {status}");
        }
        assert!(operation["responses"].get("default").is_some(), "{name}");
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), PAIRS.len());
}

#[test]
fn requests_are_closed_and_replies_are_open() {
    let contract = Contract::load();
    let schemas = contract.document()["components"]["schemas"].as_object().expect("schemas");
    let requests = [
        "Marker",
        "CloseChecklist",
        "ApproveRelease",
        "ClearQueueEntry",
        "AttachEvidence",
        "NewLink",
        "Handoff",
        "FollowUp",
    ];
    for (name, schema) in schemas {
        walk(schema, &mut |fields| {
            if fields.get("properties").is_some_and(Value::is_object) && fields.contains_key("type") {
                let closed = fields.get("additionalProperties") == Some(&json!(false));
                assert_eq!(closed, requests.contains(&name.as_str()), "{name}");
            }
        });
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
    };
    pairs.iter().map(pair).collect()
}

#[test]
fn the_judge_refuses_what_the_contract_does_not_have() {
    let contract = Contract::load();
    let judge = |method: &str, path: &str, pairs: &[(&'static str, &str)], body: Option<Value>| {
        contract.request(
            method,
            path,
            &headers(pairs),
            body.map(|body| body.to_string()).unwrap_or_default().as_bytes(),
        )
    };
    let patch = patch_headers("\"1\"");
    assert_eq!(judge("PATCH", "/checklists/C", &patch, Some(close())), Ok(()));
    assert_eq!(judge("PATCH", "/releases/R", &patch, Some(json!({"evidence": [{"any": 1}, link()]}))), Ok(()));
    assert_eq!(judge("GET", "/bundles/a%2Fb", &[], None), Ok(()));
    assert_eq!(judge("POST", "/handoffs", &post_headers("k"), Some(handoff())), Ok(()));
    for (method, path, pairs, body) in [
        ("PATCH", "/reviews/R", &patch[..], Some(close())),
        ("GET", "/deployments", &[], None),
        ("GET", "/bundles/a@b", &[], None),
        ("GET", "/bundles/a/b", &[], None),
        ("GET", "/checklists?release=r", &[], None),
        ("GET", "/releases?release=r&all=true", &[], None),
        ("PATCH", "/checklists/C", &patch[..1], Some(close())),
        ("PATCH", "/checklists/C", &[("content-type", "application/json"), ("if-match", "\"1\"")], Some(close())),
        ("PATCH", "/checklists/C", &patch_headers("W/\"1\""), Some(close())),
        ("PATCH", "/checklists/C", &patch, None),
        ("PATCH", "/checklists/C", &patch, Some(json!({"state": "Approved", "closure": marker()}))),
        (
            "PATCH",
            "/checklists/C",
            &patch,
            Some(json!({"state": "Closed", "closure": {"key": "k", "uid": "u", "by": "x"}})),
        ),
        ("PATCH", "/releases/R", &patch, Some(json!({"state": "Approved", "closure": marker(), "evidence": [link()]}))),
        ("PATCH", "/releases/R", &patch, Some(json!({"evidence": [{"bundle": "b"}]}))),
        ("POST", "/handoffs", &post_headers(""), Some(handoff())),
        ("POST", "/handoffs", &post_headers("k"), Some(json!({"releaseId": "r"}))),
        ("GET", "/handoffs/k", &[], Some(json!({}))),
    ] {
        assert!(judge(method, path, pairs, body.clone()).is_err(), "{method} {path} {body:?}");
    }
    let no_store = [("content-type", "application/json"), ("cache-control", "no-store")];
    let body = br#"{"key": "k", "receivedAt": "2026-11-20T10:00:00Z", "more": 1}"#;
    assert_eq!(contract.reply("GET", "/handoffs/k", 200, &headers(&no_store), body), Ok(()));
    assert!(contract.reply("GET", "/handoffs/k", 200, &headers(&no_store[..1]), body).is_err());
    assert!(contract.reply("GET", "/handoffs/k", 200, &headers(&no_store), b"{}").is_err());
    assert!(contract.reply("GET", "/handoffs/k", 404, &headers(&no_store), body).is_err());
    assert!(contract.reply("GET", "/reviews/k", 200, &headers(&no_store), body).is_err());
}

#[test]
fn made_up_records_are_what_the_document_says() {
    let (contract, seed) = (Contract::load(), generate(2));
    for (role, schema) in [
        (Role::Governance, "Review"),
        (Role::Archive, "Bundle"),
        (Role::Checklist, "Checklist"),
        (Role::Tracker, "Release"),
        (Role::Queue, "QueueEntry"),
    ] {
        for record in seed.records(role) {
            assert_eq!(contract.schema(schema, record), Ok(()), "{record}");
        }
    }
}

/// Every pair once at least, with each of its replies; the bench judges the replies, and here the requests are judged from what the
/// sandbox has seen of them.
#[tokio::test]
async fn a_run_through_all_pairs_is_what_the_document_says() {
    let bench = Bench::new().await;
    let key = "load-00001@RR-load-00001@1";
    for path in [
        "/reviews/RR-load-00001",
        "/reviews?state=Accepted&acceptedAfter=2020-01-01T00%3A00%3A00Z",
        "/bundles/load%2F00001%2Frv1",
        "/checklists?release=load-00001&reviewVersion=1",
        "/releases?release=load-00001",
        "/queue-entries?release=load-00001&reviewVersion=1",
    ] {
        assert_eq!(bench.get(path).await.status, 200, "{path}");
    }
    for path in [
        "/reviews/none",
        "/bundles/none",
        "/checklists/none",
        "/releases/none",
        "/queue-entries/none",
        "/handoffs/none",
    ] {
        assert_eq!(bench.get(path).await.status, 404, "{path}");
    }
    for (path, body) in [
        ("/checklists/CHK-00001", close()),
        ("/releases/REL-00001", json!({"state": "Approved", "closure": marker()})),
        ("/releases/REL-00001", json!({"evidence": [link()]})),
        ("/queue-entries/Q-00001", json!({"state": "Cleared", "closure": marker()})),
    ] {
        assert_eq!(bench.patch(path, &body).await.status, 200, "{path}");
        assert_eq!(bench.patch_if(path, "\"0\"", &body).await.status, 412, "{path}");
    }
    assert_eq!(bench.post(key, &handoff()).await.status, 201);
    assert_eq!(bench.post(key, &handoff()).await.status, 200);
    let mut other = handoff();
    other["links"] = json!([]);
    assert_eq!(bench.post(key, &other).await.status, 409);
    assert_eq!(bench.get("/handoffs/load-00001%40RR-load-00001%401").await.status, 200);
    let halt = follow_up();
    let halt_id = halt["haltId"].as_str().expect("an id");
    for (status, link) in [(201, &halt["link"]), (200, &halt["link"]), (409, &Value::Null)] {
        let mut body = halt.clone();
        body["link"] = link.clone();
        assert_eq!(bench.send("POST", "/follow-ups", &post_headers(halt_id), Some(&body)).await.status, status);
    }
    assert_eq!(bench.get(&format!("/follow-ups/{halt_id}")).await.status, 200);
    assert_eq!(bench.get("/follow-ups/none").await.status, 404);

    let contract = Contract::load();
    let mut seen = std::collections::BTreeSet::new();
    for entry in bench.sandbox().requests(0) {
        let path = entry.raw_path.strip_prefix("/closure/v1").expect("the prefix");
        let sent = [
            ("if-match", entry.headers.if_match.as_deref()),
            ("content-type", entry.headers.content_type.as_deref()),
            ("idempotency-key", entry.headers.idempotency_key.as_deref()),
        ];
        let sent: Vec<_> = sent.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let whole = entry.query.as_ref().map_or(path.to_owned(), |query| format!("{path}?{query}"));
        assert_eq!(
            contract.request(&entry.method, &whole, &headers(&sent), &entry.body),
            Ok(()),
            "{} {whole}",
            entry.method
        );
        seen.insert((entry.method.clone(), path.split('/').nth(1).map(str::to_owned), path.matches('/').count()));
    }
    assert_eq!(seen.len(), PAIRS.len());
}

#[tokio::test]
async fn records_without_markers_are_what_the_document_says() {
    let bench = Bench::new().await;
    let mut settings = Settings::default();
    settings.tracker.markers = false;
    bench.sandbox().set_settings(settings);
    bench.patch("/releases/REL-00001", &json!({"evidence": [link()]})).await;
    assert_eq!(bench.get("/releases/REL-00001").await.json().get("closure"), None);
    assert_eq!(bench.field(Role::Tracker, "REL-00001", "/evidence/0/closure"), Value::Null);
}
