//! What the operator logs can be read by machines: one JSON object a line, and whatever a pass says names its closure.

use crate::stage::{Setup, Stage};
use releaseclosure::sandbox::{self, Role};
use serde_json::{Value, json};

#[tokio::test]
async fn whatever_a_pass_logs_names_its_closure() {
    let stage = Stage::with("logs", Setup { seed: sandbox::generate(2), shared: false, ..Setup::default() }).await;
    let operator = stage.operator().await;
    let closed = stage.start().await;
    stage.closed(&closed).await;
    assert!(stage.sandbox().edit(Role::Tracker, "REL-00002", &json!({"milestone": {"title": "Renamed"}})));
    let halted = stage.create(&stage.closure(2)).await;
    stage.halted(&halted).await;
    // The packet is there a moment before the line that says so.
    operator.until_logged("a follow-up packet was made").await;
    let log = operator.read_log();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    for (message, number) in [("closed", 1), ("halted", 2), ("a follow-up packet was made", 2)] {
        let said: Vec<&Value> = lines.iter().filter(|line| line["message"] == message).collect();
        let name = format!("load-{number:05}");
        let span = json!({"name": "pass", "object": format!("{name}-rv1"), "namespace": stage.namespace,
            "closure": format!("{name}@RR-{name}@1")});
        assert!(!said.is_empty() && said.iter().all(|line| line["span"] == span), "{message}: {said:?}");
    }
}
