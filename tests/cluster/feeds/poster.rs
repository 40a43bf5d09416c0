//! Whoever posts events: signs them as the formats say, or not.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::Value;
use std::time::{Duration, Instant};

/// The secret that feeds of tests believe.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// One sender to one feed.
#[derive(Clone)]
pub struct Poster {
    pub url: String,
    secret: String,
    client: reqwest::Client,
    /// Sent along, and signed by nobody.
    pub traceparent: Option<String>,
}

pub fn now() -> i64 {
    Timestamp::now().as_second()
}

/// A count in a feed's status.
pub fn count(status: &Value, outcome: &str) -> i64 {
    let counts = status["counts"].as_array().into_iter().flatten();
    counts.filter(|count| count["outcome"] == outcome).filter_map(|count| count["count"].as_i64()).sum()
}

/// A client with everything settled.
pub fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    builder.timeout(Duration::from_secs(30)).build().unwrap()
}

impl Poster {
    pub fn new(url: String) -> Poster {
        Poster { url, secret: SECRET.to_owned(), client: client(), traceparent: None }
    }

    pub fn with_secret(mut self, secret: &str) -> Poster {
        secret.clone_into(&mut self.secret);
        self
    }

    /// Posts it, signed as Standard Webhooks has it.
    pub async fn standard(&self, id: &str, time: i64, body: &str) -> u16 {
        self.try_standard(id, time, body).await.expect("an answer")
    }

    pub async fn try_standard(&self, id: &str, time: i64, body: &str) -> Option<u16> {
        let key = BASE64.decode(self.secret.trim_start_matches("whsec_")).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let signature = BASE64.encode(hmac::sign(&key, format!("{id}.{time}.{body}").as_bytes()));
        self.signed(id, time, &format!("v1,{signature}"), body).await
    }

    /// Posts it with a signature that is none of ours.
    pub async fn forged(&self, id: &str, time: i64, body: &str) -> u16 {
        let signature = BASE64.encode([7; 32]);
        self.signed(id, time, &format!("v1,{signature}"), body).await.expect("an answer")
    }

    async fn signed(&self, id: &str, time: i64, signature: &str, body: &str) -> Option<u16> {
        let headers = [("webhook-id", id), ("webhook-timestamp", &time.to_string()), ("webhook-signature", signature)];
        self.post(&headers, body).await
    }

    /// Posts it as GitHub does.
    pub async fn github(&self, body: &str) -> u16 {
        self.try_github(body).await.expect("an answer")
    }

    pub async fn try_github(&self, body: &str) -> Option<u16> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let signature = format!("sha256={}", hex::encode(hmac::sign(&key, body.as_bytes())));
        self.post(&[("x-hub-signature-256", &signature)], body).await
    }

    async fn post(&self, headers: &[(&str, &str)], body: &str) -> Option<u16> {
        let mut request = self.client.post(&self.url).header("content-type", "application/json").body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(traceparent) = &self.traceparent {
            request = request.header("traceparent", traceparent);
        }
        let reply = request.send().await.ok()?;
        let status = reply.status().as_u16();
        assert_eq!(reply.text().await.unwrap_or_default(), "", "no answer says why");
        Some(status)
    }

    /// Posts it as a good sender does: again until it is answered with something else than "later".
    pub async fn until_answered(&self, id: &str, body: &str) -> u16 {
        let start = Instant::now();
        loop {
            if let Some(status) = self.try_standard(id, now(), body).await.filter(|status| *status != 503) {
                return status;
            }
            assert!(start.elapsed() < crate::stage::PATIENCE, "{id} is not answered");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
