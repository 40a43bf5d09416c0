//! One release closed across products, and one halted because its milestone was renamed; told as it happens.

use super::scene::{MILESTONE, Scene};
use crate::stage::{outcomes, ready};
use serde_json::json;

fn say(text: &str) {
    println!("\n== {text}");
}

async fn tell_issues(scene: &Scene, issues: [i64; 3]) {
    for (what, number) in ["checklist", "tracker", "queue"].into_iter().zip(issues) {
        let issue = scene.repository().get(&format!("issues/{number}")).await;
        println!(
            "   {what}: {} ({})",
            issue["html_url"].as_str().unwrap_or_default(),
            issue["state"].as_str().unwrap_or_default()
        );
        for line in issue["body"].as_str().unwrap_or_default().lines().filter(|line| !line.is_empty()) {
            println!("      | {line}");
        }
        for entry in scene.repository().history(number).await {
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            println!(
                "      {} {} by {}",
                text("created_at"),
                text("type"),
                entry["user"]["login"].as_str().unwrap_or_default()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_closed_across_products_and_one_whose_milestone_was_renamed_halts() {
    say(
        "Starting Gitea (checklist, tracker, queue), an S3 server (archive), NATS (intake), the sandbox (governance), an API server",
    );
    let Some(scene) = Scene::new("products-story").await else { return };
    let _operator = scene.stage.operator().await;
    println!("   Gitea {}, S3 {}, NATS {}", scene.gitea.url(), scene.s3.url(), scene.nats.url());

    say("A review was accepted: its closure is created");
    let release = scene.ready(1).await;
    let name = scene.close(1).await;
    let closed = scene.stage.closed(&name).await;
    assert_eq!(outcomes(&closed), ["Changed"; 5]);
    println!("   {name}: {} {}", ready(&closed).1, outcomes(&closed).join(", "));
    for step in closed.status.iter().flat_map(|status| &status.steps) {
        println!(
            "   {}: record {} {}",
            step.name,
            step.record.as_deref().unwrap_or("-"),
            step.reference.as_deref().unwrap_or("")
        );
    }
    tell_issues(&scene, release.issues).await;
    let whole = scene.whole(&release, &closed).await;
    assert_eq!(whole["handoffs"].as_array().map(Vec::len), Some(1), "{whole}");
    let text = whole["issues"][1]["text"].as_str().unwrap_or_default();
    assert!(text.contains("### Status\n\nApproved\n") && text.contains("By hand: *do not lose me*"), "{text}");
    assert!(text.contains("](<https://archive.example.com/BUNDLE/rv1/>) `DIGEST`"), "{text}");
    assert_eq!((&whole["issues"][0]["state"], &whole["issues"][2]["state"]), (&json!("closed"), &json!("closed")));
    println!("   the handoff in NATS: {}", whole["handoffs"][0]);

    say("Somebody renames the milestone in Gitea, and another review is accepted");
    let release = scene.ready(2).await;
    scene.repository().edit(&format!("milestones/{}", scene.milestone), &json!({"title": "2026.12"})).await;
    let name = scene.close(2).await;
    let (halted, packet) = scene.stage.halted(&name).await;
    assert_eq!(ready(&halted).1, "MilestoneRenamed");
    println!("   {name}: {}", ready(&halted).1);
    for finding in &packet.spec.findings {
        println!(
            "   {} {} {}: expected {}, observed {}",
            finding.system,
            finding.record.as_deref().unwrap_or("-"),
            finding.field,
            finding.expected,
            finding.observed
        );
    }
    for line in &packet.spec.instructions {
        println!("   > {line}");
    }
    let whole = scene.whole(&release, &halted).await;
    assert!(whole["issues"].as_array().into_iter().flatten().all(|issue| issue["state"] == "open"), "{whole}");
    assert_eq!(whole["handoffs"], json!([]));
    scene.repository().edit(&format!("milestones/{}", scene.milestone), &json!({"title": MILESTONE})).await;

    say("The name is put back, and the coordinator resumes");
    scene.stage.resolve(&packet, "Resume", None).await;
    let closed = scene.stage.closed(&name).await;
    println!("   {name}: {} {}", ready(&closed).1, outcomes(&closed).join(", "));
}
