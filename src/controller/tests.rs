//! What the whole program cannot be made to do from outside, or not in the time of a test: a pass that panics, a term that
//! ends at one moment, a connection that is dead.

use super::*;
use crate::api::{ReleaseClosure, ReleaseClosureStatus};
use crate::controller::draft::Draft;
use crate::controller::pass::Subject;
use crate::lease;
use crate::telemetry::Metrics;
use futures::{StreamExt as _, stream};
use kube::{Client, Config};
use std::collections::BTreeMap;

/// A leader whose lease is its own for so long; an API server there is not.
fn context(term: Duration) -> Arc<Context> {
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
        feeds: Writer::<AcceptanceFeed>::default().as_reader(),
        fence: lease::Fence::for_tests(term),
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

/// The pass is one of the test's own; what stands around it is not.
#[tokio::test(start_paused = true)]
async fn a_pass_that_panics_is_made_again_ever_later_and_disturbs_no_other() {
    let context = context(Duration::from_secs(60));
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

/// A closure is to be stored as finished, and waits for a count while the term ends.
#[tokio::test]
async fn nothing_is_stored_in_a_term_that_ended_while_a_count_was_waited_for() {
    let (long, short) = (Duration::from_secs(60), Duration::from_millis(200));
    for (term, waits_for, sent) in [(long, Duration::ZERO, true), (short, 2 * short, false)] {
        let context = context(term);
        let object: ReleaseClosure = serde_json::from_value(serde_json::json!({"metadata": {}, "spec": {
            "playbookRef": {"name": "p"},
            "release": {"id": "r", "service": "s", "version": "1"},
            "review": {"id": "RR", "version": "3", "acceptedEvent": {"id": "e"}},
            "milestone": {"id": "12", "title": "t"},
            "evidence": {"bundle": "b", "digest": format!("sha256:{:064}", 0)}}}))
        .unwrap();
        let (namespace, name) = ("n".to_owned(), "a".to_owned());
        let subject = Subject { object, namespace, name, uid: "u".to_owned(), generation: 1 };
        let mut draft = Draft::of(ReleaseClosureStatus::default(), Some("1".to_owned()));
        draft.is_sent(ReleaseClosureStatus { completion_time: Some(context.now()), ..ReleaseClosureStatus::default() });
        let counting = context.tally.gate.write().await;
        let (storing, ()) = tokio::join!(record::store(&context, &subject, draft), async {
            tokio::time::sleep(waits_for).await;
            drop(counting);
        });
        // What is sent fails, as nobody is there.
        assert_eq!(matches!(storing, Err(record::StoreError::Api(_))), sent, "{storing:?}");
        assert_eq!(matches!(storing, Err(record::StoreError::Superseded)), !sent, "{storing:?}");
    }
}

/// An API server whose connection is dead: what was sent arrives nowhere, and nothing says so.
#[tokio::test]
async fn an_api_server_that_says_nothing_any_more_is_not_waited_for_for_ever() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = super::super::client(&Config::new(format!("http://{address}").parse().unwrap())).unwrap();
    let asked = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut head).await.unwrap();
        // From here on time goes by as soon as nothing else happens.
        tokio::time::pause();
        stream
    };
    let (silent, answer) =
        tokio::join!(asked, tokio::time::timeout(Duration::from_secs(600), client.apiserver_version()));
    drop(silent);
    assert!(answer.expect("it is given up").is_err());
}
