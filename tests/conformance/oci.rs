//! Evidence in an OCI registry: a repository for each cell, and somebody who may read it. The review's packet is a layer of the bundle,
//! the sign-off refers to it.

use crate::conformance::front::Front;
use crate::conformance::subject::{Adapter, Deed, Made, Part, Place, Release, Server, Truth};
use crate::fault_proxy::Answer;
use crate::systems::oci::{EMPTY, INDEX, Kind, MANIFEST, Oci, PASSWORD, digest};
use crate::systems::oci_guard::{Guard, How};
use async_trait::async_trait;
use releaseclosure::closure::ids::System;
use releaseclosure::providers::oci::allow_list;
use releaseclosure::providers::{Product, Secrets};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// What the sign-off says.
const SIGNED: &str = "signed — Kim\n";
/// What the packet says.
const PACKET: &str = "what was reviewed\n";

/// The adapter, before a registry with referrers.
pub struct Registries;

#[async_trait(?Send)]
impl Adapter for Registries {
    fn product(&self) -> &'static str {
        "oci"
    }
    fn against(&self) -> &'static str {
        "ociregistry in memory, with referrers; a guard before it knows users and lists referrers in pages of two"
    }
    fn systems(&self) -> &'static [System] {
        &[System::Archive]
    }
    fn sends(&self) -> Vec<String> {
        allow_list().iter().map(|row| row.to_string()).collect()
    }
    async fn start(&self) -> Option<Box<dyn Server>> {
        let oci = Oci::start(Kind::Conforming).await?;
        let guard = Guard::before(&oci.server.url(0), How::Basic).await;
        guard.page_by(2);
        Some(Box::new(Running(Arc::new(Registry { oci, guard: Some(guard), users: Mutex::default() }))))
    }
}

/// The adapter, before one without; distribution keeps its users itself.
pub async fn distribution() -> Option<Box<dyn Server>> {
    let oci = Oci::with_users().await?;
    Some(Box::new(Running(Arc::new(Registry { oci, guard: None, users: Mutex::default() }))))
}

struct Registry {
    oci: Oci,
    guard: Option<Guard>,
    users: Mutex<BTreeSet<String>>,
}

impl Registry {
    fn admit(&self, user: &str) {
        self.users.lock().expect("no panic").insert(user.to_owned());
        match &self.guard {
            Some(guard) => guard.admit(user, PASSWORD),
            None => self.know(),
        }
    }

    fn dismiss(&self, user: &str) {
        self.users.lock().expect("no panic").remove(user);
        match &self.guard {
            Some(guard) => guard.dismiss(user),
            None => self.know(),
        }
    }

    fn know(&self) {
        let users = self.users.lock().expect("no panic");
        self.oci.know(&users.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

struct Running(Arc<Registry>);

#[async_trait]
impl Server for Running {
    async fn place(&self, _part: Part, number: usize) -> Arc<dyn Place> {
        let registry = self.0.clone();
        let (repository, reader) = (format!("evidence-{number}"), format!("reader-{number}"));
        registry.admit(&reader);
        let upstream = registry.guard.as_ref().map_or_else(|| registry.oci.server.url(0), Guard::url);
        let front = Front::before(&upstream).await.with_errors(error);
        Arc::new(Repository { registry, front, repository, reader })
    }
}

/// A registry's own word for an error.
fn error(status: u16) -> Answer {
    let code = match status {
        403 => "DENIED",
        429 => "TOOMANYREQUESTS",
        _ => "UNKNOWN",
    };
    Answer::status(status).body(json!({"errors": [{"code": code, "message": "injected"}]}).to_string())
}

struct Repository {
    registry: Arc<Registry>,
    front: Front,
    repository: String,
    reader: String,
}

fn layer(content: &str, annotations: Value) -> Value {
    json!({"mediaType": "text/plain", "digest": digest(content.as_bytes()), "size": content.len(),
        "annotations": annotations})
}

fn artifact(layer: &Value, more: &Value) -> String {
    let config = json!({"mediaType": EMPTY, "digest": digest(b"{}"), "size": 2});
    let mut manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    manifest.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    manifest.to_string()
}

fn manifest(release: &Release) -> String {
    artifact(
        &layer(PACKET, json!({"io.releaseclosure.kind": "review-packet"})),
        &json!({"artifactType": "application/vnd.example.evidence", "annotations": {
            "io.releaseclosure.bundle": release.bundle(), "io.releaseclosure.release": release.id,
            "io.releaseclosure.review-version": release.review_version,
            "org.opencontainers.image.url": format!("https://archive.example.com/{}", release.bundle())}}),
    )
}

impl Repository {
    fn oci(&self) -> &Oci {
        &self.registry.oci
    }

    fn tag(release: &Release) -> String {
        release.bundle().replace('/', "-")
    }

    /// Stores something that refers to the bundle, and keeps it in the tag where the registry does not list it. Gives its digest.
    async fn refer(&self, release: &Release, content: &str, annotations: Value) {
        let bundle = manifest(release);
        let subject = json!({"mediaType": MANIFEST, "digest": digest(bundle.as_bytes()), "size": bundle.len()});
        let referrer = artifact(
            &layer(content, json!({})),
            &json!({"artifactType": "text/plain", "subject": subject, "annotations": annotations}),
        );
        self.oci().blob(&self.repository, content.as_bytes()).await;
        let own = digest(referrer.as_bytes());
        let put = self.oci().put_manifest(&self.repository, &own, &referrer).await;
        assert_eq!(put.status, 201, "{}", put.text);
        if put.header("oci-subject").is_none() {
            let descriptor = json!({"mediaType": MANIFEST, "digest": own, "size": referrer.len(), "artifactType": "text/plain"});
            let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor]});
            let tag = digest(bundle.as_bytes()).replace(':', "-");
            let put = self.oci().put(&self.repository, &tag, INDEX, &index.to_string()).await;
            assert_eq!(put.status, 201, "{}", put.text);
        }
    }
}

#[async_trait]
impl Place for Repository {
    fn front(&self) -> &Front {
        &self.front
    }
    fn product(&self) -> Product {
        let secret = json!({"name": "registry", "key": "key"});
        let oci = json!({"endpoint": self.front.url(), "repository": self.repository, "parts": ["Layers", "Referrers"],
            "usernameSecretRef": secret, "passwordSecretRef": secret});
        Product::of_spec(&json!({ "oci": oci })).expect("settings")
    }
    fn token(&self) -> String {
        PASSWORD.to_owned()
    }
    fn secrets(&self, token: &str) -> Secrets {
        let mut secrets = Secrets::default();
        secrets.insert("username", self.reader.as_str().into());
        secrets.insert("password", token.into());
        secrets
    }
    fn digest(&self, release: &Release) -> Option<String> {
        Some(digest(manifest(release).as_bytes()))
    }

    async fn make(&self, release: &Release) -> Made {
        self.oci().blob(&self.repository, b"{}").await;
        self.oci().blob(&self.repository, PACKET.as_bytes()).await;
        let put = self.oci().put_manifest(&self.repository, &Self::tag(release), &manifest(release)).await;
        assert_eq!(put.status, 201, "{}", put.text);
        self.refer(release, SIGNED, json!({"io.releaseclosure.kind": "sign-off"})).await;
        Made { id: release.bundle(), milestone: None }
    }

    async fn truth(&self, _: &Release, _: &Made) -> Truth {
        let path = format!("/v2/{}/blobs/{}", self.repository, digest(SIGNED.as_bytes()));
        let kept = self.oci().client.get(&path).await;
        Truth { done: false, marks: 0, words: kept.text == SIGNED }
    }

    async fn person(&self, release: &Release, _: &Made, deed: Deed) -> Result<(), &'static str> {
        match (deed, &self.registry.guard) {
            (Deed::Remove, _) => {
                let path = format!("/v2/{}/manifests/{}", self.repository, Self::tag(release));
                let gone = self.oci().client.send("DELETE", &path, "").await;
                assert_eq!(gone.status, 202, "{}", gone.text);
            }
            (Deed::Revoke, _) => self.registry.dismiss(&self.reader),
            (Deed::WithdrawReading, Some(guard)) => guard.deny(&self.reader),
            (Deed::WithdrawReading, None) => return Err("its users may do everything"),
            (Deed::Crowd, Some(_)) => {
                for number in 0..5 {
                    self.refer(release, &format!("a scan: {number}"), json!({})).await;
                }
            }
            (Deed::Crowd, None) => return Err("its referrers are in one document"),
            (Deed::Rename, _) => return Err("the record has no milestone"),
            (Deed::Duplicate, _) => return Err("the record is always named"),
            (Deed::Lock | Deed::Archive, _) => return Err("what is stored is read, whatever may still be stored"),
            (Deed::Edit | Deed::DoIt | Deed::Move | Deed::WithdrawWriting | Deed::Own(_), _) => {
                return Err("nothing is ever written");
            }
        }
        Ok(())
    }

    fn not_allowed(&self) -> Vec<String> {
        self.front.not_on(allow_list(), "")
    }
}
