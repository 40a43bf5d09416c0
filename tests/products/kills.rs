//! `kill -9` at every write to a product, before it arrives and when it has taken effect: the operator that comes after ends where
//! an undisturbed one ends, nothing is there twice, and nothing is lost.

use super::scene::Scene;
use crate::conformance::front::{Fault, On};
use crate::fault_proxy::{Gate, Then, When};

/// What a step that a killed operator made without storing it is.
fn outcome_may_differ(step: usize) -> &'static [&'static str] {
    if step == 4 { &["Changed", "AlreadyDone", "Unconfirmed"] } else { &["Changed"] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_write_to_gitea_and_nats_a_closure_ends_as_if_nothing_had_happened() {
    let Some(scene) = Scene::new("products-kills").await else { return };
    let mut operator = scene.stage.operator().await;
    let release = scene.ready(1).await;
    let name = scene.close(1).await;
    let closed = scene.stage.closed(&name).await;
    let undisturbed = scene.whole(&release, &closed).await;
    let (mut number, mut kills) = (1, 0);
    for write in 0..5 {
        for applied in [false, true] {
            number += 1;
            let release = scene.ready(number).await;
            if write < 4 {
                let gate = Gate::default();
                let then = if applied { Then::HoldAfter(gate.clone()) } else { Then::Hold(gate.clone()) };
                scene.proxy.on(When::method("PATCH").nth(write + 1), then);
                scene.close(number).await;
                gate.reached_by(1).await;
                operator.kill();
            } else {
                let gate = Gate::default();
                let (came, mut comes) = tokio::sync::mpsc::channel(1);
                if applied {
                    scene.front.on(On::Write, Fault::Slow(gate.clone()));
                } else {
                    scene.front.meanwhile(On::Write, move || {
                        let came = came.clone();
                        async move {
                            let _ = came.send(()).await;
                            std::future::pending().await
                        }
                    });
                }
                scene.close(number).await;
                if applied {
                    gate.reached_by(1).await
                } else {
                    comes.recv().await.expect("it comes")
                };
                operator.kill();
                scene.front.heal();
            }
            scene.proxy.heal();
            operator = scene.stage.operator_after_a_crash().await;
            kills += 1;
            let what = format!("write {write}, {}", if applied { "applied" } else { "never arrived" });
            let closed = scene.stage.closed(&format!("payments-2026.11.{number}-rv1")).await;
            assert_eq!(scene.whole(&release, &closed).await, undisturbed, "{what}");
            for (step, outcome) in crate::stage::outcomes(&closed).iter().enumerate() {
                assert!(outcome_may_differ(step).contains(&outcome.as_str()), "{what}: step {step} is {outcome}");
            }
        }
    }
    println!("kills across Gitea and NATS: {kills} of 10 converged; nothing twice, nothing lost");
    assert_eq!(kills, 10);
    operator.kill();
}
