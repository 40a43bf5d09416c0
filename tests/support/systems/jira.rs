//! Jira: an emulation of our own keeps state (`tests/systems/jira/emulation.mjs`); in front of it the vendor's own description holds
//! requests and replies of the cloud to what it says.

use super::github::{node_program, prism};
use super::http::Http;
use super::process::Running;
use super::{repository, require};
use serde_json::{Value, json};

/// What the operator's user may do in a project.
pub const CLOSER: [&str; 3] = ["BROWSE_PROJECTS", "TRANSITION_ISSUES", "LINK_ISSUES"];

/// The emulation, and in front of it the description.
pub struct Jira {
    /// The description; a Data Center has none.
    front: Option<Running>,
    behind: Running,
    /// What people and administrators do.
    pub people: Http,
}

impl Jira {
    /// Starts one of the cloud; none where it is not built.
    pub async fn cloud() -> Option<Jira> {
        let built = require("github")?;
        let (behind, people) = emulation("cloud").await;
        let front = prism(&built, "prism-jira", "jira-subset.json", Some(&behind.url(0))).await;
        Some(Jira { front: Some(front), behind, people })
    }

    /// Starts one of a Data Center, of whose API there is no description; none where it is not built.
    pub async fn data_center() -> Option<Jira> {
        require("github")?;
        let (behind, people) = emulation("datacenter").await;
        Some(Jira { front: None, behind, people })
    }

    /// Where adapters speak to it.
    pub fn url(&self) -> String {
        self.front.as_ref().unwrap_or(&self.behind).url(0)
    }

    /// Without the description, which knows version 3 alone.
    pub fn url_behind(&self) -> String {
        self.behind.url(0)
    }

    /// What somebody does there.
    pub async fn deed(&self, method: &str, what: &str, body: Value) -> Value {
        deed(&self.people, method, what, body).await
    }

    /// A project, and a token of its own for it.
    pub async fn project(&self, key: &str, token: &str, user: &str) {
        let project = self.deed("POST", "projects", json!({"key": key})).await;
        let id = project["id"].as_str().expect("an id").to_owned();
        self.deed("POST", "tokens", json!({"token": token, "user": user, "may": {id: CLOSER}})).await;
    }
}

/// What somebody does there.
pub async fn deed(people: &Http, method: &str, what: &str, body: Value) -> Value {
    let reply = people.json(method, &format!("/-/{what}"), &body).await;
    assert_eq!(reply.status, 200, "{method} {what}: {}", reply.text);
    reply.json()
}

async fn emulation(deployment: &str) -> (Running, Http) {
    let built = require("github").expect("it was there a moment ago");
    let mut server = Running::prepare("jira", 1);
    let port = server.port(0).to_string();
    let script = repository("tests/systems/jira/emulation.mjs");
    let launch = node_program(&built).arg(script).args([&port, deployment]);
    let people = Http::new(server.url(0));
    let probe = people.clone();
    server.launch(launch, async || probe.try_send("GET", "/nothing", "").await.is_ok()).await;
    (server, people)
}
