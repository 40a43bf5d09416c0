//! A sandbox in this process and a plain HTTP client for it. Every reply is checked against the OpenAPI document.

use releaseclosure::sandbox::{self, Config, Handle, Role, Sandbox, Seed};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::openapi::Contract;

/// The closure marker that the tests send.
pub fn marker() -> Value {
    json!({"key": "load-00001@RR-load-00001@1", "uid": "uid-1"})
}

/// A handoff as it is announced under the marker's key.
/// What is told of a halt.
pub fn follow_up() -> Value {
    json!({"haltId": "h-0123456789abcdef0123", "closureKey": "r@RR@1", "packet": "h-0123456789abcdef0123",
        "namespace": "payments", "coordinator": null, "cause": "MilestoneRenamed", "link": "https://t.example.com/REL-1"})
}

pub fn handoff() -> Value {
    json!({"releaseId": "load-00001", "reviewVersion": "1", "service": "load", "closureKey": "load-00001@RR-load-00001@1",
        "coordinator": "release-coordinators", "links": [{"rel": "evidence", "url": "https://archive.example.com/load/00001/rv1"}]})
}

/// The evidence link that the tests attach.
pub fn link() -> Value {
    json!({"bundle": "load/00001/rv1", "digest": "sha256:00", "url": "https://archive.example.com/load/00001/rv1", "closure": marker()})
}

/// A listener on a port that was free.
pub async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// A sandbox and its client.
pub struct Bench {
    pub handle: Handle,
    client: reqwest::Client,
    contract: Contract,
    /// The `Authorization` to send, if any.
    pub authorization: Option<String>,
}

/// A reply, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.bytes)))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    pub fn etag(&self) -> &str {
        self.header("etag").expect("an ETag")
    }

    /// Panics unless this is a problem document with this status and code.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.bytes));
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)), "{problem}");
        assert_eq!(problem["type"], "about:blank");
        assert!(problem["title"].is_string() && problem["detail"].is_string());
    }
}

impl Bench {
    /// Three made-up releases, nothing special.
    pub async fn new() -> Bench {
        Bench::with(Config { seed: sandbox::generate(3), ..Config::default() }).await
    }

    pub async fn from_yaml(seed: &str) -> Bench {
        Bench::with(Config { seed: Seed::from_yaml(seed).expect("a good seed"), ..Config::default() }).await
    }

    pub async fn with(config: Config) -> Bench {
        let handle = sandbox::start(config, listener().await).await.expect("a sandbox");
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let client = client.retry(reqwest::retry::never()).build().expect("a client");
        Bench { handle, client, contract: Contract::load(), authorization: None }
    }

    pub fn sandbox(&self) -> &Sandbox {
        self.handle.sandbox()
    }

    /// A request to the contract; the reply, if there is one, is what the document says.
    pub async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Reply, reqwest::Error> {
        let url = format!("{}{path}", self.handle.endpoint());
        let mut request = self.client.request(Method::from_bytes(method.as_bytes()).expect("a method"), url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await?.to_vec();
        Ok(Reply { status, headers, bytes })
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Reply {
        let reply = self.try_send(method, path, headers, body).await.expect("a reply");
        if self.sandbox().faults().is_empty() {
            let text = String::from_utf8_lossy(&reply.bytes);
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{method} {path}");
            let checked = self.contract.reply(method, path, reply.status.as_u16(), &reply.headers, &reply.bytes);
            checked.unwrap_or_else(|problem| panic!("{method} {path} {}: {problem}\n{text}", reply.status));
        }
        reply
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], None).await
    }

    /// A change based on what the record is now.
    pub async fn patch(&self, path: &str, body: &Value) -> Reply {
        let etag = self.get(path).await.etag().to_owned();
        self.patch_if(path, &etag, body).await
    }

    pub async fn patch_if(&self, path: &str, etag: &str, body: &Value) -> Reply {
        self.send("PATCH", path, &patch_headers(etag), Some(body)).await
    }

    pub async fn post(&self, key: &str, body: &Value) -> Reply {
        self.send("POST", "/handoffs", &post_headers(key), Some(body)).await
    }

    /// A request to the admin API.
    pub async fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let url = format!("{}{path}", self.handle.url());
        let mut request = self.client.request(Method::from_bytes(method.as_bytes()).expect("a method"), url);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.expect("a reply");
        let (status, headers) = (response.status(), response.headers().clone());
        Reply { status, headers, bytes: response.bytes().await.expect("a body").to_vec() }
    }

    /// Sets one fault rule, over the admin API.
    pub async fn fault(&self, rule: Value) -> String {
        let reply = self.admin("POST", "/admin/faults", Some(&rule)).await;
        assert_eq!(reply.status, 201, "{}", reply.json());
        reply.json()["id"].as_str().expect("an id").to_owned()
    }

    /// The requests to the contract so far.
    pub fn log(&self) -> Vec<Value> {
        self.sandbox().requests(0).iter().map(|entry| json!(**entry)).collect()
    }

    /// The field of a record as the sandbox holds it.
    pub fn field(&self, role: Role, id: &str, pointer: &str) -> Value {
        let record = self.sandbox().record(role, id).expect("a record");
        record.value.pointer(pointer).cloned().unwrap_or(Value::Null)
    }
}

pub fn patch_headers(etag: &str) -> [(&str, &str); 2] {
    [("content-type", "application/merge-patch+json"), ("if-match", etag)]
}

pub fn post_headers(key: &str) -> [(&str, &str); 2] {
    [("content-type", "application/json"), ("idempotency-key", key)]
}

/// The body that closes a checklist.
pub fn close() -> Value {
    json!({"state": "Closed", "closure": marker()})
}
