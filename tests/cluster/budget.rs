//! What a closure costs the API server, counted in the API server's own audit log.

use crate::audit::Asked;
use crate::operators::{Operator, Start, furnished};
use crate::permissions;
use crate::stage::{PATIENCE, Setup, Stage};
use crate::support::controlplane::ControlPlane;
use std::collections::BTreeMap;
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
    OPERATOR.get_or_init(|| Operator::installed(audited(), Start::default()).up());
}

/// Every request of the operator so far.
fn asked() -> Vec<Asked> {
    permissions::asked(audited())
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

/// Comes to a time in which nothing but the lease is asked for, about whatever, in any namespace. What was still on its way before
/// is counted where it belongs.
async fn nothing_is_asked() {
    let start = Instant::now();
    loop {
        let before = asked().len();
        tokio::time::sleep(AFTERWARDS).await;
        let mut since = asked().split_off(before);
        since.retain(|asked| !asked.what.starts_with("leases."));
        if since.is_empty() {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "it is never quiet for {AFTERWARDS:?}: {since:?}");
    }
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
}
