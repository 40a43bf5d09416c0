//! The shared server with everything installed, and objects to try on it.

use crate::support::controlplane::{ControlPlane, repository};
use kube::api::{Api, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};
use serde_json::{Value, json};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::sync::Mutex;

/// The server; started by whoever asks first.
pub fn cluster() -> &'static ControlPlane {
    static CLUSTER: OnceLock<ControlPlane> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = ControlPlane::start();
        cluster.install_crds();
        cluster.kubectl(&["apply", "--server-side", "-k", &repository(".").display().to_string()]);
        cluster
    })
}

/// The name that the administrator's kubeconfig stands for.
pub fn me() -> &'static str {
    static ME: OnceLock<String> = OnceLock::new();
    ME.get_or_init(|| cluster().kubectl(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]))
}

/// A namespace of one's own.
pub fn namespace(name: &str) -> &str {
    cluster().kubectl(&["create", "namespace", name]);
    name
}

/// One kind in one namespace, spoken to as the administrator or as somebody else.
pub struct Objects {
    api: Api<DynamicObject>,
}

/// Why the server refused.
pub type Refusal = String;

impl Objects {
    /// As the administrator.
    pub async fn of(kind: &str, namespace: &str) -> Objects {
        Objects::of_user(kind, namespace, None).await
    }

    /// As somebody else.
    pub async fn of_user(kind: &str, namespace: &str, user: Option<&str>) -> Objects {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("releaseclosure.io", "v1alpha1", kind));
        Objects { api: Api::namespaced_with(client(user).await, namespace, &resource) }
    }

    /// Creates an object from its JSON.
    pub async fn create(&self, object: &Value) -> Result<Value, Refusal> {
        let object = serde_json::from_value(object.clone()).expect("an object");
        let created = self.api.create(&PostParams::default(), &object).await;
        created.map(json_of).map_err(|refusal| refusal.to_string())
    }

    /// Reads an object.
    pub async fn get(&self, name: &str) -> Value {
        self.api.get(name).await.map(json_of).expect("the object is there")
    }

    /// Changes an object by putting it back as a whole.
    pub async fn change(&self, name: &str, change: impl FnOnce(&mut Value)) -> Result<Value, Refusal> {
        let mut object = self.get(name).await;
        change(&mut object);
        let object = serde_json::from_value(object).expect("an object");
        let put = self.api.replace(name, &PostParams::default(), &object).await;
        put.map(json_of).map_err(|refusal| refusal.to_string())
    }

    /// Writes a status.
    pub async fn write_status(&self, name: &str, status: Value) -> Result<Value, Refusal> {
        let mut object = self.get(name).await;
        object["status"] = status;
        let object = serde_json::from_value(object).expect("an object");
        let put = self.api.replace_status(name, &PostParams::default(), &object).await;
        put.map(json_of).map_err(|refusal| refusal.to_string())
    }
}

fn json_of(object: DynamicObject) -> Value {
    serde_json::to_value(object).expect("an object is JSON")
}

/// A client of the shared server, acting as this user where one is given.
pub async fn client(user: Option<&str>) -> Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut kubeconfig = Kubeconfig::read_from(cluster().kubeconfig()).expect("a kubeconfig");
    if let Some(user) = user {
        for auth in kubeconfig.auth_infos.iter_mut().filter_map(|auth| auth.auth_info.as_mut()) {
            auth.impersonate = Some(user.to_owned());
        }
    }
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a usable kubeconfig")).expect("a client")
}

/// A closure with everything that may be left out.
pub fn closure(name: &str) -> Value {
    json!({
        "apiVersion": "releaseclosure.io/v1alpha1",
        "kind": "ReleaseClosure",
        "metadata": {"name": name},
        "spec": {
            "playbookRef": {"kind": "ClosurePlaybook", "name": "engineering-release"},
            "release": {"id": "billing-7.2", "service": "billing", "version": "7.2"},
            "review": {
                "id": "RR-9",
                "version": "3",
                "acceptedEvent": {"id": "evt-1", "source": "/governance", "time": "2026-11-20T10:00:00Z"}
            },
            "milestone": {"id": "12", "title": "Winter"},
            "evidence": {"bundle": "billing/7.2/rv3", "digest": digest('a')},
            "records": {"tracker": "REL-1", "checklist": "CHK-1", "queueEntry": "Q-1"},
            "coordinator": "release-coordinators"
        }
    })
}

/// A closure with nothing that may be left out.
pub fn small_closure(name: &str) -> Value {
    let mut closure = closure(name);
    let spec = closure["spec"].as_object_mut().expect("a spec");
    spec.remove("records");
    spec.remove("coordinator");
    spec["review"]["acceptedEvent"] = json!({"id": "evt-1"});
    closure
}

/// A playbook with nothing that may be left out.
pub fn playbook(name: &str) -> Value {
    json!({
        "apiVersion": "releaseclosure.io/v1alpha1",
        "kind": "ClosurePlaybook",
        "metadata": {"name": name},
        "spec": {
            "governance": {"connectionRef": {"name": "governance"}, "acceptedStates": ["Accepted"]},
            "archive": {"connectionRef": {"name": "archive"}, "requiredArtifacts": ["sign-off"]},
            "checklist": {"connectionRef": {"name": "checklist"}},
            "tracker": {
                "connectionRef": {"name": "tracker"},
                "approvedState": "Approved",
                "approvableStates": ["InReview"]
            },
            "queue": {"connectionRef": {"name": "queue"}},
            "intake": {"connectionRef": {"name": "intake"}}
        }
    })
}

/// A connection with nothing that may be left out.
pub fn connection(name: &str) -> Value {
    json!({
        "apiVersion": "releaseclosure.io/v1alpha1",
        "kind": "SystemConnection",
        "metadata": {"name": name},
        "spec": {
            "allowedRoles": ["Tracker"],
            "http": {
                "endpoint": "https://tracker.example.com/closure/v1",
                "tokenSecretRef": {"name": "tracker", "key": "token"}
            }
        }
    })
}

/// A feed with only what it needs.
pub fn feed(name: &str) -> Value {
    json!({
        "apiVersion": "releaseclosure.io/v1alpha1",
        "kind": "AcceptanceFeed",
        "metadata": {"name": name},
        "spec": {
            "playbookRef": {"name": "engineering-release"},
            "webhook": {"format": "StandardWebhooks", "secretRefs": [{"name": "webhook", "key": "secret"}]}
        }
    })
}

/// The id of the halt of [`packet`].
pub const HALT: &str = "h-0123456789abcdef0123";

/// A packet as the operator makes it.
pub fn packet(name: &str, cause: &str) -> Value {
    let closure = closure("billing-7.2-rv3");
    let spec = &closure["spec"];
    json!({
        "apiVersion": "releaseclosure.io/v1alpha1",
        "kind": "FollowUpPacket",
        "metadata": {"name": name},
        "spec": {
            "closureRef": {"name": "billing-7.2-rv3", "uid": "0b0e3c1e-0000-4000-8000-000000000001"},
            "closureKey": "billing-7.2@RR-9@3",
            "haltId": HALT,
            "haltedAt": "2026-11-20T11:00:00Z",
            "cause": cause,
            "coordinator": "release-coordinators",
            "release": spec["release"],
            "review": spec["review"],
            "milestone": spec["milestone"],
            "evidence": spec["evidence"],
            "findings": [{
                "check": "C7",
                "reason": "MilestoneRenamed",
                "system": "tracker",
                "record": "REL-1",
                "field": "milestone.title",
                "expected": "Winter",
                "observed": "Spring",
                "link": "https://tracker.example.com/browse/REL-1"
            }],
            "steps": [{"name": "CloseChecklist", "outcome": "Pending", "record": "CHK-1"}],
            "instructions": ["Rename milestone 12 back to Winter.", "releaseclosure resume ..."]
        }
    })
}

/// A digest of 64 times this digit.
pub fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// Waits until the shipped policy is in force: it takes the server a moment to see a new one.
pub async fn await_resolved_by_policy(namespace: &str) {
    let packets = &Objects::of("FollowUpPacket", namespace).await;
    let mut number = 0;
    eventually("the policy about resolvedBy is in force", async || {
        // Let in until the policy is seen, and final then: so each attempt is made on a packet of its own.
        number += 1;
        let probe = format!("probe-{number}");
        packets.create(&packet(&probe, "MilestoneRenamed")).await.expect("a packet");
        let claim = json!({"decision": "Resume", "haltId": HALT, "resolvedBy": "somebody else"});
        let refusal = packets.change(&probe, |packet| packet["spec"]["resolution"] = claim).await;
        refusal.is_err_and(|refusal| refusal.contains("must be the user who resolves"))
    })
    .await;
}

/// Asks again and again until it is so.
pub async fn eventually(what: &str, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what}: not so after a minute");
}

/// Held by tests that apply what another one applies, too, in another form.
pub static INSTALLING: Mutex<()> = Mutex::const_new(());

/// Applies the examples, once, and says what was applied.
pub fn examples() -> &'static str {
    static APPLIED: OnceLock<String> = OnceLock::new();
    APPLIED.get_or_init(|| cluster().kubectl(&["apply", "-k", &repository("manifests/examples").display().to_string()]))
}
