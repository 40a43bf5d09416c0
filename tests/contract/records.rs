//! Reading, looking up and changing records.

use releaseclosure::sandbox::{Config, Role};
use serde_json::{Value, json};

use super::client::{Bench, close, link, marker, patch_headers};

#[tokio::test]
async fn a_record_read_carries_a_strong_etag_and_a_look_up_none() {
    let bench = Bench::new().await;
    for path in [
        "/reviews/RR-load-00001",
        "/bundles/load%2F00001%2Frv1",
        "/checklists/CHK-00001",
        "/releases/REL-00001",
        "/queue-entries/Q-00001",
    ] {
        let reply = bench.get(path).await;
        assert_eq!(reply.status, 200, "{path}");
        assert!(reply.etag().starts_with('"') && reply.etag().ends_with('"'), "{path}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
    for path in [
        "/reviews?state=Accepted",
        "/checklists?release=load-00002&reviewVersion=1",
        "/releases?release=load-00002",
        "/queue-entries?release=load-00002&reviewVersion=1",
    ] {
        let reply = bench.get(path).await;
        assert_eq!((reply.status.as_u16(), reply.header("etag")), (200, None), "{path}");
        assert!(!reply.json()["items"].as_array().expect("items").is_empty(), "{path}");
    }
    let found = bench.get("/queue-entries?release=load-00002&reviewVersion=1").await.json();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(found["items"][0]["id"], "Q-00002");
    for path in ["/checklists?release=load-00002&reviewVersion=2", "/releases?release=none"] {
        assert_eq!(bench.get(path).await.json(), json!({"items": []}), "{path}");
    }
}

#[tokio::test]
async fn ids_are_compared_decoded() {
    let bench = Bench::new().await;
    bench.sandbox().put(
        Role::Queue,
        "a@b/ü%",
        json!({"id": "a@b/ü%", "state": "Pending", "release": {"id": "x"}, "review": {"version": "1"}}),
    );
    for path in ["/queue-entries/a%40b%2F%C3%BC%25", "/queue-entries/%61@b%2f%c3%bc%25"] {
        assert_eq!(bench.get(path).await.json()["id"], "a@b/ü%", "{path}");
    }
    bench.get("/bundles/load%2F00009%2Frv1").await.is_problem(404, "notFound");
    bench.get("/bundles/load/00001/rv1").await.is_problem(400, "unknownPath");
    bench.get("/bundles/%ff").await.is_problem(400, "malformed");
    bench.get("/deployments/1").await.is_problem(400, "unknownPath");
}

#[tokio::test]
async fn outside_the_contract_a_404_is_no_problem_document() {
    let bench = Bench::new().await;
    for path in ["/closure/v2/reviews/RR-load-00001", "/reviews/RR-load-00001", "/closure/v1/"] {
        let reply = bench.admin("GET", path, None).await;
        assert_eq!(reply.status, 404, "{path}");
        assert_ne!(reply.header("content-type"), Some("application/problem+json"), "{path}");
    }
}

#[tokio::test]
async fn a_look_up_needs_its_query_and_no_other() {
    let bench = Bench::new().await;
    for path in [
        "/checklists",
        "/checklists?release=load-00001",
        "/checklists?reviewVersion=1",
        "/checklists?release=a&release=b&reviewVersion=1",
        "/releases",
        "/releases?release=load-00001&reviewVersion=1",
        "/queue-entries?release=load-00001&reviewVersion=1&state=Pending",
        "/checklists/CHK-00001?fields=state",
        "/reviews?after=2026-01-01T00:00:00Z",
        "/reviews?acceptedAfter=yesterday",
        "/reviews?cursor=zz",
    ] {
        bench.get(path).await.is_problem(400, "malformed");
    }
}

#[tokio::test]
async fn the_feed_pages_through_accepted_reviews() {
    let bench = Bench::from_yaml("{generate: {count: 5}, settings: {governance: {pageSize: 2}}}").await;
    bench.sandbox().edit(Role::Governance, "RR-load-00002", &json!({"state": "Superseded"}));
    bench.sandbox().edit(Role::Governance, "RR-load-00001", &json!({"acceptedEvent": {"at": "2020-01-01T00:00:00Z"}}));
    let mut seen = Vec::new();
    let mut path = "/reviews?state=Accepted".to_owned();
    loop {
        let page = bench.get(&path).await.json();
        seen.extend(page["items"].as_array().expect("items").iter().map(|item| item["id"].clone()));
        match &page["next"] {
            Value::String(cursor) => path = format!("/reviews?state=Accepted&cursor={cursor}"),
            next => break assert!(next.is_null()),
        }
    }
    assert_eq!(json!(seen), json!(["RR-load-00001", "RR-load-00003", "RR-load-00004", "RR-load-00005"]));
    let later = bench.get("/reviews?acceptedAfter=2020-01-01T00%3A00%3A00Z").await.json();
    assert_eq!(later["items"].as_array().map(Vec::len), Some(2));
    assert_ne!(later["items"][0]["id"], "RR-load-00001");
}

#[tokio::test]
async fn a_change_replies_with_the_changed_record_and_the_next_read_shows_it() {
    let bench = Bench::new().await;
    for (path, state) in [
        ("/checklists/CHK-00001", "Closed"),
        ("/releases/REL-00001", "Approved"),
        ("/queue-entries/Q-00001", "Cleared"),
    ] {
        let before = bench.get(path).await;
        let changed = bench.patch_if(path, before.etag(), &json!({"state": state, "closure": marker()})).await;
        assert_eq!(changed.status, 200, "{path}");
        assert_ne!(changed.etag(), before.etag(), "{path}");
        let mut expected = before.json();
        expected["state"] = json!(state);
        expected["closure"] = marker();
        assert_eq!(changed.json(), expected, "{path}");
        let after = bench.get(path).await;
        assert_eq!((after.json(), after.etag()), (expected, changed.etag()), "{path}");
    }
}

#[tokio::test]
async fn a_change_needs_its_media_type_and_the_current_etag() {
    let bench = Bench::new().await;
    let path = "/checklists/CHK-00001";
    let etag = bench.get(path).await.etag().to_owned();
    let merge = ("content-type", "application/merge-patch+json");
    let send = |headers: Vec<(&'static str, String)>| {
        let bench = &bench;
        async move {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            bench.send("PATCH", path, &headers, Some(&close())).await
        }
    };
    let merge = (merge.0, merge.1.to_owned());
    send(vec![merge.clone()]).await.is_problem(428, "preconditionRequired");
    send(vec![merge.clone(), ("if-match", "*".into())]).await.is_problem(428, "preconditionRequired");
    send(vec![merge.clone(), ("if-match", "\"other\"".into())]).await.is_problem(412, "preconditionFailed");
    send(vec![merge.clone(), ("if-match", format!("W/{etag}"))]).await.is_problem(412, "preconditionFailed");
    send(vec![("if-match", etag.clone())]).await.is_problem(415, "unsupportedMediaType");
    send(vec![("content-type", "application/json".into()), ("if-match", etag.clone())])
        .await
        .is_problem(415, "unsupportedMediaType");
    assert_eq!(bench.field(Role::Checklist, "CHK-00001", "/state"), "Open");
    let with_parameter = ("content-type", "Application/Merge-Patch+JSON; charset=utf-8".to_owned());
    assert_eq!(send(vec![with_parameter, ("if-match", format!("\"x\", {etag}"))]).await.status, 200);
    bench.patch_if(path, &etag, &close()).await.is_problem(412, "preconditionFailed");
    bench.patch_if("/checklists/none", &etag, &close()).await.is_problem(404, "notFound");
}

#[tokio::test]
async fn only_documented_bodies_change_anything() {
    let bench = Bench::new().await;
    for (path, body) in [
        ("/checklists/CHK-00001", json!({"state": "Approved", "closure": marker()})),
        ("/checklists/CHK-00001", json!({"state": "Open", "closure": marker()})),
        ("/checklists/CHK-00001", json!({"state": "Closed"})),
        ("/checklists/CHK-00001", json!({"state": "Closed", "closure": marker(), "items": []})),
        ("/releases/REL-00001", json!({"state": "Deployed", "closure": marker()})),
        ("/releases/REL-00001", json!({"milestone": {"id": "x"}})),
        ("/releases/REL-00001", json!({"evidence": []})),
        ("/releases/REL-00001", json!({"evidence": [{"bundle": "b", "digest": "d", "url": "u"}]})),
        ("/queue-entries/Q-00001", json!({"state": "Cleared", "closure": null})),
        ("/queue-entries/Q-00001", json!([])),
    ] {
        bench.patch(path, &body).await.is_problem(422, "notDocumented");
    }
    let etag = bench.get("/checklists/CHK-00001").await.etag().to_owned();
    let reply = bench.send("PATCH", "/checklists/CHK-00001", &patch_headers(&etag), None).await;
    reply.is_problem(400, "malformed");
    assert!(bench.sandbox().counts().roles.values().all(|role| role.applied == 0));
}

#[tokio::test]
async fn there_is_no_write_to_reviews_and_bundles_and_no_other_method() {
    let bench = Bench::new().await;
    for (method, path, allow) in [
        ("PATCH", "/reviews/RR-load-00001", "GET"),
        ("PUT", "/reviews/RR-load-00001", "GET"),
        ("POST", "/reviews", "GET"),
        ("PATCH", "/bundles/load%2F00001%2Frv1", "GET"),
        ("DELETE", "/bundles/load%2F00001%2Frv1", "GET"),
        ("PUT", "/checklists/CHK-00001", "GET, PATCH"),
        ("DELETE", "/releases/REL-00001", "GET, PATCH"),
        ("POST", "/queue-entries", "GET"),
        ("GET", "/handoffs", "POST"),
        ("PATCH", "/handoffs/k", "GET"),
    ] {
        let reply = bench.send(method, path, &patch_headers("\"1\""), Some(&close())).await;
        reply.is_problem(405, "methodNotAllowed");
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
    }
    assert!(bench.sandbox().counts().roles.values().all(|role| role.applied == 0));
}

#[tokio::test]
async fn other_peoples_fields_and_links_survive() {
    let bench = Bench::new().await;
    let foreign = json!({"bundle": "other", "digest": "sha256:11", "url": "https://a/b", "by": "ann", "closure": null, "rank": 1.5});
    bench.sandbox().edit(Role::Tracker, "REL-00001", &json!({"board": {"colour": "blue"}, "evidence": [foreign]}));
    let path = "/releases/REL-00001";
    bench.patch(path, &json!({"state": "Approved", "closure": marker()})).await;
    let changed = bench.patch(path, &json!({"evidence": [foreign, link()]})).await;
    assert_eq!(changed.status, 200);
    let record = bench.get(path).await.json();
    assert_eq!(record["evidence"], json!([foreign, link()]));
    assert_eq!((&record["board"]["colour"], &record["state"]), (&json!("blue"), &json!("Approved")));
}

#[tokio::test]
async fn links_have_to_be_sent_as_they_were_read() {
    let bench = Bench::new().await;
    let foreign = |by: &str| json!({"bundle": "other", "digest": "sha256:11", "url": "https://a/b", "by": by});
    bench.sandbox().edit(Role::Tracker, "REL-00001", &json!({"evidence": [foreign("ann"), foreign("bob")]}));
    for links in [
        json!([link()]),
        json!([foreign("bob"), foreign("ann"), link()]),
        json!([foreign("ann"), link()]),
        json!([{"bundle": "other", "digest": "sha256:11", "url": "https://a/b"}, foreign("bob"), link()]),
        json!([foreign("ann"), foreign("bob"), link(), link()]),
        json!([foreign("ann"), foreign("bob")]),
    ] {
        bench.patch("/releases/REL-00001", &json!({"evidence": links})).await.is_problem(422, "notDocumented");
    }
    let links = json!([foreign("ann"), foreign("bob"), link()]);
    assert_eq!(bench.patch("/releases/REL-00001", &json!({"evidence": links})).await.status, 200);
}

#[tokio::test]
async fn a_marker_is_merged_as_rfc_7396_has_it() {
    let bench = Bench::new().await;
    bench.sandbox().edit(Role::Queue, "Q-00001", &json!({"closure": {"key": "old", "uid": "old", "note": "kept"}}));
    bench.patch("/queue-entries/Q-00001", &json!({"state": "Cleared", "closure": marker()})).await;
    let closure = bench.field(Role::Queue, "Q-00001", "/closure");
    assert_eq!((&closure["key"], &closure["note"]), (&marker()["key"], &json!("kept")));
    bench.sandbox().edit(Role::Queue, "Q-00001", &json!({"closure": null}));
    assert_eq!(bench.get("/queue-entries/Q-00001").await.json()["closure"], Value::Null);
}

#[tokio::test]
async fn a_token_is_asked_for_where_one_is_set() {
    let seed = releaseclosure::sandbox::generate(1);
    let mut bench = Bench::with(Config { seed, token: Some("secret".into()), ..Config::default() }).await;
    for authorization in [None, Some("Bearer other"), Some("Basic secret"), Some("secret"), Some("Bearer")] {
        bench.authorization = authorization.map(str::to_owned);
        for path in ["/reviews/RR-load-00001", "/deployments"] {
            let reply = bench.get(path).await;
            reply.is_problem(401, "unauthorized");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        }
    }
    bench.authorization = Some("bearer secret".to_owned());
    assert_eq!(bench.get("/reviews/RR-load-00001").await.status, 200);
    let log = json!(bench.log());
    assert_eq!(log[0]["headers"]["authorization"], "absent");
    assert_eq!(log[9]["headers"]["authorization"], "present");
    assert!(!log.to_string().contains("secret"));
}

#[tokio::test]
async fn a_body_may_have_a_mebibyte() {
    let bench = Bench::new().await;
    let etag = bench.get("/checklists/CHK-00001").await.etag().to_owned();
    let mut body = close();
    let empty = {
        body["padding"] = json!("");
        body.to_string().len()
    };
    body["padding"] = json!("x".repeat(1024 * 1024 - empty));
    bench.patch_if("/checklists/CHK-00001", &etag, &body).await.is_problem(422, "notDocumented");
    body["padding"] = json!("x".repeat(1024 * 1024 - empty + 1));
    bench.patch_if("/checklists/CHK-00001", &etag, &body).await.is_problem(413, "bodyTooLarge");
    body["padding"] = json!("x".repeat(5 * 1024 * 1024));
    bench.patch_if("/checklists/CHK-00001", &etag, &body).await.is_problem(413, "bodyTooLarge");
}
