//! A pass that panics. There is no way to make the binary do that, so the pass is one of the test's own; what stands
//! around it is not.

use super::*;
use crate::lease;
use crate::telemetry::Metrics;
use futures::{StreamExt as _, stream};
use kube::{Client, Config};
use std::collections::BTreeMap;

fn context() -> Arc<Context> {
    // Sends nothing: what is passed here asks nobody.
    let client = || {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Client::try_from(Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap()
    };
    let closures = Writer::<Unfinished>::default();
    let approved = watches::approved::Kept::default();
    let (playbooks, connections) = approved.readers(&client(), Some("n"), "system", false, Shard::WHOLE);
    Arc::new(Context {
        shard: Shard::WHOLE,
        client: client(),
        definitions: Arc::new(super::super::definitions::Definitions::new(
            client(),
            crate::health::Health::new(),
            Metrics::new(),
        )),
        closures: closures.as_reader(),
        siblings: Arc::default(),
        holds: Arc::default(),
        playbooks,
        connections,
        fence: lease::Fence::for_tests(Duration::from_secs(60)),
        metrics: Metrics::new(),
        tally: tally::Tally::new(Metrics::new(), Shard::WHOLE),
        events: Events::start(client(), "test").0,
        wake: mpsc::unbounded_channel().0,
        tell: mpsc::unbounded_channel().0,
        keys: context::Locks::default(),
        room: context::Room::default(),
        memory: Mutex::default(),
        tasks: context::Tasks::default(),
    })
}

fn unfinished(name: &str) -> Unfinished {
    serde_json::from_value(serde_json::json!({"metadata": {"name": name, "namespace": "n", "uid": name}})).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_panics_is_made_again_ever_later_and_disturbs_no_other() {
    let context = context();
    let passes: Arc<Mutex<BTreeMap<&str, u32>>> = Arc::default();
    let (shared, counted) = (context.clone(), passes.clone());
    let pass = move |name: &'static str| {
        let (context, passes) = (shared.clone(), counted.clone());
        async move {
            let work = async {
                *passes.lock().unwrap().entry(name).or_default() += 1;
                assert!(name != "poisoned", "as a defect would");
                Ok((Ending::Closed, Next::OnChange))
            };
            guarded(&context, &unfinished(name), Span::none(), work).await
        }
    };
    let woken = stream::iter(["before", "poisoned", "after"]).chain(stream::pending());
    let keeping = tokio::spawn(agenda::keep(woken, pass));
    tokio::time::sleep(Duration::from_secs(60)).await;

    let seen = passes.lock().unwrap().clone();
    assert_eq!((seen["before"], seen["after"]), (1, 1));
    // Four seconds, eight, sixteen, thirty-two; a quarter less at most.
    assert!((4..=6).contains(&seen["poisoned"]), "{seen:?}");
    assert!(!keeping.is_finished());
    let metrics = context.metrics.render();
    for line in ["passes_in_flight 0", "passes_total{ending=\"closed\"} 2"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(metrics.contains(&format!("passes_total{{ending=\"panic\"}} {}", seen["poisoned"])), "{metrics}");
}
