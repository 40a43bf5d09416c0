//! Slack, against an emulation of it that keeps what is posted.
//!
//! The emulation takes its reading methods by POST alone, where Slack takes GET as well and recommends it; what stands before it here
//! turns the one into the other. A token that it does not know is a user's without scopes to it, and to Slack nobody's; that is
//! said here, too.

use crate::conformance::front::Front;
use crate::conformance::subject::{Adapter, Deed, Made, Part, Place, Release, Server, Truth};
use crate::fault_proxy::Answer;
use crate::systems::github::{BOT_TOKEN, Slack};
use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri, header};
use releaseclosure::closure::ids::System;
use releaseclosure::providers::Product;
use releaseclosure::providers::slack::allow_list;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The adapter.
pub struct Channels;

#[async_trait(?Send)]
impl Adapter for Channels {
    fn product(&self) -> &'static str {
        "slack"
    }
    fn against(&self) -> &'static str {
        "`emulate` 0.12.2, an emulation of Slack that keeps what is posted and checks scopes"
    }
    fn sends(&self) -> Vec<String> {
        allow_list().iter().map(|row| row.to_string()).collect()
    }
    fn systems(&self) -> &'static [System] {
        &[System::Intake]
    }
    async fn start(&self) -> Option<Box<dyn Server>> {
        let slack = Slack::start().await?;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let upstream = Upstream { base: slack.server.url(0), client: client() };
        let app = axum::Router::new().fallback(pass).with_state(upstream);
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Some(Box::new(Workspace { slack, url, task }))
    }
}

fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.timeout(Duration::from_secs(60)).build().expect("a client")
}

#[derive(Clone)]
struct Upstream {
    base: String,
    client: reqwest::Client,
}

/// A GET's query as a POST's form; the rest as it is.
async fn pass(State(upstream): State<Upstream>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let request = upstream.client.post(format!("{}{}", upstream.base, uri.path()));
    let token = headers.get(header::AUTHORIZATION).cloned();
    if token.as_ref().is_none_or(|token| token != &format!("Bearer {BOT_TOKEN}")) {
        let nobody = Response::builder().header(header::CONTENT_TYPE, "application/json; charset=utf-8");
        return nobody.body(Body::from(r#"{"ok":false,"error":"invalid_auth"}"#)).expect("a reply");
    }
    let mut request = match method {
        Method::GET => request
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(uri.query().unwrap_or_default().to_owned()),
        _ => request.header(header::CONTENT_TYPE, "application/json; charset=utf-8").body(body),
    };
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, token);
    }
    let reply = request.send().await.expect("it answers");
    let mut answer = Response::builder().status(reply.status());
    if let Some(media) = reply.headers().get(header::CONTENT_TYPE) {
        answer = answer.header(header::CONTENT_TYPE, media);
    }
    answer.body(Body::from(reply.bytes().await.expect("to its end"))).expect("a reply")
}

struct Workspace {
    slack: Slack,
    url: String,
    task: JoinHandle<()>,
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Slack's own word for an error is a 200, but for too many requests.
fn own(status: u16) -> Answer {
    let word = match status {
        401 => "invalid_auth",
        403 => "missing_scope",
        429 => return Answer::status(429).header("content-type", "application/json").body(r#"{"ok":false,"error":"ratelimited"}"#),
        500..600 => "internal_error",
        _ => "invalid_blocks",
    };
    let body = json!({"ok": false, "error": word}).to_string();
    Answer::status(200).header("content-type", "application/json; charset=utf-8").body(body)
}

#[async_trait]
impl Server for Workspace {
    async fn place(&self, _: Part, number: usize) -> Arc<dyn Place> {
        let admin = self.slack.admin.clone();
        let made = admin.post("/api/conversations.create", &json!({"name": format!("releases-{number}")})).await.expect(200);
        let channel = made["channel"]["id"].as_str().unwrap_or_else(|| panic!("no channel: {made}")).to_owned();
        let front = Front::before(&self.url).await.with_errors(own);
        Arc::new(Channel { front, admin, channel })
    }
}

struct Channel {
    front: Front,
    admin: crate::systems::http::Http,
    channel: String,
}

#[async_trait]
impl Place for Channel {
    fn front(&self) -> &Front {
        &self.front
    }
    fn product(&self) -> Product {
        let slack = json!({"endpoint": self.front.url(), "channel": self.channel,
            "tokenSecretRef": {"name": "slack", "key": "token"}});
        Product::Slack(Box::new(serde_json::from_value(slack).expect("settings")))
    }
    fn token(&self) -> String {
        BOT_TOKEN.to_owned()
    }
    async fn make(&self, _: &Release) -> Made {
        Made { id: String::new(), milestone: None }
    }
    async fn truth(&self, _: &Release, _: &Made) -> Truth {
        let ask = json!({"channel": self.channel, "include_all_metadata": true});
        let all = self.admin.post("/api/conversations.history", &ask).await.expect(200);
        let all = all["messages"].as_array().cloned().unwrap_or_default();
        let ours = |message: &&Value| message["metadata"]["event_payload"]["closureKey"].is_string();
        let marks = all.iter().filter(ours).count();
        Truth { done: marks > 0, marks, words: true }
    }
    async fn person(&self, _: &Release, _: &Made, deed: Deed) -> Result<(), &'static str> {
        match deed {
            Deed::Archive => {
                let archived = self.admin.post("/api/conversations.archive", &json!({"channel": self.channel})).await;
                assert_eq!(archived.expect(200)["ok"], true);
                Ok(())
            }
            Deed::Revoke => {
                // The emulation takes no token back; this is Slack's word for one that was.
                let revoked = Answer::status(200).header("content-type", "application/json; charset=utf-8");
                self.front.always(|_| true, revoked.body(r#"{"ok":false,"error":"token_revoked"}"#));
                Ok(())
            }
            Deed::Move | Deed::Lock => Err("a channel's id stays, and nobody locks a channel"),
            _ => Err("an intake holds what it was told, and nobody changes that"),
        }
    }
    fn not_allowed(&self) -> Vec<String> {
        self.front.not_on(allow_list(), "")
    }
}
