//! What a closure costs the API server, counted in the API server's own audit log.

use crate::operators::{ACCOUNT, Operator, account, furnished};
use crate::stage::{PATIENCE, Setup, Stage, ready};
use crate::support::controlplane::ControlPlane;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long nothing may happen: longer than the pause of every timer but those of the lease and of watches.
const AFTERWARDS: Duration = Duration::from_secs(7);

const EVENTS: &str = "create events.events.k8s.io";

/// An API server that writes down what it is asked, with an operator of its own under the shipped role.
fn audited() -> &'static ControlPlane {
    static PLANE: OnceLock<ControlPlane> = OnceLock::new();
    PLANE.get_or_init(|| furnished(ControlPlane::start_restartable(&["--audit"])))
}

fn operator() {
    static OPERATOR: OnceLock<Operator> = OnceLock::new();
    OPERATOR.get_or_init(|| Operator::start(account(audited()), &["--lease-namespace=releaseclosure-system"]));
}

/// One request of the operator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    verb: String,
    /// `resource` or `resource/subresource`, with its group.
    what: String,
    namespace: String,
    name: String,
    status: u64,
}

/// Every request of the operator so far. A watch has two entries, of which the first counts.
fn asked() -> Vec<Asked> {
    let log = std::fs::read_to_string(audited().audit_log()).expect("the audit log can be read");
    let entries = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("an entry is JSON"));
    let own = entries.filter(|entry| entry["user"]["username"] == ACCOUNT);
    own.filter(|entry| entry["verb"] != "watch" || entry["stage"] == "ResponseStarted")
        .map(|entry| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let object = &entry["objectRef"];
            let (group, resource) = (text(&object["apiGroup"]), text(&object["resource"]));
            let what = match object["subresource"].as_str() {
                Some(subresource) => format!("{resource}/{subresource}.{group}"),
                None => format!("{resource}.{group}"),
            };
            Asked {
                verb: text(&entry["verb"]),
                what,
                namespace: text(&object["namespace"]),
                name: text(&object["name"]),
                status: entry["responseStatus"]["code"].as_u64().unwrap_or_default(),
            }
        })
        .collect()
}

/// The same, of one namespace, as counts of `verb what`; what is about connections and playbooks is left out.
fn about_closures(namespace: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for asked in asked().into_iter().filter(|asked| asked.namespace == namespace) {
        if !["systemconnections", "closureplaybooks", "secrets"].iter().any(|other| asked.what.starts_with(other)) {
            *counts.entry(format!("{} {}", asked.verb, asked.what)).or_insert(0) += 1;
        }
    }
    counts
}

async fn stage(name: &str) -> Stage {
    let plane = Some(tokio::task::spawn_blocking(audited).await.unwrap());
    let stage = Stage::with(name, Setup { plane, ..Setup::default() }).await;
    tokio::task::spawn_blocking(operator).await.unwrap();
    stage.settled_in().await;
    stage
}

/// Waits until this was asked so many times: events are written behind the passes.
async fn until_asked(namespace: &str, what: &str, count: usize) {
    let start = Instant::now();
    while about_closures(namespace).get(what).copied().unwrap_or_default() < count {
        assert!(start.elapsed() < PATIENCE, "{:?}", about_closures(namespace));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Nothing but the lease is asked for, about whatever, in any namespace.
async fn nothing_is_asked() {
    let before = asked().len();
    tokio::time::sleep(AFTERWARDS).await;
    let mut since = asked().split_off(before);
    since.retain(|asked| !asked.what.starts_with("leases."));
    assert_eq!(since, []);
}

fn counts<const N: usize>(counts: [(&str, usize); N]) -> BTreeMap<String, usize> {
    counts.into_iter().map(|(what, count)| (what.to_owned(), count)).collect()
}

/// One test, since what follows an end must not meet another test's beginning.
#[tokio::test]
async fn a_clean_closure_costs_one_read_two_status_writes_and_two_events_and_afterwards_nothing() {
    let clean = stage("budget-clean").await;
    let name = clean.start().await;
    clean.closed(&name).await;
    until_asked("budget-clean", EVENTS, 2).await;

    let halting = stage("budget-halt").await;
    let mut closure = halting.closure(1);
    closure["spec"]["milestone"]["title"] = "another title".into();
    let halted = halting.create(&closure).await;
    halting.halted(&halted).await;
    until_asked("budget-halt", EVENTS, 1).await;

    nothing_is_asked().await;

    let clean = counts([
        ("get releaseclosures.releaseclosure.io", 1),
        ("update releaseclosures/status.releaseclosure.io", 2),
        (EVENTS, 2),
    ]);
    assert_eq!(about_closures("budget-clean"), clean);
    let mut halt = about_closures("budget-halt");
    // The packet that it made comes back through the watch and may wake it once more.
    let looks = |count: Option<usize>| count.unwrap_or_default();
    assert!((1..=2).contains(&looks(halt.remove("get releaseclosures.releaseclosure.io"))));
    assert!(looks(halt.remove("get followuppackets.releaseclosure.io")) <= 1);
    let writes = counts([
        ("update releaseclosures/status.releaseclosure.io", 1),
        ("create followuppackets.releaseclosure.io", 1),
        (EVENTS, 1),
    ]);
    assert_eq!(halt, writes);

    // What it keeps of etcd for years; with its managed fields, as it is stored.
    let stored = |namespace: &str, plural: &str, name: &str| {
        let path = format!("/apis/releaseclosure.io/v1alpha1/namespaces/{namespace}/{plural}/{name}");
        audited().kubectl(&["get", "--raw", &path]).trim_end().len()
    };
    let closed = stored("budget-clean", "releaseclosures", &name);
    let (_, packet) = halting.halted(&halted).await;
    let packet_stored = stored("budget-halt", "followuppackets", packet.metadata.name.as_deref().unwrap());
    println!("stored: a closed closure {closed} bytes, a packet of one finding {packet_stored} bytes");
    assert!(closed <= 12_288 && packet_stored <= 6_144, "{closed} {packet_stored}");

    halting.resolve(&packet, "Abandon", None).await;
    halting.wait(&halted, "abandoned", |closure| ready(closure).1 == "Abandoned").await;
    until_asked("budget-halt", "update followuppackets/status.releaseclosure.io", 1).await;
    until_asked("releaseclosure-system", "update leases.coordination.k8s.io", 1).await;
    // A replica that stands by sees a hand-over at once.
    let start = || Operator::launch(account(audited()), &["--lease-namespace=releaseclosure-system"]);
    let _standing_by = tokio::task::spawn_blocking(start).await.unwrap();
    until_asked("releaseclosure-system", "watch leases.coordination.k8s.io", 1).await;
    permissions_used_are_permissions_granted();
}

/// Not a test of its own: it looks at everything that the operator has done by then.
fn permissions_used_are_permissions_granted() {
    let mut granted = BTreeSet::new();
    for (kind, name, namespace) in [
        ("clusterrole", "releaseclosure-operator", ""),
        ("role", "releaseclosure-operator-lease", "releaseclosure-system"),
        ("role", "operator-secrets", "budget-clean"),
    ] {
        let namespace = if namespace.is_empty() { "default" } else { namespace };
        let text = audited().kubectl(&["-n", namespace, "get", kind, name, "-o", "json"]);
        let role: Value = serde_json::from_str(&text).unwrap();
        let list = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap() };
        for rule in role["rules"].as_array().unwrap() {
            for group in list(&rule["apiGroups"]) {
                for resource in list(&rule["resources"]) {
                    granted.extend(list(&rule["verbs"]).into_iter().map(|verb| format!("{verb} {resource}.{group}")));
                }
            }
        }
    }
    let asked = asked();
    let used: BTreeSet<String> = asked
        .iter()
        // No object, but the version, which every account may read.
        .filter(|asked| asked.what != ".")
        .map(|asked| format!("{} {}", asked.verb, asked.what))
        .collect();
    let more: Vec<_> = used.difference(&granted).collect();
    assert_eq!(more, Vec::<&String>::new(), "used without being granted");
    // The watches bring these; who may list them may as well read one.
    let spare = ["get closureplaybooks.releaseclosure.io", "get systemconnections.releaseclosure.io"];
    assert_eq!(granted.difference(&used).collect::<Vec<_>>(), spare, "granted without being used");
    let refused: Vec<_> = asked.iter().filter(|asked| asked.status == 403).collect();
    assert_eq!(refused, Vec::<&Asked>::new());
}
