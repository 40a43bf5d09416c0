//! Amazon SQS as moto plays it: complete in its calls, FIFO queues with deduplication. It does not check signatures
//! before it is told to (`super::sqs_people`).

use super::http::{Http, Reply};
use super::process::{Launch, Running};
use super::require;
use serde_json::{Value, json};

/// An SQS server that runs.
pub struct Sqs {
    /// The process.
    pub server: Running,
    client: Http,
}

impl Sqs {
    /// Starts one without queues; none where it is not built.
    pub async fn start() -> Option<Sqs> {
        let built = require("sqs")?;
        let mut server = Running::prepare("sqs", 1);
        let port = server.port(0).to_string();
        let launch =
            Launch::of(built.join("venv/bin/python")).args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port]);
        let client = Http::new(server.url(0));
        let ready =
            async || client.try_send("GET", "/moto-api/data.json", "").await.is_ok_and(|reply| reply.status == 200);
        server.launch(launch, ready).await;
        Some(Sqs { client: client.with("authorization", AUTHORIZATION), server })
    }

    /// Its endpoint.
    pub fn url(&self) -> String {
        self.server.url(0)
    }

    /// One call in the JSON protocol, whatever comes back.
    pub async fn call(&self, action: &str, body: &Value) -> Reply {
        let client = self.client.with("x-amz-target", &format!("AmazonSQS.{action}"));
        client.with("content-type", "application/x-amz-json-1.0").send("POST", "/", body.to_string()).await
    }

    /// A new FIFO queue; gives its URL.
    pub async fn fifo(&self, name: &str) -> String {
        let queue = json!({"QueueName": format!("{name}.fifo"), "Attributes": {"FifoQueue": "true"}});
        let made = self.call("CreateQueue", &queue).await.expect(200);
        made["QueueUrl"].as_str().expect("a URL").to_owned()
    }

    /// What can be received of a queue now, at most ten.
    pub async fn receive(&self, queue: &str) -> Vec<Value> {
        let ask =
            json!({"QueueUrl": queue, "MaxNumberOfMessages": 10, "AttributeNames": ["All"], "VisibilityTimeout": 0});
        let got = self.call("ReceiveMessage", &ask).await.expect(200);
        got["Messages"].as_array().cloned().unwrap_or_default()
    }
}

/// It reads the region out of it, and no more.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, \
                             Signature=0000000000000000000000000000000000000000000000000000000000000000";
