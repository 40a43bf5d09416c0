//! Evidence in registries of different characters: with referrers, with a sloppy list of them, and without.

use super::settings::{product, settings};
use crate::fault_proxy::{Answer, Cut, FaultProxy, Then, When};
use crate::systems::oci::{EMPTY, INDEX, Kind, MANIFEST, Oci, digest};
use crate::systems::oci_guard::{Guard, How};
use releaseclosure::closure::ids::System;
use releaseclosure::closure::snapshot::{BundleRecord, Observation, Trouble};
use releaseclosure::providers::{Settings, connect};
use releaseclosure::roles::{Connected, Probe, Subject};
use serde_json::{Value, json};

pub const BUNDLE: &str = "shop/1.4/rv3";
pub const REPOSITORY: &str = "teams/shop/evidence";
const TAG: &str = "shop-1.4-rv3";
const SIGN_OFF: &str = "application/vnd.example.sign-off";
const SBOM: &str = "application/spdx+json";

pub fn at(endpoint: &str, more: Value, secrets: &[(&'static str, &str)]) -> Settings {
    let mut oci = json!({"endpoint": endpoint, "repository": REPOSITORY});
    oci.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    settings(product(json!({ "oci": oci })), secrets)
}

fn connected(endpoint: &str, more: Value) -> Connected {
    connect(&at(endpoint, more, &[])).expect("settings")
}

pub async fn look(connected: &Connected) -> Observation<BundleRecord> {
    let subject = Subject { record: Some(BUNDLE), release: "r-1", review_version: "3" };
    connected.archive.as_ref().expect("the role").bundle(subject, None).await
}

fn kinds(observation: &Observation<BundleRecord>) -> Vec<&str> {
    let Observation::Found(record, _) = observation else { panic!("{observation:?}") };
    record.artifacts.iter().map(|artifact| artifact.kind.as_str()).collect()
}

fn trouble(trouble: Trouble) -> Observation<BundleRecord> {
    Observation::Unreachable(trouble.into())
}

fn layer(kind: &str, content: &str) -> Value {
    json!({"mediaType": "text/plain", "digest": digest(content.as_bytes()), "size": content.len(),
        "annotations": {"io.releaseclosure.kind": kind}})
}

fn artifact(layers: &[Value], more: &Value) -> String {
    let config = json!({"mediaType": EMPTY, "digest": digest(b"{}"), "size": 2});
    let mut manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
    manifest.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    manifest.to_string()
}

fn says() -> Value {
    json!({"io.releaseclosure.bundle": BUNDLE, "io.releaseclosure.release": "r-1",
        "io.releaseclosure.review-version": "3", "org.opencontainers.image.url": "https://evidence.example.com/shop"})
}

/// Stores a bundle with two layers, and gives its manifest.
pub async fn store(oci: &Oci) -> String {
    for content in ["{}", "notes", "packet"] {
        oci.blob(REPOSITORY, content.as_bytes()).await;
    }
    let layers = [layer("rollback-notes", "notes"), layer("review-packet", "packet")];
    let manifest = artifact(&layers, &json!({"annotations": says()}));
    assert_eq!(oci.put_manifest(REPOSITORY, TAG, &manifest).await.status, 201);
    manifest
}

/// Stores something of this type that refers to a manifest, and gives what a list says of it.
async fn refer(oci: &Oci, to: &str, artifact_type: &str, content: &str) -> Value {
    oci.blob(REPOSITORY, content.as_bytes()).await;
    let subject = json!({"mediaType": MANIFEST, "digest": digest(to.as_bytes()), "size": to.len()});
    let manifest = artifact(&[layer("x", content)], &json!({"artifactType": artifact_type, "subject": subject}));
    let own = digest(manifest.as_bytes());
    assert_eq!(oci.put_manifest(REPOSITORY, &own, &manifest).await.status, 201);
    json!({"mediaType": MANIFEST, "digest": own, "size": manifest.len(), "artifactType": artifact_type})
}

/// Stores the tag that lists what refers to a manifest.
async fn list(oci: &Oci, of: &str, listed: &[Value]) {
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed});
    let tag = digest(of.as_bytes()).replace(':', "-");
    assert_eq!(oci.put(REPOSITORY, &tag, INDEX, &index.to_string()).await.status, 201);
}

fn referrers() -> Value {
    json!({"parts": ["Referrers"], "kinds": [{"type": SIGN_OFF, "kind": "sign-off"}, {"type": SBOM, "kind": "sbom"}]})
}

#[tokio::test]
async fn a_bundles_digest_is_that_of_its_manifests_bytes() {
    for kind in [Kind::Conforming, Kind::Immutable, Kind::Sloppy, Kind::WithoutReferrers] {
        let Some(oci) = Oci::start(kind).await else { return };
        let manifest = store(&oci).await;
        let settings = at(&oci.server.url(0), json!({}), &[]);
        let connected = connect(&settings).expect("settings");
        assert_eq!(connected.prober.probe(System::Archive).await, Probe::Ready, "{kind:?}");
        let seen = look(&connected).await;
        assert_eq!(kinds(&seen), ["rollback-notes", "review-packet"], "{kind:?}");
        let Observation::Found(record, revision) = seen else { panic!("{kind:?}") };
        assert_eq!((record.digest.as_str(), &record.digest), (&*digest(manifest.as_bytes()), &revision.0));
        assert_eq!((record.release_id.as_str(), record.review_version.as_str()), ("r-1", "3"));
        assert_eq!((record.bundle.as_str(), record.url.as_str()), (BUNDLE, "https://evidence.example.com/shop"));
        assert_eq!(record.artifacts[0].digest, Some(digest(b"notes")));
        // The probe's two, the manifest, and one for each layer.
        assert_eq!(settings.meter.sent(), 5, "{kind:?}");

        // A tag that can be moved stands for another digest then.
        let other = artifact(&[layer("rollback-notes", "notes")], &json!({"annotations": says()}));
        let moved = oci.put_manifest(REPOSITORY, TAG, &other).await.status;
        let Observation::Found(record, _) = look(&connected).await else { panic!("{kind:?}") };
        match kind {
            Kind::Immutable => assert_eq!((moved, record.digest), (403, digest(manifest.as_bytes()))),
            _ => assert_eq!((moved, record.digest), (201, digest(other.as_bytes()))),
        }
    }
}

#[tokio::test]
async fn a_part_whose_content_is_gone_takes_its_kind_away() {
    for kind in [Kind::Conforming, Kind::WithoutReferrers] {
        let Some(oci) = Oci::start(kind).await else { return };
        store(&oci).await;
        let connected = connected(&oci.server.url(0), json!({}));
        let path = format!("/v2/{REPOSITORY}/blobs/{}", digest(b"notes"));
        assert_eq!(oci.client.send("DELETE", &path, "").await.status, 202, "{kind:?}");
        assert_eq!(kinds(&look(&connected).await), ["review-packet"], "{kind:?}");
    }
}

/// Each registry lists them in its own way: with their types, with wrong ones, or in a tag.
#[tokio::test]
async fn what_refers_to_a_bundle_is_its_part_where_its_type_is_one() {
    for kind in [Kind::Conforming, Kind::Sloppy, Kind::WithoutReferrers] {
        let Some(oci) = Oci::start(kind).await else { return };
        let bundle = store(&oci).await;
        let url = oci.server.url(0);
        let all = connected(&url, referrers());
        assert_eq!(kinds(&look(&all).await), [""; 0], "{kind:?}: nothing refers to it yet");
        let signed = refer(&oci, &bundle, SIGN_OFF, "signed").await;
        let sbom = refer(&oci, &bundle, SBOM, "{\"packages\":[]}").await;
        let scan = refer(&oci, &bundle, "application/vnd.example.scan", "clean").await;
        // What refers to something else is no part, whoever lists it.
        let other = artifact(&[], &json!({"annotations": says()}));
        oci.put_manifest(REPOSITORY, "other", &other).await;
        let elsewhere = refer(&oci, &other, SIGN_OFF, "signed, too").await;
        if kind == Kind::WithoutReferrers {
            list(&oci, &bundle, &[elsewhere.clone(), signed.clone(), sbom.clone(), scan]).await;
        }
        let seen = look(&all).await;
        let mut found = kinds(&seen);
        found.sort_unstable();
        assert_eq!(found, ["sbom", "sign-off"], "{kind:?}");
        // One type alone is asked for, and looked at whether or not the registry takes the hint.
        let one = json!({"parts": ["Referrers"], "kinds": [{"type": SIGN_OFF, "kind": "sign-off"}]});
        let seen = look(&connected(&url, one)).await;
        assert_eq!(kinds(&seen), ["sign-off"], "{kind:?}");
        let Observation::Found(record, _) = seen else { panic!("{kind:?}") };
        assert_eq!(record.artifacts[0].digest.as_deref(), signed["digest"].as_str());
        // A layer is of no such type.
        let both = json!({"parts": ["Layers", "Referrers"], "kinds": [{"type": "text/plain", "kind": "notes"}]});
        assert_eq!(kinds(&look(&connected(&url, both)).await), ["notes", "notes"], "{kind:?}");

        // Its manifest goes, then the content of the other one.
        let path = format!("/v2/{REPOSITORY}/manifests/{}", signed["digest"].as_str().expect("a digest"));
        assert_eq!(oci.client.send("DELETE", &path, "").await.status, 202, "{kind:?}");
        assert_eq!(kinds(&look(&all).await), ["sbom"], "{kind:?}");
        if kind != Kind::Sloppy {
            let path = format!("/v2/{REPOSITORY}/blobs/{}", digest(b"{\"packages\":[]}"));
            assert_eq!(oci.client.send("DELETE", &path, "").await.status, 202, "{kind:?}");
            assert_eq!(kinds(&look(&all).await), [""; 0], "{kind:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_manifest_is_no_answer() {
    let Some(oci) = Oci::start(Kind::Sloppy).await else { return };
    let bundle = store(&oci).await;
    let connected = connected(&oci.server.url(0), json!({}));
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": says()}).to_string();
    let mut large = says();
    large["filler"] = "x".repeat(1 << 20).into();
    let unnamed = artifact(&[], &json!({"annotations": {"io.releaseclosure.bundle": BUNDLE}}));
    for (what, media_type, body) in [
        ("an index", INDEX, index.as_str()),
        ("Docker's own", docker, &bundle),
        ("no JSON", MANIFEST, "<html>"),
        ("a list", MANIFEST, "[]"),
        ("more than one MiB", MANIFEST, &artifact(&[], &json!({"annotations": large}))),
        ("without a release", MANIFEST, &unnamed),
    ] {
        assert_eq!(oci.put(REPOSITORY, TAG, media_type, body).await.status, 201, "{what}");
        assert_eq!(look(&connected).await, trouble(Trouble::NotUnderstood), "{what}");
    }
    assert_eq!(oci.put_manifest(REPOSITORY, TAG, &bundle).await.status, 201);
    assert_eq!(kinds(&look(&connected).await).len(), 2);
    // distribution tells an index from a manifest by what it is asked for: it is not taken for one that is missing.
    let Some(oci) = Oci::start(Kind::WithoutReferrers).await else { return };
    assert_eq!(oci.put(REPOSITORY, TAG, INDEX, &index).await.status, 201);
    let connected = connect(&at(&oci.server.url(0), json!({}), &[])).expect("settings");
    assert_eq!(look(&connected).await, trouble(Trouble::NotUnderstood));
}

#[tokio::test]
async fn what_was_changed_on_the_way_is_no_answer() {
    let Some(oci) = Oci::start(Kind::Conforming).await else { return };
    let bundle = store(&oci).await;
    refer(&oci, &bundle, SIGN_OFF, "signed").await;
    for path in ["/manifests/shop", "/manifests/sha256"] {
        let proxy = FaultProxy::before(&oci.server.url(0)).await;
        // A space is all that differs.
        proxy.on(When::method("GET").path(path), Then::change(|body| body.replacen('{', "{ ", 1)));
        let seen = look(&connected(&proxy.url(), referrers())).await;
        assert_eq!(seen, trouble(Trouble::NotUnderstood), "{path}");
    }
    // The referrer's bytes are held against the digest that they were asked for by, whatever their own header says.
    let proxy = FaultProxy::before(&oci.server.url(0)).await;
    let other = artifact(
        &[],
        &json!({"artifactType": SIGN_OFF,
        "subject": {"mediaType": MANIFEST, "digest": digest(bundle.as_bytes()), "size": bundle.len()}}),
    );
    let answer = Answer::status(200).header("content-type", MANIFEST).body(other);
    proxy.on(When::method("GET").path("/manifests/sha256"), Then::Answer(answer));
    assert_eq!(look(&connected(&proxy.url(), referrers())).await, trouble(Trouble::NotUnderstood));
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_is_no_answer() {
    let Some(oci) = Oci::start(Kind::Conforming).await else { return };
    let bundle = store(&oci).await;
    refer(&oci, &bundle, SIGN_OFF, "signed").await;
    let page = |status| Answer::status(status).header("content-type", "text/html").body("<html>no</html>");
    let own = |status, code: &str| Answer::status(status).body(json!({"errors": [{"code": code}]}).to_string());
    for (method, path, fault, expected) in [
        ("GET", "manifests", Then::DropAfter(Cut::Close), Trouble::Unavailable),
        ("GET", "manifests", Then::Answer(page(404)), Trouble::NotUnderstood),
        ("GET", "manifests", Then::Answer(page(200)), Trouble::NotUnderstood),
        ("GET", "manifests", Then::Answer(page(500)), Trouble::Unavailable),
        ("GET", "manifests", Then::Answer(page(301)), Trouble::NotUnderstood),
        ("GET", "manifests", Then::Answer(own(404, "NAME_UNKNOWN")), Trouble::NotUnderstood),
        ("GET", "manifests", Then::Answer(own(403, "DENIED")), Trouble::Forbidden),
        ("GET", "manifests", Then::Answer(own(429, "TOOMANYREQUESTS")), Trouble::TooManyRequests),
        ("GET", "referrers", Then::Answer(page(200)), Trouble::NotUnderstood),
        ("GET", "referrers", Then::Garbage, Trouble::NotUnderstood),
        ("GET", "referrers", Then::Answer(own(500, "UNKNOWN")), Trouble::Unavailable),
        ("HEAD", "blobs", Then::DropAfter(Cut::Reset), Trouble::Unavailable),
        ("HEAD", "blobs", Then::Answer(Answer::status(403)), Trouble::Forbidden),
        ("HEAD", "blobs", Then::Answer(page(200)), Trouble::NotUnderstood),
        // Somebody on the way says that a content is not there, and the registry that it is.
        ("HEAD", "blobs", Then::Answer(Answer::status(404)), Trouble::NotUnderstood),
        ("HEAD", "blobs", Then::Answer(Answer::redirect(307, "http://store.example.com/x")), Trouble::NotUnderstood),
        ("HEAD", "blobs", Then::Answer(Answer::redirect(302, "https://login.example.com/x")), Trouble::NotUnderstood),
    ] {
        let proxy = FaultProxy::before(&oci.server.url(0)).await;
        let name = format!("{method} {path} {fault:?}");
        proxy.on(When::method(method).path(path).nth(1), fault);
        let connected = connected(&proxy.url(), referrers());
        assert_eq!(look(&connected).await, trouble(expected), "{name}");
    }
    // One 404 for the list is nobody's word; a registry that sends to its store has what it was asked for.
    let proxy = FaultProxy::before(&oci.server.url(0)).await;
    proxy.on(When::method("GET").path("referrers").nth(1), Then::Answer(page(404)));
    let store = Answer::redirect(307, "https://store.example.com/x");
    proxy.on(When::method("HEAD").path("blobs"), Then::Answer(store));
    assert_eq!(kinds(&look(&connected(&proxy.url(), referrers())).await), ["sign-off"]);
}

#[tokio::test]
async fn a_list_is_read_to_its_end_where_it_has_one() {
    let Some(oci) = Oci::start(Kind::Conforming).await else { return };
    let bundle = store(&oci).await;
    for number in 0..5 {
        refer(&oci, &bundle, SBOM, &format!("{{\"number\":{number}}}")).await;
    }
    let guard = Guard::before(&oci.server.url(0), How::Basic).await;
    guard.admit("reader", "let-me-in");
    let (user, all) = (
        [("username", "reader"), ("password", "let-me-in")],
        json!({"usernameSecretRef":
        {"name": "a", "key": "a"}, "passwordSecretRef": {"name": "a", "key": "b"}}),
    );
    let mut more = referrers();
    more.as_object_mut().expect("an object").extend(all.as_object().expect("an object").clone());
    let connected = connect(&at(&guard.url(), more.clone(), &user)).expect("settings");
    assert_eq!(kinds(&look(&connected).await).len(), 5);
    guard.page_by(2);
    assert_eq!(kinds(&look(&connected).await).len(), 5);

    // One that has no end, and one that goes on somewhere else.
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).to_string();
    for next in
        [format!("/v2/{REPOSITORY}/referrers/{}?again", digest(bundle.as_bytes())), "/v2/x/tags/list?n=1".to_owned()]
    {
        let proxy = FaultProxy::before(&guard.url()).await;
        let answer = Answer::status(200).header("content-type", INDEX).body(&*index);
        let answer = answer.header("link", &format!("<{next}>; rel=\"next\""));
        proxy.on(When::method("GET").path("referrers"), Then::Answer(answer));
        let connected = connect(&at(&proxy.url(), more.clone(), &user)).expect("settings");
        assert_eq!(look(&connected).await, trouble(Trouble::NotUnderstood), "{next}");
        assert!(proxy.log().len() <= 9, "{}", proxy.log().len());
    }
}

#[tokio::test]
async fn nothing_but_reads_of_the_repository_is_sent() {
    let Some(oci) = Oci::start(Kind::WithoutReferrers).await else { return };
    let bundle = store(&oci).await;
    let signed = refer(&oci, &bundle, SIGN_OFF, "signed").await;
    list(&oci, &bundle, &[signed]).await;
    let proxy = FaultProxy::before(&oci.server.url(0)).await;
    let connected = connected(&proxy.url(), referrers());
    assert!(connected.governance.is_none() && connected.queue.is_none() && connected.intake.is_none());
    assert_eq!(connected.prober.probe(System::Archive).await, Probe::Ready);
    assert_eq!(kinds(&look(&connected).await), ["sign-off"]);
    for seen in proxy.log() {
        let below = seen.asked.path.starts_with(&format!("/v2/{REPOSITORY}/"));
        assert!(below && matches!(&*seen.asked.method, "GET" | "HEAD"), "{seen:?}");
        assert!(seen.asked.headers.get("authorization").is_none(), "{seen:?}");
    }
}
