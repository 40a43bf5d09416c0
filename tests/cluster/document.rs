//! What the operator's adapter sends, held against the document: every request of a whole closure is one of the contract's.

use crate::stage::Stage;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

#[path = "../contract/openapi.rs"]
#[allow(dead_code, reason = "a toolbox")]
mod openapi;

#[tokio::test]
async fn every_request_of_a_closure_is_what_the_document_says() {
    let stage = Stage::new("document").await;
    let contract = openapi::Contract::load();
    let mut closure = stage.closure(1);
    closure["spec"].as_object_mut().unwrap().remove("records");
    let name = stage.create(&closure).await;
    stage.closed(&name).await;
    let requests = stage.sandbox().requests(0);
    assert!(requests.len() >= 18);
    for entry in requests {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer token"));
        let sent = [
            ("if-match", &entry.headers.if_match),
            ("idempotency-key", &entry.headers.idempotency_key),
            ("content-type", &entry.headers.content_type),
        ];
        for (name, value) in sent {
            if let Some(value) = value {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
            }
        }
        assert!(entry.headers.authorization, "{} {} is not authorised", entry.method, entry.path);
        let path = entry.raw_path.trim_start_matches(releaseclosure::sandbox::PREFIX);
        let path = entry.query.as_ref().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let judged = contract.request(&entry.method, &path, &headers, &entry.body);
        assert!(judged.is_ok(), "{} {path}: {judged:?}", entry.method);
    }
}
