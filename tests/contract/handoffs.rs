//! Announcing handoffs, and telling of halts.

use serde_json::{Value, json};

use super::client::{Bench, follow_up, handoff, post_headers};

const KEY: &str = "load-00001@RR-load-00001@1";

#[tokio::test]
async fn a_handoff_is_taken_once_and_its_first_reply_repeated() {
    let bench = Bench::new().await;
    bench.get("/handoffs/load-00001%40RR-load-00001%401").await.is_problem(404, "notFound");
    let first = bench.post(KEY, &handoff()).await;
    assert_eq!((first.status.as_u16(), &first.json()["key"]), (201, &json!(KEY)));
    // Equal as JSON, though not as text.
    let fields: Vec<_> =
        handoff().as_object().expect("an object").iter().rev().map(|(k, v)| format!("{k:?} :\n{v}")).collect();
    let other_text: Value = serde_json::from_str(&format!("{{{}}}", fields.join(" , "))).expect("JSON");
    let second = bench.post(KEY, &other_text).await;
    assert_eq!((second.status.as_u16(), second.json()), (200, first.json()));
    let read = bench.get("/handoffs/load-00001%40RR-load-00001%401").await;
    assert_eq!((read.status.as_u16(), read.json(), read.header("etag")), (200, first.json(), None));
    let counts = bench.sandbox().counts();
    assert_eq!((counts.deliveries.total, counts.roles["intake"].applied, counts.roles["intake"].writes), (1, 1, 2));
}

#[tokio::test]
async fn a_key_with_another_content_is_a_conflict() {
    let bench = Bench::new().await;
    bench.post(KEY, &handoff()).await;
    let mut other = handoff();
    other["coordinator"] = json!("somebody-else");
    bench.post(KEY, &other).await.is_problem(409, "keyReused");
    let mut without = handoff();
    without.as_object_mut().expect("an object").remove("coordinator");
    bench.post(KEY, &without).await.is_problem(409, "keyReused");
    assert_eq!(bench.sandbox().deliveries().len(), 1);
    assert_eq!(bench.sandbox().deliveries()[0].handoff, handoff());
}

#[tokio::test]
async fn a_handoff_needs_its_key_and_exactly_its_fields() {
    let bench = Bench::new().await;
    let send = |headers: Vec<(&'static str, &'static str)>, body: Value| {
        let bench = &bench;
        async move { bench.send("POST", "/handoffs", &headers, Some(&body)).await }
    };
    let [json_type, key] = post_headers(KEY);
    send(vec![json_type], handoff()).await.is_problem(400, "malformed");
    send(vec![json_type, ("idempotency-key", "")], handoff()).await.is_problem(400, "malformed");
    send(vec![json_type, key, key], handoff()).await.is_problem(400, "malformed");
    send(vec![key], handoff()).await.is_problem(415, "unsupportedMediaType");
    send(vec![json_type, ("idempotency-key", "another")], handoff()).await.is_problem(422, "notDocumented");
    let mut extra = handoff();
    extra["note"] = json!("free text");
    send(vec![json_type, key], extra).await.is_problem(422, "notDocumented");
    assert_eq!(bench.sandbox().deliveries(), []);
}

#[tokio::test]
async fn an_intake_without_idempotency_takes_every_announcement() {
    let bench = Bench::from_yaml("settings: {intake: {idempotency: false}}").await;
    for _ in 0..3 {
        assert_eq!(bench.post(KEY, &handoff()).await.status, 201);
    }
    let counts = bench.admin("GET", "/admin/counts", None).await.json();
    assert_eq!(counts["deliveries"], json!({"total": 3, "keys": 1, "duplicates": 2, "byKey": {KEY: 3}}));
    let deliveries = bench.admin("GET", "/admin/handoffs", None).await.json();
    assert_eq!(deliveries["deliveries"].as_array().map(Vec::len), Some(3));
    assert_eq!(deliveries["deliveries"][2]["handoff"], handoff());
}

#[tokio::test]
async fn an_intake_without_look_up_does_not_say() {
    let bench = Bench::from_yaml("settings: {intake: {lookup: false}}").await;
    assert_eq!(bench.post(KEY, &handoff()).await.status, 201);
    bench.get("/handoffs/load-00001%40RR-load-00001%401").await.is_problem(405, "methodNotAllowed");
}

#[tokio::test]
async fn a_forgotten_key_is_a_new_handoff() {
    let bench = Bench::new().await;
    bench.post(KEY, &handoff()).await;
    let path = "/admin/records/intake/load-00001%40RR-load-00001%401";
    assert_eq!(bench.admin("DELETE", path, None).await.status, 204);
    bench.get("/handoffs/load-00001%40RR-load-00001%401").await.is_problem(404, "notFound");
    assert_eq!(bench.post(KEY, &handoff()).await.status, 201);
    assert_eq!(bench.sandbox().counts().deliveries.duplicates, 1);
}

#[tokio::test]
async fn what_is_told_of_a_halt_is_taken_once_and_has_its_fields_and_no_other() {
    let bench = Bench::new().await;
    let halt = follow_up();
    let key = halt["haltId"].as_str().expect("an id").to_owned();
    let send = |body: Value| {
        let (bench, key) = (&bench, key.clone());
        async move { bench.send("POST", "/follow-ups", &post_headers(&key), Some(&body)).await }
    };
    for (field, value) in [
        ("haltId", json!("h-another")),
        ("cause", Value::Null),
        ("packet", json!("")),
        ("namespace", json!(7)),
        ("link", json!("x".repeat(513))),
        ("note", json!("free text")),
    ] {
        let mut wrong = halt.clone();
        wrong[field] = value;
        send(wrong).await.is_problem(422, "notDocumented");
    }
    for field in ["haltId", "closureKey", "packet", "namespace", "coordinator", "cause", "link"] {
        let mut without = halt.clone();
        without.as_object_mut().expect("an object").remove(field);
        send(without).await.is_problem(422, "notDocumented");
    }
    assert_eq!(bench.sandbox().len(releaseclosure::sandbox::Role::FollowUp), 0);
    let first = send(halt.clone()).await;
    assert_eq!((first.status.as_u16(), &first.json()["key"]), (201, &halt["haltId"]));
    let second = send(halt.clone()).await;
    assert_eq!((second.status.as_u16(), second.json()), (200, first.json()));
    // It is no handoff.
    assert_eq!(bench.sandbox().deliveries(), []);
    bench.get(&format!("/handoffs/{key}")).await.is_problem(404, "notFound");
}
