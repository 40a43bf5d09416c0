//! A stage: one namespace on the real API server, with six systems of its own and the operator watching.
//!
//! The API server and one operator are shared by all tests of this binary; a test that kills or stops an operator starts
//! its own, which watches that test's namespace alone.

use crate::operators::{bare_plane, plane, shared_operator};
use crate::support::controlplane::{ControlPlane, repository};
use crate::support::objects;
use futures::StreamExt as _;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::watch_object;
use kube::{Client, ResourceExt};
use releaseclosure::api::{FollowUpPacket, ReleaseClosure};
use releaseclosure::sandbox::{self, Config, Handle, Role, Rule, Sandbox, Seed};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

/// How long a wait goes on before it fails its test: far longer than anything should take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// What a stage is set up with.
#[derive(Clone)]
pub struct Setup {
    /// What the systems hold.
    pub seed: Seed,
    /// The playbook's policy.
    pub policy: Value,
    /// What the intake's connection promises.
    pub delivery: &'static str,
    /// The connections' limits.
    pub limits: Value,
    /// Whether the shared operator works on it; else the test starts its own.
    pub shared: bool,
    /// The API server, where it is the test's own. The shared operator is not there.
    pub plane: Option<&'static ControlPlane>,
    /// Where the operator goes for everything, where something stands in between.
    pub through: Option<Through>,
}

/// What stands between an operator and everything it asks.
#[derive(Clone)]
pub struct Through {
    /// The endpoint of all six connections.
    pub endpoint: String,
    /// The operator's kubeconfig.
    pub kubeconfig: PathBuf,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            seed: sandbox::generate(1),
            policy: json!({"retry": {"initial": "200ms", "max": "2s"}}),
            delivery: "IdempotencyKey",
            limits: json!({"requestsPerSecond": 1000, "concurrency": 16, "timeout": "5s"}),
            shared: true,
            plane: None,
            through: None,
        }
    }
}

/// One namespace and its six systems.
pub struct Stage {
    /// The API server.
    pub plane: &'static ControlPlane,
    /// The namespace.
    pub namespace: String,
    /// The administrator's client.
    pub client: Client,
    /// The six systems.
    pub handle: Handle,
    /// Closures.
    pub closures: Api<ReleaseClosure>,
    /// Packets.
    pub packets: Api<FollowUpPacket>,
    /// What stands between the operator and everything else.
    pub through: Option<Through>,
}

impl Stage {
    /// A stage as most tests want it: one release, ready to be closed.
    pub async fn new(name: &str) -> Stage {
        Stage::with(name, Setup::default()).await
    }

    /// A stage as this test wants it.
    pub async fn with(name: &str, setup: Setup) -> Stage {
        let namespace = name.to_owned();
        let shared = setup.shared && setup.plane.is_none();
        let start = move || setup.plane.unwrap_or_else(if shared { plane } else { bare_plane });
        let plane = tokio::task::spawn_blocking(start).await.unwrap();
        let client = objects::client(plane).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let handle = sandbox::start(Config { seed: setup.seed.clone(), ..Config::default() }, listener).await.unwrap();
        let stage = Stage {
            plane,
            closures: Api::namespaced(client.clone(), &namespace),
            packets: Api::namespaced(client.clone(), &namespace),
            namespace,
            client,
            handle,
            through: setup.through.clone(),
        };
        stage.install(&setup).await;
        if shared {
            tokio::task::spawn_blocking(shared_operator).await.unwrap();
            stage.settled_in().await;
        }
        stage
    }

    async fn install(&self, setup: &Setup) {
        self.apply(needed(&self.namespace, &self.endpoint(), setup)).await;
    }

    /// Applies objects, which say their namespace.
    pub async fn apply(&self, all: Vec<Value>) {
        objects::apply(&self.client, &all).await;
    }

    /// The objects of one of our kinds, as kubectl calls it: those of this namespace where the kind has one.
    pub fn all(&self, kind: &str) -> Api<DynamicObject> {
        objects::named(&self.client, kind, &self.namespace)
    }

    /// A merge patch on the spec of an object of one of our kinds.
    pub async fn patch_spec(&self, kind: &str, name: &str, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.all(kind).patch(name, &PatchParams::default(), &patch).await.expect("the patch is let in");
    }

    /// Waits until the operator has judged an object as it is now.
    pub async fn judged(&self, kind: &str, name: &str) {
        objects::until(&self.all(kind), name, |ready| ready.is_some()).await;
    }

    /// Waits until the operator has judged an object as it is now, and gives this reason.
    pub async fn until_reason(&self, kind: &str, name: &str, reason: &str) {
        objects::until(&self.all(kind), name, |ready| ready.is_some_and(|(_, found)| found == reason)).await;
    }

    /// A connection to this stage's systems in one role.
    pub fn connection(&self, name: &str, role: &str, setup: &Setup) -> Value {
        connection(&self.namespace, &self.endpoint(), name, role, setup)
    }

    /// Where the operator finds the systems.
    fn endpoint(&self) -> String {
        self.through.as_ref().map_or_else(|| self.handle.endpoint(), |through| through.endpoint.clone())
    }

    /// Waits until playbook and connections are ready, so that the first pass finds everything, and forgets the probes.
    pub async fn settled_in(&self) {
        for kind in ["systemconnection", "closureplaybook"] {
            objects::until_all(&self.all(kind), |ready| ready.is_some_and(|(status, _)| status == "True")).await;
        }
        self.sandbox().clear_requests();
    }

    /// The six systems.
    pub fn sandbox(&self) -> &Sandbox {
        self.handle.sandbox()
    }

    /// The closure of the `number`-th made-up release, its records named.
    pub fn closure(&self, number: usize) -> Value {
        let review = self.sandbox().record(Role::Governance, &format!("RR-load-{number:05}"));
        closure(&self.namespace, number, &review.expect("a seeded review").value)
    }

    /// Creates a closure and says its name.
    pub async fn create(&self, closure: &Value) -> String {
        let object: ReleaseClosure = serde_json::from_value(closure.clone()).expect("a closure");
        self.closures.create(&PostParams::default(), &object).await.expect("the closure is let in").name_any()
    }

    /// Creates the closure of the first release.
    pub async fn start(&self) -> String {
        self.create(&self.closure(1)).await
    }

    /// The closure as it is now.
    pub async fn get(&self, name: &str) -> ReleaseClosure {
        self.closures.get(name).await.expect("the closure is there")
    }

    /// Waits until it is so of a closure, and gives it back.
    pub async fn wait(&self, name: &str, what: &str, so: impl Fn(&ReleaseClosure) -> bool) -> ReleaseClosure {
        let start = Instant::now();
        // A watch, since eight tests that ask twenty times a second are a good part of what the API server does.
        let mut changes = pin!(watch_object(self.closures.clone(), name));
        let mut last = None;
        loop {
            let found = match tokio::time::timeout(Duration::from_secs(1), changes.next()).await {
                Ok(Some(Ok(found))) => found,
                // The API server may be restarting under the test.
                Ok(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    None
                }
                // What is waited for may not be of the object alone.
                Err(_) => self.closures.get_opt(name).await.ok().flatten(),
            };
            if let Some(closure) = found {
                if so(&closure) {
                    return closure;
                }
                last = closure.status;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{}/{name} is not {what}: {}",
                self.namespace,
                serde_json::to_string_pretty(&last).unwrap()
            );
        }
    }

    /// Waits until a closure is closed.
    pub async fn closed(&self, name: &str) -> ReleaseClosure {
        self.wait(name, "closed", |closure| ready(closure) == ("True".to_owned(), "Closed".to_owned())).await
    }

    /// Waits until a closure is halted, and its packet there.
    pub async fn halted(&self, name: &str) -> (ReleaseClosure, FollowUpPacket) {
        let closure = self.wait(name, "halted", |closure| is_true(closure, "Stalled")).await;
        let packet = closure.status.as_ref().unwrap().halt.as_ref().expect("a halt").packet_ref.name.clone();
        let start = Instant::now();
        loop {
            if let Ok(found) = self.packets.get(&packet).await {
                return (closure, found);
            }
            assert!(start.elapsed() < PATIENCE, "packet {packet} does not appear");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a closure waits for this reason.
    pub async fn waiting(&self, name: &str, reason: &str) -> ReleaseClosure {
        self.wait(name, reason, |closure| condition(closure, "Reconciling").is_some_and(|(_, found)| found == reason))
            .await
    }

    /// Puts a coordinator's resolution on a packet.
    pub async fn resolve(&self, packet: &FollowUpPacket, decision: &str, handoff: Option<&str>) {
        let mut resolution = json!({"decision": decision, "haltId": packet.spec.halt_id, "resolvedBy": "admin"});
        if let Some(handoff) = handoff {
            resolution["handoff"] = json!(handoff);
        }
        let patch = Patch::Merge(json!({"spec": {"resolution": resolution}}));
        self.packets
            .patch(&packet.name_any(), &PatchParams::default(), &patch)
            .await
            .expect("the resolution is let in");
    }

    /// A merge patch on a closure.
    pub async fn patch(&self, name: &str, patch: Value) {
        self.closures.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("the patch is let in");
    }

    /// Deletes a closure and waits until it is gone.
    pub async fn delete(&self, name: &str) {
        self.closures.delete(name, &DeleteParams::default()).await.expect("the closure is deleted");
        while self.closures.get_opt(name).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Every packet of the namespace.
    pub async fn all_packets(&self) -> Vec<FollowUpPacket> {
        self.packets.list(&ListParams::default()).await.unwrap().items
    }

    /// Sets a fault; see the sandbox's rules.
    pub fn fault(&self, rule: Value) -> String {
        let rule: Rule = serde_json::from_value(rule).expect("a rule");
        self.sandbox().add_fault(rule).expect("a rule that can be").to_string()
    }

    /// Waits until a rule holds this many requests.
    pub async fn holds(&self, fault: &str, count: usize) {
        let start = Instant::now();
        while self.sandbox().held().iter().filter(|held| *held.fault == *fault).count() < count {
            assert!(start.elapsed() < PATIENCE, "{fault} holds no request; {:?}", self.sandbox().held());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the systems were asked since the requests were last cleared, probes left out, as `METHOD role record`.
    pub fn requests(&self) -> Vec<String> {
        let all = self.sandbox().requests(0);
        let own = all.iter().filter(|entry| !entry.path.contains("releaseclosure-probe"));
        own.map(|entry| {
            let role = entry.role.map_or("unknown", Role::name);
            format!("{} {role} {}", entry.method, entry.record.as_deref().unwrap_or("look-up"))
        })
        .collect()
    }

    /// How many of them are of this kind: a method and a system.
    pub fn count(&self, method: &str, role: &str) -> usize {
        let start = format!("{method} {role} ");
        self.requests().iter().filter(|request| request.starts_with(&start)).count()
    }

    /// How many changes took effect, by system.
    pub fn writes(&self) -> BTreeMap<String, usize> {
        let mut writes = BTreeMap::new();
        for entry in self.sandbox().requests(0).iter().filter(|entry| entry.applied) {
            *writes.entry(entry.role.map_or("unknown", Role::name).to_owned()).or_insert(0) += 1;
        }
        writes
    }

    /// A record of one of the systems.
    pub fn record(&self, role: Role, id: &str) -> Value {
        (*self.sandbox().record(role, id).expect("the record is there").value).clone()
    }

    /// Sees to it that nothing goes on: no request to any system for so long.
    pub async fn quiet(&self, how_long: Duration) {
        let before = self.requests();
        tokio::time::sleep(how_long).await;
        assert_eq!(self.requests()[before.len()..], Vec::<String>::new()[..], "requests after the end");
    }
}

/// The shipped right to read a namespace's Secrets, for one of them.
pub fn opened(namespace: &str, secret: &str) -> [Value; 2] {
    let [mut role, binding] = shipped(namespace, OPEN_SECRETS);
    role["rules"][0]["resourceNames"] = json!([secret]);
    [role, binding]
}

/// That a Lease may be kept in a namespace: where it is shipped, and the name of the role.
pub const LEASE: (&str, &str) = ("manifests/base/operator.yaml", "releaseclosure-operator-lease");
/// That a namespace's Secrets may be read.
pub const OPEN_SECRETS: (&str, &str) =
    ("manifests/components/open-namespace-secrets/role.yaml", "releaseclosure-operator-secrets");
/// That closures may be made in a namespace.
pub const OPEN_FEEDS: (&str, &str) =
    ("manifests/components/open-namespace-feeds/role.yaml", "releaseclosure-operator-feeds");

/// A shipped role and its binding, put into a namespace.
pub fn shipped(namespace: &str, (file, role): (&str, &str)) -> [Value; 2] {
    let text = std::fs::read_to_string(repository(file)).expect("readable");
    let mut found: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    found.retain(|one| one["metadata"]["name"] == role);
    for one in &mut found {
        one["metadata"]["namespace"] = namespace.into();
    }
    found.try_into().unwrap_or_else(|_| panic!("{role} and its binding in {file}"))
}

/// A namespace with everything that a closure in it needs, to be applied.
pub fn needed(namespace: &str, endpoint: &str, setup: &Setup) -> Vec<Value> {
    let mut all = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sandbox-token", "namespace": namespace},
            "stringData": {"token": "a-token-that-shall-never-show"}}),
    ];
    all.extend(opened(namespace, "sandbox-token"));
    for (name, role) in SYSTEMS {
        all.push(connection(namespace, endpoint, name, role, setup));
    }
    all.push(json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "ClosurePlaybook",
    "metadata": {"name": "engineering-release", "namespace": namespace},
    "spec": {
        "governance": {"connectionRef": {"name": "governance"}, "acceptedStates": ["Accepted"]},
        "archive": {"connectionRef": {"name": "archive"},
            "requiredArtifacts": ["rollback-notes", "sign-off", "review-packet"]},
        "checklist": {"connectionRef": {"name": "checklist"}},
        "tracker": {"connectionRef": {"name": "tracker"}, "approvedState": "Approved",
            "approvableStates": ["InReview"]},
        "queue": {"connectionRef": {"name": "queue"}},
        "intake": {"connectionRef": {"name": "intake"}},
        "policy": setup.policy,
    }}));
    all
}

/// A connection to the systems at an endpoint, in one role.
fn connection(namespace: &str, endpoint: &str, name: &str, role: &str, setup: &Setup) -> Value {
    json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "SystemConnection",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"allowedRoles": [role], "allowPlaintext": true, "limits": setup.limits,
            "links": {"record": format!("https://{name}.example.com/{{id}}")},
            "http": {"endpoint": endpoint, "delivery": setup.delivery,
                "tokenSecretRef": {"name": "sandbox-token", "key": "token"}}}})
}

/// The closure of a made-up release with this review, its records named.
pub fn closure(namespace: &str, number: usize, review: &Value) -> Value {
    json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "ReleaseClosure",
    "metadata": {"name": format!("load-{number:05}-rv1"), "namespace": namespace},
    "spec": {
        "playbookRef": {"name": "engineering-release"},
        "release": review["release"], "milestone": review["milestone"], "evidence": review["evidence"],
        "review": {"id": review["id"], "version": review["version"],
            "acceptedEvent": {"id": review["acceptedEvent"]["id"], "source": "/governance/reviews",
                "time": "2026-11-20T10:00:00Z"}},
        "records": {"tracker": format!("REL-{number:05}"), "checklist": format!("CHK-{number:05}"),
            "queueEntry": format!("Q-{number:05}")},
        "coordinator": "release-coordinators",
    }})
}

/// The six connections of a stage, and their roles.
pub const SYSTEMS: [(&str, &str); 6] = [
    ("governance", "Governance"),
    ("archive", "Archive"),
    ("checklist", "Checklist"),
    ("tracker", "Tracker"),
    ("queue", "Queue"),
    ("intake", "Intake"),
];

/// Status and reason of a condition.
pub fn condition(closure: &ReleaseClosure, kind: &str) -> Option<(String, String)> {
    let conditions = &closure.status.as_ref()?.conditions;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((found.status.clone(), found.reason.clone()))
}

/// Whether a condition is true.
pub fn is_true(closure: &ReleaseClosure, kind: &str) -> bool {
    condition(closure, kind).is_some_and(|(status, _)| status == "True")
}

/// Status and reason of Ready.
pub fn ready(closure: &ReleaseClosure) -> (String, String) {
    condition(closure, "Ready").unwrap_or_default()
}

/// The outcomes of the five steps.
pub fn outcomes(closure: &ReleaseClosure) -> Vec<String> {
    let steps = closure.status.iter().flat_map(|status| &status.steps);
    steps.map(|step| step.outcome.as_str().to_owned()).collect()
}

/// Of a closed closure whose operator may have been killed at any moment: each write is known by its marker, and only of the
/// announcement it may be unknown which process's arrived. Whether it is.
pub fn crossed_a_crash(closure: &ReleaseClosure) -> bool {
    let found = outcomes(closure);
    assert_eq!(found[..4], ["Changed"; 4], "{}", closure.name_any());
    assert!(["Changed", "Unconfirmed"].contains(&&*found[4]), "{}: {found:?}", closure.name_any());
    found[4] == "Unconfirmed"
}
