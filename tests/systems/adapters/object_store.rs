//! Evidence in a bucket of a real S3 server, with versions and object lock on.

use super::settings::{product, settings};
use crate::fault_proxy::{Answer, Cut, FaultProxy, Then, When};
use crate::systems::s3::{Held, REGION, ROOT, S3};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use releaseclosure::closure::ids::System;
use releaseclosure::closure::snapshot::{BundleRecord, Observation, Trouble};
use releaseclosure::providers::meter::{Class, Verb};
use releaseclosure::providers::{Settings, connect};
use releaseclosure::roles::{Connected, Probe, Subject};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const BUNDLE: &str = "shop/1.4+rc 1";
const NAME: &str = "shop/1.4+rc=1";

fn sha256(content: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

fn manifest(artifacts: &[(&str, &str, &str)]) -> Value {
    let artifacts = artifacts.iter().map(
        |(name, kind, content)| json!({"name": name, "kind": kind, "digest": sha256(content), "size": content.len()}),
    );
    json!({"bundle": NAME, "release": {"id": "r-1"}, "review": {"version": "3"},
        "artifacts": artifacts.collect::<Vec<_>>(), "url": "https://evidence.example.com/shop/1.4"})
}

/// Stores a bundle of two artifacts, locked, with checksums. Returns the digest of its manifest.
async fn store(bucket: &Held<'_>) -> String {
    let manifest = manifest(&[("sign-off.txt", "sign-off", "signed"), ("sbom/app.json", "sbom", "{}")]).to_string();
    for (name, content) in [("sign-off.txt", "signed"), ("sbom/app.json", "{}"), ("manifest.json", &*manifest)] {
        let sum = STANDARD.encode(Sha256::digest(content));
        let locked = [
            ("x-amz-checksum-sha256", &*sum),
            ("x-amz-object-lock-mode", "COMPLIANCE"),
            ("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z"),
        ];
        let put = bucket.put(&format!("releases/{NAME}/{name}"), &locked, content).await;
        assert_eq!(put.status, 200, "{}", put.text);
    }
    sha256(&manifest)
}

fn at(endpoint: &str, changed: &[(&str, Value)], keys: (&str, &str)) -> Settings {
    let secret = |key: &str| json!({"name": "s3", "key": key});
    let mut s3 = json!({"endpoint": endpoint, "region": REGION, "bucket": "evidence", "prefix": "releases/",
        "pathStyle": true, "accessKeySecretRef": secret("id"), "secretKeySecretRef": secret("secret")});
    for (name, value) in changed {
        s3[name] = value.clone();
    }
    let product = product(json!({"objectStore": {"s3": s3}, "allowedRoles": ["Archive"]}));
    settings(product, &[("accessKey", keys.0), ("secretKey", keys.1)])
}

fn connected(s3: &S3) -> Connected {
    connect(&at(&s3.url(), &[], ROOT)).expect("settings")
}

async fn look(connected: &Connected, bundle: &str) -> Observation<BundleRecord> {
    let subject = Subject { record: Some(bundle), release: "r-1", review_version: "3" };
    connected.archive.as_ref().expect("the role").bundle(subject, None).await
}

fn found(observation: Observation<BundleRecord>) -> BundleRecord {
    match observation {
        Observation::Found(record, _) => record,
        other => panic!("{other:?}"),
    }
}

fn kinds(record: &BundleRecord) -> Vec<&str> {
    record.artifacts.iter().map(|artifact| artifact.kind.as_str()).collect()
}

#[tokio::test]
async fn a_bundles_digest_is_that_of_its_manifests_bytes() {
    let Some(s3) = S3::start().await else { return };
    let bucket = s3.bucket("evidence", true).await;
    let digest = store(&bucket).await;
    let settings = at(&s3.url(), &[("requireObjectLock", true.into())], ROOT);
    let connected = connect(&settings).expect("settings");
    assert_eq!(connected.prober.probe(System::Archive).await, Probe::Ready);
    let Observation::Found(record, revision) = look(&connected, NAME).await else { panic!("it is there") };
    assert_eq!((record.bundle.as_str(), &record.digest), (NAME, &digest));
    assert_eq!((record.release_id.as_str(), record.review_version.as_str()), ("r-1", "3"));
    assert_eq!(kinds(&record), ["sign-off", "sbom"]);
    assert_eq!(record.artifacts[0].digest, Some(sha256("signed")));
    assert!(revision.0.contains('"') && revision.0.len() > 40, "entity tag and version: {revision:?}");
    // The probe's two, the manifest, and one for each artifact.
    assert_eq!(settings.meter.requests(Verb::Head, Class::Success), 2);
    assert_eq!(settings.meter.sent(), 5);

    // A lock keeps the version and not the name: what stands there now has another digest.
    let other = manifest(&[("sign-off.txt", "sign-off", "signed")]).to_string();
    assert_eq!(bucket.put(&format!("releases/{NAME}/manifest.json"), &[], &other).await.status, 200);
    let Observation::Found(record, later) = look(&connected, NAME).await else { panic!("it is there") };
    assert_eq!(record.digest, sha256(&other));
    assert_ne!(record.digest, digest);
    assert_ne!(later, revision);
    assert_eq!(look(&connected, "shop/9.9").await, Observation::Missing);
    assert!(matches!(look(&connected, BUNDLE).await, Observation::Unreachable(_)), "no name of a bundle");
}

#[tokio::test]
async fn an_artifact_that_is_not_the_promised_one_takes_its_kind_away() {
    let Some(s3) = S3::start().await else { return };
    let bucket = s3.bucket("evidence", false).await;
    let connected = connected(&s3);
    let promised = [("a.txt", "sign-off", "signed"), ("b.txt", "sbom", "first"), ("c.txt", "sbom", "second")];
    let text = manifest(&promised).to_string();
    bucket.put(&format!("releases/{NAME}/manifest.json"), &[], &text).await;
    for (name, _, content) in promised {
        bucket.put(&format!("releases/{NAME}/{name}"), &[], content).await;
    }
    assert_eq!(kinds(&found(look(&connected, NAME).await)), ["sign-off", "sbom", "sbom"]);

    // Another size; then the same size with another checksum; then nothing at all.
    let c = format!("releases/{NAME}/c.txt");
    bucket.put(&c, &[], "longer than it was").await;
    assert_eq!(kinds(&found(look(&connected, NAME).await)), ["sign-off"]);
    let sum = STANDARD.encode(Sha256::digest("SECOND"));
    bucket.put(&c, &[("x-amz-checksum-sha256", &sum)], "SECOND").await;
    assert_eq!(kinds(&found(look(&connected, NAME).await)), ["sign-off"]);
    assert_eq!(bucket.delete(&c, &[]).await.status, 204);
    assert_eq!(kinds(&found(look(&connected, NAME).await)), ["sign-off"]);
    bucket.put(&c, &[], "second").await;
    assert_eq!(kinds(&found(look(&connected, NAME).await)), ["sign-off", "sbom", "sbom"]);
}

#[tokio::test]
async fn a_wrong_setting_is_named_with_what_would_be_right() {
    let Some(s3) = S3::start().await else { return };
    s3.bucket("evidence", false).await;
    let url = s3.url();
    let probe = async |changed: &[(&str, Value)], keys| {
        connect(&at(&url, changed, keys)).expect("settings").prober.probe(System::Archive).await
    };
    assert_eq!(probe(&[], ROOT).await, Probe::Ready);
    let told = probe(&[("region", "eu-central-1".into())], ROOT).await;
    let Probe::Told { setting, right, .. } = told else { panic!("{told:?}") };
    assert_eq!((setting, right.as_str()), ("objectStore.s3.region", REGION));
    for (changed, keys, wrong) in [
        (vec![("bucket", json!("elsewhere"))], ROOT, "objectStore.s3.bucket"),
        (vec![], ("nobody", ROOT.1), "objectStore.s3.accessKeySecretRef"),
        (vec![], (ROOT.0, "wrong"), "objectStore.s3.secretKeySecretRef"),
        (vec![("requireObjectLock", json!(true))], ROOT, "objectStore.s3.requireObjectLock"),
    ] {
        let found = probe(&changed, keys).await;
        assert!(matches!(&found, Probe::Unfit { setting, .. } if *setting == wrong), "{wrong}: {found:?}");
    }
    s3.person("reader", "reader-secret").await;
    let found = probe(&[], ("reader", "reader-secret")).await;
    let expected = "objectStore.s3.accessKeySecretRef";
    assert!(matches!(&found, Probe::Unfit { setting, .. } if *setting == expected), "{found:?}");
}

#[tokio::test]
async fn the_policy_of_the_documentation_is_enough() {
    let Some(s3) = S3::start().await else { return };
    let bucket = s3.bucket("evidence", true).await;
    let digest = store(&bucket).await;
    s3.person("reader", "reader-secret").await;
    let mut policy: Value = serde_json::from_str(include_str!("../../../docs/adapters/s3-policy.json")).expect("JSON");
    let statements = policy["Statement"].as_array_mut().expect("a list");
    for statement in statements.iter_mut() {
        statement["Principal"] = json!({"AWS": ["reader"]});
    }
    let set = bucket.put_below("", &[("policy", "")], &[], &policy.to_string()).await;
    assert!(matches!(set.status, 200 | 204), "{}", set.text);
    let reader = ("reader", "reader-secret");
    let connected = connect(&at(&s3.url(), &[("requireObjectLock", true.into())], reader)).expect("settings");
    assert_eq!(connected.prober.probe(System::Archive).await, Probe::Ready);
    assert_eq!(found(look(&connected, NAME).await).digest, digest);
    assert_eq!(s3.held("evidence", reader).put("releases/x", &[], "x").await.status, 403, "and for nothing else");
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_is_no_answer() {
    let Some(s3) = S3::start().await else { return };
    store(&s3.bucket("evidence", true).await).await;
    let trouble = |trouble: Trouble| Observation::<BundleRecord>::Unreachable(trouble.into());
    let page = |status| Answer::status(status).header("content-type", "text/html").body("<html>no</html>");
    for (method, fault, expected) in [
        ("GET", Then::DropAfter(Cut::Close), Trouble::Unavailable),
        ("GET", Then::Answer(page(404)), Trouble::NotUnderstood),
        ("GET", Then::Answer(page(200)), Trouble::NotUnderstood),
        ("GET", Then::Answer(page(500)), Trouble::Unavailable),
        ("GET", Then::Answer(page(301)), Trouble::NotUnderstood),
        ("HEAD", Then::DropAfter(Cut::Reset), Trouble::Unavailable),
        ("HEAD", Then::Answer(Answer::status(503)), Trouble::Unavailable),
        ("HEAD", Then::Answer(Answer::status(403)), Trouble::Forbidden),
        // Somebody on the way says that an artifact is not there, and the store that it is.
        ("HEAD", Then::Answer(Answer::status(404)), Trouble::NotUnderstood),
    ] {
        let proxy = FaultProxy::before(&s3.url()).await;
        let name = format!("{method} {fault:?}");
        proxy.on(When::method(method).nth(1), fault);
        let connected = connect(&at(&proxy.url(), &[], ROOT)).expect("settings");
        assert_eq!(look(&connected, NAME).await, trouble(expected), "{name}");
    }
}

#[tokio::test]
async fn nothing_but_reads_below_the_bucket_is_sent_and_no_secret_is_told() {
    let Some(s3) = S3::start().await else { return };
    store(&s3.bucket("evidence", true).await).await;
    let proxy = FaultProxy::before(&s3.url()).await;
    let settings = at(&proxy.url(), &[("requireObjectLock", true.into())], ROOT);
    let connected = connect(&settings).expect("settings");
    assert!(connected.governance.is_none() && connected.queue.is_none() && connected.intake.is_none());
    assert_eq!(connected.prober.probe(System::Archive).await, Probe::Ready);
    found(look(&connected, NAME).await);
    for seen in proxy.log() {
        let path = seen.asked.path.split('?').next().expect("a path").to_owned();
        let below = path.starts_with("/evidence/releases/") || path == "/evidence/";
        assert!(below && matches!(seen.asked.method.as_str(), "GET" | "HEAD"), "{} {path}", seen.asked.method);
        assert!(seen.asked.path.contains("X-Amz-Signature=") && !seen.asked.path.contains(ROOT.1));
    }
    assert!(!format!("{settings:?}").contains(ROOT.1) && !format!("{settings:?}").contains(ROOT.0));
}
