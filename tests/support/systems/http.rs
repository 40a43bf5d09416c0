//! A plain HTTP client for tests: it says what it got, follows nothing and believes nothing.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::Value;
use std::time::Duration;

/// A client that stands at one base URL and has its headers.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    base: String,
    headers: Vec<(String, String)>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as text.
    pub text: String,
}

impl Http {
    /// One without headers.
    pub fn new(base: impl Into<String>) -> Http {
        // A server closes what was idle for as long as it likes, be it while the next request is on its way.
        let client = Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(120))
            .build()
            .expect("a client");
        Http { client, base: base.into(), headers: Vec::new() }
    }

    /// The same with one header more, or another value for it.
    pub fn with(&self, name: &str, value: &str) -> Http {
        let mut other = self.clone();
        other.headers.retain(|(kept, _)| !kept.eq_ignore_ascii_case(name));
        other.headers.push((name.to_owned(), value.to_owned()));
        other
    }

    /// The same at another base URL: at a proxy's, for instance.
    pub fn at(&self, base: &str) -> Http {
        Http { base: base.to_owned(), ..self.clone() }
    }

    /// The host of its base URL, with the port.
    pub fn host(&self) -> &str {
        self.base.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default()
    }

    /// A request that has no reply is an error.
    pub async fn try_send(
        &self,
        method: &str,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<Reply, reqwest::Error> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let mut request = self.client.request(method, url).body(body);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Reply { status, headers, text: response.text().await? })
    }

    /// A request, whatever comes back.
    pub async fn send(&self, method: &str, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        let reply = self.try_send(method, path, body).await;
        reply.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"))
    }

    /// A request without a body.
    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "").await
    }

    /// A request with a JSON body.
    pub async fn json(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.with("content-type", "application/json").send(method, path, body.to_string()).await
    }

    /// A POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.json("POST", path, body).await
    }

    /// A PATCH with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.json("PATCH", path, body).await
    }

    /// A PUT with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Reply {
        self.json("PUT", path, body).await
    }
}

impl Reply {
    /// The body, if it is JSON; else null.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// One header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The JSON of a reply that must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }
}
