//! Registries: a manifest is its digest; referrers where there are some; tags that move, or do not.

use crate::systems::oci::{Kind, MANIFEST, Oci, READER, digest};
use serde_json::{Value, json};

const REVIEW: &str = "application/vnd.example.review";

/// Pushes a bundle and a report that refers to it; gives the bundle's digest and the reply to the report.
async fn push(oci: &Oci) -> (String, crate::systems::http::Reply) {
    let bundle = oci.artifact("shop/evidence", "application/vnd.example.bundle", b"bundle", None).await;
    let stored = oci.put_manifest("shop/evidence", "1.4", &bundle).await;
    assert_eq!((stored.status, stored.header("docker-content-digest")), (201, Some(&*digest(bundle.as_bytes()))));
    let subject = json!({"mediaType": MANIFEST, "digest": digest(bundle.as_bytes()), "size": bundle.len()});
    let report = oci.artifact("shop/evidence", REVIEW, b"report", Some(&subject)).await;
    let reply = oci.put_manifest("shop/evidence", &digest(report.as_bytes()), &report).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    (digest(bundle.as_bytes()), reply)
}

/// The digest that a tag stands for.
async fn tagged(oci: &Oci) -> Option<String> {
    let client = oci.client.with("accept", MANIFEST);
    let reply = client.send("HEAD", "/v2/shop/evidence/manifests/1.4", "").await;
    assert_eq!(reply.status, 200);
    reply.header("docker-content-digest").map(str::to_owned)
}

#[tokio::test]
async fn a_conforming_registry_lists_referrers() {
    let Some(oci) = Oci::start(Kind::Conforming).await else { return };
    let (bundle, reply) = push(&oci).await;
    assert_eq!(reply.header("oci-subject"), Some(&*bundle));
    let path = format!("/v2/shop/evidence/referrers/{bundle}");
    let listed = oci.client.get(&path).await.expect(200);
    assert_eq!(listed["manifests"][0]["artifactType"], REVIEW, "{listed}");
    let filtered = oci.client.get(&format!("{path}?artifactType=application/vnd.other")).await;
    assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
    assert_eq!(filtered.json()["manifests"].as_array().map(Vec::len).unwrap_or_default(), 0);
    assert_eq!(tagged(&oci).await, Some(bundle));
    oci.server.tell();
}

#[tokio::test]
async fn a_wrong_digest_is_refused_and_a_tag_moves() {
    let Some(oci) = Oci::start(Kind::Conforming).await else { return };
    let (bundle, _) = push(&oci).await;
    let other = oci.artifact("shop/evidence", "application/vnd.example.bundle", b"other", None).await;
    assert_eq!(oci.put_manifest("shop/evidence", &bundle, &other).await.status, 400);
    assert_eq!(oci.put_manifest("shop/evidence", "1.4", &other).await.status, 201);
    assert_eq!(tagged(&oci).await, Some(digest(other.as_bytes())), "a tag is no evidence");
}

#[tokio::test]
async fn an_immutable_tag_is_written_once() {
    let Some(oci) = Oci::start(Kind::Immutable).await else { return };
    let (bundle, _) = push(&oci).await;
    let other = oci.artifact("shop/evidence", "application/vnd.example.bundle", b"other", None).await;
    assert_eq!(oci.put_manifest("shop/evidence", "1.4", &other).await.status, 403);
    assert_eq!(tagged(&oci).await, Some(bundle));
}

#[tokio::test]
async fn a_sloppy_registry_filters_nothing_and_takes_any_digest() {
    let Some(oci) = Oci::start(Kind::Sloppy).await else { return };
    let (bundle, reply) = push(&oci).await;
    assert_eq!(reply.header("oci-subject"), None);
    let filtered = oci.client.get(&format!("/v2/shop/evidence/referrers/{bundle}?artifactType=other")).await;
    assert_eq!(filtered.header("oci-filters-applied"), None);
    assert_eq!(filtered.json()["manifests"].as_array().map(Vec::len), Some(1));
    let other = oci.artifact("shop/evidence", "application/vnd.example.bundle", b"other", None).await;
    assert_eq!(oci.put_manifest("shop/evidence", &bundle, &other).await.status, 201);
}

#[tokio::test]
async fn distribution_has_no_referrers() {
    let Some(oci) = Oci::start(Kind::WithoutReferrers).await else { return };
    let (bundle, reply) = push(&oci).await;
    assert_eq!(reply.header("oci-subject"), None);
    assert_eq!(oci.client.get(&format!("/v2/shop/evidence/referrers/{bundle}")).await.status, 404);
    let bare = oci.client.send("HEAD", "/v2/shop/evidence/manifests/1.4", "").await;
    assert_eq!(bare.status, 404, "without Accept, an OCI manifest is not there");
    assert_eq!(tagged(&oci).await, Some(bundle));
    let missing = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": "x/y", "digest": digest(b"?"), "size": 1}, "layers": []});
    let refused = oci.put_manifest("shop/evidence", "bad", &missing.to_string()).await;
    assert_eq!((refused.status, code(&refused.json())), (400, json!("MANIFEST_BLOB_UNKNOWN")));
    oci.server.tell();
}

#[tokio::test]
async fn a_guarded_registry_asks_who_it_is() {
    let Some(oci) = Oci::guarded(Kind::Conforming).await else { return };
    push(&oci).await;
    let path = "/v2/shop/evidence/manifests/1.4";
    assert_eq!(oci.client.with("authorization", "Basic bm9ib2R5").get(path).await.status, 401);
    let reader = oci.client.with("authorization", READER);
    assert_eq!(reader.with("accept", MANIFEST).get(path).await.status, 200);
    let refused = reader.send("DELETE", path, "").await;
    assert_eq!((refused.status, code(&refused.json())), (403, json!("DENIED")));
}

fn code(reply: &Value) -> Value {
    reply["errors"][0]["code"].clone()
}
