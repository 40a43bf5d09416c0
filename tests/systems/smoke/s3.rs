//! S3: an object is written once where that is asked for, a version is locked, its checksum is told.

use crate::systems::s3::{ROOT, S3};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const KEY: &str = "shop/1.4/bundle.json";
const CONTENT: &str = "{\"evidence\": true}";
/// Far enough ahead, however long this test is kept.
const UNTIL: &str = "2099-01-01T00:00:00Z";

fn checksum(content: &str) -> String {
    STANDARD.encode(Sha256::digest(content))
}

#[tokio::test]
async fn a_locked_object_has_a_version_and_a_checksum() {
    let Some(s3) = S3::start().await else { return };
    let bucket = s3.bucket("evidence", true).await;
    let sum = checksum(CONTENT);
    let locked = [
        ("x-amz-checksum-sha256", &*sum),
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-object-lock-retain-until-date", UNTIL),
    ];
    let put = bucket.put(KEY, &locked, CONTENT).await;
    assert_eq!(put.status, 200, "{}", put.text);
    let version = put.header("x-amz-version-id").expect("a version").to_owned();
    let of_version = [("versionId", &*version)];

    let head = bucket.head(KEY, &of_version, &[("x-amz-checksum-mode", "ENABLED")]).await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("x-amz-checksum-sha256"), Some(&*sum));
    assert_eq!(head.header("x-amz-object-lock-mode"), Some("COMPLIANCE"));
    assert!(head.header("x-amz-object-lock-retain-until-date").is_some_and(|until| until.starts_with("2099-01-01")));

    assert_eq!(bucket.delete(KEY, &of_version).await.status, 403, "a locked version stays");
    let again = bucket.put(KEY, &[], "other").await;
    assert_eq!(again.status, 200, "the lock protects the version, not the key");
    assert_ne!(again.header("x-amz-version-id"), Some(&*version));
    assert_eq!(bucket.get(KEY, &of_version, &[]).await.text, CONTENT);
    s3.server.tell();
}

#[tokio::test]
async fn an_object_is_written_once_if_that_is_asked_for() {
    let Some(s3) = S3::start().await else { return };
    let bucket = s3.bucket("evidence", false).await;
    let once = [("if-none-match", "*")];
    let first = bucket.put(KEY, &once, CONTENT).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let etag = first.header("etag").expect("an entity tag").to_owned();
    assert_eq!(bucket.put(KEY, &once, "other").await.status, 412);
    assert_eq!(bucket.put(KEY, &[("if-match", "\"bogus\"")], "other").await.status, 412);
    assert_eq!(bucket.get(KEY, &[], &[]).await.text, CONTENT);
    assert_eq!(bucket.put(KEY, &[("if-match", &etag)], "other").await.status, 200);
}

#[tokio::test]
async fn a_wrong_checksum_a_wrong_secret_and_a_stranger_are_refused() {
    let Some(s3) = S3::start().await else { return };
    let bucket = s3.bucket("evidence", false).await;
    let wrong = checksum("something else");
    let refused = bucket.put(KEY, &[("x-amz-checksum-sha256", &wrong)], CONTENT).await;
    assert_eq!((refused.status, refused.text.contains("BadDigest")), (400, true), "{}", refused.text);
    assert_eq!(bucket.head(KEY, &[], &[]).await.status, 404);
    bucket.put(KEY, &[], CONTENT).await;

    let forged = s3.held("evidence", (ROOT.0, "wrong")).get(KEY, &[], &[]).await;
    assert_eq!((forged.status, forged.text.contains("SignatureDoesNotMatch")), (403, true), "{}", forged.text);
    s3.person("reader", "reader-secret").await;
    let reader = s3.held("evidence", ("reader", "reader-secret"));
    assert_eq!(reader.get(KEY, &[], &[]).await.status, 403);
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": ["reader"]},
        "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::evidence/*"]}]});
    let set = bucket.put_below("", &[("policy", "")], &[], &policy.to_string()).await;
    assert!(matches!(set.status, 200 | 204), "{}", set.text);
    assert_eq!(reader.get(KEY, &[], &[]).await.text, CONTENT);
    assert_eq!(reader.put(KEY, &[], "other").await.status, 403);
    assert_eq!(reader.delete(KEY, &[]).await.status, 403);
    assert_eq!(s3.held("elsewhere", ROOT).get(KEY, &[], &[]).await.status, 404);
}
