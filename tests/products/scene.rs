//! A namespace whose connections lead to products, and releases that are ready to be closed there.

use crate::conformance::front::Front;
use crate::fault_proxy::FaultProxy;
use crate::operators::bare_plane;
use crate::stage::{Stage, opened};
use crate::support::objects::client;
use crate::systems::gitea::{ADMIN, Gitea, Repository};
use crate::systems::nats::Nats;
use crate::systems::s3::{REGION, ROOT, S3};
use kube::ResourceExt as _;
use kube::api::Api;
use releaseclosure::api::ReleaseClosure;
use releaseclosure::sandbox::{self, Config, Role, Seed};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// The repository, the bucket, and the stream.
const REPOSITORY: &str = "releases";
const BUCKET: &str = "evidence";
const STREAM: &str = "HANDOFFS";
/// The milestone's title.
pub const MILESTONE: &str = "2026.11";
const KINDS: [&str; 3] = ["rollback-notes", "sign-off", "review-packet"];

/// Everything that is there.
pub struct Scene {
    /// The namespace, and the sandbox that plays governance.
    pub stage: Stage,
    /// Gitea.
    pub gitea: Gitea,
    /// S3.
    pub s3: S3,
    /// NATS.
    pub nats: Nats,
    /// What stands before Gitea.
    pub proxy: FaultProxy,
    /// What stands before NATS.
    pub front: Front,
    /// The milestone's id.
    pub milestone: i64,
}

/// A release that is ready.
pub struct Release {
    /// Its id.
    pub id: String,
    /// Its checklist, tracker record and queue entry, as issues.
    pub issues: [i64; 3],
    /// Its bundle's digest.
    pub digest: String,
}

impl Scene {
    /// Starts it all; none where a server is not built.
    pub async fn new(name: &str) -> Option<Scene> {
        let (gitea, s3, nats) = (Gitea::start().await?, S3::start().await?, Nats::start().await?);
        let plane = tokio::task::spawn_blocking(bare_plane).await.unwrap();
        let admin = client(plane).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = Config { seed: Seed::default(), ..Config::default() };
        let handle = sandbox::start(config, listener).await.unwrap();
        let stage = Stage {
            plane,
            closures: Api::namespaced(admin.clone(), name),
            packets: Api::namespaced(admin.clone(), name),
            namespace: name.to_owned(),
            client: admin,
            handle,
            through: None,
        };
        let repository = gitea.repository(REPOSITORY).await;
        for label in ["readiness-checklist", "release", "review-queue"] {
            repository.label(label, false).await;
        }
        let milestone = repository.milestone(MILESTONE).await;
        let token = gitea.person("closure-bot", &["write:issue", "read:repository"]).await;
        repository.let_in("closure-bot", "write").await;
        s3.bucket(BUCKET, true).await;
        nats.stream(STREAM, &["closure.handoffs.>"], Duration::from_secs(120)).await;
        let proxy = FaultProxy::before(&gitea.url()).await;
        let is_write = |asked: &crate::fault_proxy::Asked| !asked.path.starts_with("$JS.API.");
        let front = Front::before_nats(nats.url().trim_start_matches("nats://"), is_write).await;
        let scene = Scene { stage, gitea, s3, nats, proxy, front, milestone };
        scene.install(&token).await;
        Some(scene)
    }

    async fn install(&self, token: &str) {
        let namespace = &self.stage.namespace;
        let object = |kind: &str, name: &str, more: Value| {
            let mut object = json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": kind,
                "metadata": {"name": name, "namespace": namespace}});
            object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            object
        };
        let connection = |name: &str, roles: Value, product: Value| {
            let mut spec = json!({"allowedRoles": roles, "allowPlaintext": true,
                "limits": {"requestsPerSecond": 1000, "concurrency": 16, "timeout": "5s"}});
            spec.as_object_mut().unwrap().extend(product.as_object().unwrap().clone());
            object("SystemConnection", name, json!({ "spec": spec }))
        };
        let key = |key: &str| json!({"name": "products", "key": key});
        let gitea = json!({"endpoint": self.proxy.url(), "repository": format!("{ADMIN}/{REPOSITORY}"),
            "tokenSecretRef": key("gitea")});
        let s3 = json!({"endpoint": self.s3.url(), "region": REGION, "bucket": BUCKET, "pathStyle": true,
            "accessKeySecretRef": key("s3-key"), "secretKeySecretRef": key("s3-secret"), "requireObjectLock": true});
        let nats = json!({"endpoint": self.front.url(),
            "userSecretRef": key("nats-user"), "passwordSecretRef": key("nats-password"),
            "intake": {"stream": STREAM, "subjectPrefix": "closure.handoffs"}});
        let governance = json!({"endpoint": self.stage.handle.endpoint(), "delivery": "IdempotencyKey",
            "tokenSecretRef": key("gitea")});
        let mut all = vec![
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "products", "namespace": namespace},
                "stringData": {"gitea": token, "s3-key": ROOT.0, "s3-secret": ROOT.1,
                    "nats-user": "writer", "nats-password": "writer-password"}}),
            connection("governance", json!(["Governance"]), json!({ "http": governance })),
            connection("gitea", json!(["Checklist", "Tracker", "Queue"]), json!({ "gitea": gitea })),
            connection("s3", json!(["Archive"]), json!({"objectStore": { "s3": s3 }})),
            connection("nats", json!(["Intake"]), json!({ "nats": nats })),
            object(
                "ClosurePlaybook",
                "engineering-release",
                json!({"spec": {
                    "governance": {"connectionRef": {"name": "governance"}, "acceptedStates": ["Accepted"]},
                    "archive": {"connectionRef": {"name": "s3"}, "requiredArtifacts": KINDS},
                    "checklist": {"connectionRef": {"name": "gitea"}},
                    "tracker": {"connectionRef": {"name": "gitea"}, "approvedState": "Approved", "approvableStates": ["In review"]},
                    "queue": {"connectionRef": {"name": "gitea"}},
                    "intake": {"connectionRef": {"name": "nats"}},
                    "policy": {"retry": {"initial": "200ms", "max": "2s"}},
                }}),
            ),
        ];
        all.extend(opened(namespace, "products"));
        self.stage.apply(all).await;
    }

    /// The repository.
    pub fn repository(&self) -> Repository<'_> {
        Repository::of(&self.gitea, REPOSITORY)
    }

    /// Makes a release that is ready: accepted, its evidence archived, its three issues open.
    pub async fn ready(&self, number: usize) -> Release {
        let id = format!("payments-2026.11.{number}");
        let bundle = format!("payments/{number}/rv1");
        let digest = self.archive(&id, &bundle).await;
        self.accept(number, &id, &bundle, &digest);
        let of = format!("### Release\n\n{id}\n\n### Service\n\npayments\n\n### Version\n\n2026.11.{number}\n");
        let part = format!("### Release\n\n{id}\n\n### Review version\n\n1\n");
        let status =
            "### Status\n\nIn review\n\n### Evidence\n\n_No response_\n\n### Remarks\n\nBy hand: *do not lose me*\n";
        let texts = [
            ("readiness-checklist", format!("{part}\n### Ready\n\n- [x] Rollback rehearsed\n- [x] Signed\n")),
            ("release", format!("{of}\n{status}")),
            ("review-queue", part),
        ];
        let mut issues = [0; 3];
        for (issue, (label, text)) in issues.iter_mut().zip(texts) {
            let labels = self.repository().get("labels").await;
            let labels = labels.as_array().cloned().unwrap_or_default();
            let label = labels.into_iter().find(|known| known["name"] == label).expect("the label");
            let body = json!({"title": format!("{id}: {}", label["name"].as_str().unwrap_or_default()), "body": text,
                "milestone": self.milestone, "labels": [label["id"]]});
            *issue = self.repository().issue(&body).await;
        }
        Release { id, issues, digest }
    }

    /// Archives a bundle, and gives its digest.
    async fn archive(&self, id: &str, bundle: &str) -> String {
        let held = self.s3.held(BUCKET, ROOT);
        let mut artifacts = Vec::new();
        for kind in KINDS {
            let content = format!("{kind} of {id}\n");
            let stored = held.put(&format!("{bundle}/{kind}.md"), &[], &content).await;
            assert_eq!(stored.status, 200, "{}", stored.text);
            artifacts.push(
                json!({"name": format!("{kind}.md"), "kind": kind, "digest": sha256(&content), "size": content.len()}),
            );
        }
        let manifest = json!({"bundle": bundle, "release": {"id": id}, "review": {"version": "1"},
            "url": format!("https://archive.example.com/{bundle}/"), "artifacts": artifacts})
        .to_string();
        let stored = held.put(&format!("{bundle}/manifest.json"), &[], &manifest).await;
        assert_eq!(stored.status, 200, "{}", stored.text);
        sha256(&manifest)
    }

    fn accept(&self, number: usize, id: &str, bundle: &str, digest: &str) {
        let review = json!({"id": format!("RR-{number}"), "version": "1", "state": "Accepted",
            "release": {"id": id, "service": "payments", "version": format!("2026.11.{number}")},
            "milestone": {"id": self.milestone.to_string(), "title": MILESTONE},
            "evidence": {"bundle": bundle, "digest": digest}, "acceptedEvent": {"id": format!("evt-{number}")}});
        self.stage.sandbox().put(Role::Governance, &format!("RR-{number}"), review);
    }

    /// Creates the closure of a release, and says its name.
    pub async fn close(&self, number: usize) -> String {
        let review = self.stage.record(Role::Governance, &format!("RR-{number}"));
        let closure: ReleaseClosure = serde_json::from_value(json!({
        "apiVersion": "releaseclosure.io/v1alpha1", "kind": "ReleaseClosure",
        "metadata": {"name": format!("payments-2026.11.{number}-rv1"), "namespace": self.stage.namespace},
        "spec": {
            "playbookRef": {"name": "engineering-release"},
            "release": review["release"], "milestone": review["milestone"], "evidence": review["evidence"],
            "review": {"id": review["id"], "version": "1", "acceptedEvent": review["acceptedEvent"]},
            "coordinator": "release-coordinators",
        }}))
        .expect("a closure");
        let made = self.stage.closures.create(&Default::default(), &closure).await.expect("it is let in");
        made.name_any()
    }

    /// What is true of a release everywhere, with what is its own replaced, so that two releases compare.
    pub async fn whole(&self, release: &Release, closure: &ReleaseClosure) -> Value {
        let mut issues = Vec::new();
        for number in release.issues {
            let issue = self.repository().get(&format!("issues/{number}")).await;
            let history = self.repository().history(number).await;
            let history: Vec<&Value> = history.iter().map(|entry| &entry["type"]).collect();
            issues.push(json!({"state": issue["state"], "text": issue["body"], "version": issue["content_version"],
                "milestone": issue["milestone"]["title"], "history": history}));
        }
        let handoffs = self.nats.messages(STREAM).await;
        let key = format!("{}@", release.id);
        let handoffs: Vec<Value> = handoffs
            .into_iter()
            .filter(|(_, payload)| payload.contains(&key))
            .map(|(_, payload)| serde_json::from_str(&payload).expect("JSON"))
            .collect();
        let text = json!({"issues": issues, "handoffs": handoffs}).to_string();
        let uid = closure.metadata.uid.clone().unwrap_or_default();
        let number = release.id.rsplit('.').next().unwrap_or_default();
        // In a mark no hyphen may stand: two of them would end the comment.
        let text = text.replace("%2D", "-");
        let text = text.replace(&release.id, "RELEASE").replace(&release.digest, "DIGEST").replace(&uid, "UID");
        let text = text.replace(&format!("RR-{number}@"), "REVIEW@").replace(&format!("payments/{number}/"), "BUNDLE/");
        serde_json::from_str(&text.replace(&format!("2026.11.{number}\\n"), "VERSION\\n")).expect("JSON")
    }
}

fn sha256(text: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(text.as_bytes())))
}
