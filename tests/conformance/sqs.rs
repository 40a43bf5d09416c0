//! SQS, as moto plays it, which knows users and works out each signature itself: a queue and a user for each cell.

use crate::conformance::bodies;
use crate::conformance::front::Front;
use crate::conformance::subject::{Adapter, Deed, Made, Part, Place, Release, Server, Truth};
use crate::conformance::table;
use crate::fault_proxy::Answer;
use crate::systems::sqs::Sqs;
use crate::systems::sqs_people::{Admin, Keys, REGION};
use async_trait::async_trait;
use releaseclosure::closure::ids::System;
use releaseclosure::providers::sqs::allow_list;
use releaseclosure::providers::{Product, Secrets};
use serde_json::{Value, json};
use std::sync::Arc;

const ACTIONS: [&str; 2] = ["sqs:SendMessage", "sqs:GetQueueAttributes"];

/// The adapter.
pub struct Queues;

#[async_trait(?Send)]
impl Adapter for Queues {
    fn product(&self) -> &'static str {
        "sqs"
    }
    fn against(&self) -> &'static str {
        "moto 5.2.5, which works out signatures itself and asks policies; its refusals of a signature are XML"
    }
    fn sends(&self) -> Vec<String> {
        allow_list().iter().map(|row| row.to_string()).collect()
    }
    fn systems(&self) -> &'static [System] {
        &[System::Intake]
    }
    async fn start(&self) -> Option<Box<dyn Server>> {
        let sqs = Sqs::start().await?;
        let admin = Admin::of(&sqs).await;
        Some(Box::new(Running(Arc::new(Account { sqs, admin }))))
    }
}

struct Account {
    sqs: Sqs,
    admin: Admin,
}

struct Running(Arc<Account>);

#[async_trait]
impl Server for Running {
    async fn place(&self, _: Part, number: usize) -> Arc<dyn Place> {
        let (account, name) = (self.0.clone(), format!("handoffs-{number}"));
        let queue = json!({"QueueName": format!("{name}.fifo"), "Attributes": {"FifoQueue": "true"}});
        let made = account.admin.call("CreateQueue", &queue).await;
        let url = made["QueueUrl"].as_str().expect("a URL").to_owned();
        let keys = account.admin.user(&name, &ACTIONS).await;
        let front = Front::before(&account.sqs.url()).await.with_errors(own);
        // It asks by POST, too.
        let front = front.with_writes(|asked| {
            asked.headers.get("x-amz-target").is_some_and(|target| target == "AmazonSQS.SendMessage")
        });
        Arc::new(Queue { account, front, name, url, keys })
    }
}

/// SQS's own word for an error, with the status that it has there.
fn own(status: u16) -> Answer {
    let (status, word) = match status {
        403 => (400, "AccessDeniedException"),
        429 => (429, "RequestThrottled"),
        500 => (500, "InternalFailure"),
        503 => (503, "ServiceUnavailable"),
        other => (other, "UnsupportedOperation"),
    };
    let body = json!({"__type": format!("com.amazonaws.sqs#{word}"), "message": "injected"}).to_string();
    Answer::status(status).header("content-type", "application/x-amz-json-1.0").body(body)
}

struct Queue {
    account: Arc<Account>,
    front: Front,
    name: String,
    url: String,
    keys: Keys,
}

#[async_trait]
impl Place for Queue {
    fn front(&self) -> &Front {
        &self.front
    }
    fn product(&self) -> Product {
        let secret = json!({"name": "sqs", "key": "key"});
        let queue = self.url.replace(&self.account.sqs.url(), &self.front.url());
        let sqs = json!({"queueUrl": queue, "region": REGION, "accessKeySecretRef": secret, "secretKeySecretRef": secret});
        Product::of_spec(&json!({ "sqs": sqs })).expect("settings")
    }
    fn token(&self) -> String {
        self.keys.secret.clone()
    }
    fn secrets(&self, token: &str) -> Secrets {
        let mut secrets = Secrets::default();
        secrets.insert("accessKey", self.keys.id.as_str().into());
        secrets.insert("secretKey", token.into());
        secrets
    }
    async fn make(&self, _: &Release) -> Made {
        Made { id: String::new(), milestone: None }
    }
    async fn truth(&self, release: &Release, _: &Made) -> Truth {
        let ask = json!({"QueueUrl": self.url, "MaxNumberOfMessages": 10, "AttributeNames": ["All"], "VisibilityTimeout": 0});
        let got = self.account.admin.call("ReceiveMessage", &ask).await;
        let all = got["Messages"].as_array().cloned().unwrap_or_default();
        let ours = |message: &&Value| {
            let body: Value = serde_json::from_str(message["Body"].as_str().expect("a body")).expect("JSON");
            let group = &message["Attributes"]["MessageGroupId"];
            body["closureKey"].is_string() && (*group == release.id || *group == body["haltId"])
        };
        let marks = all.iter().filter(ours).count();
        Truth { done: marks > 0, marks, words: marks == all.len() }
    }
    async fn person(&self, _: &Release, _: &Made, deed: Deed) -> Result<(), &'static str> {
        match deed {
            Deed::WithdrawWriting => self.account.admin.permit(&self.name, &ACTIONS[1..]).await,
            Deed::Revoke => self.account.admin.revoke(&self.name, &self.keys).await,
            Deed::Move | Deed::Archive | Deed::Lock => return Err("a queue is there or is not, and has no such state"),
            _ => return Err("an intake holds what it was told, and nobody changes that"),
        }
        Ok(())
    }
    fn not_allowed(&self) -> Vec<String> {
        // A row's action is the first word of what it is for.
        let rows = allow_list().iter().filter_map(|row| {
            Some((format!("AmazonSQS.{}", table::action(&row.to_string())?), row.body()))
        });
        let rows: Vec<(String, &str)> = rows.collect();
        assert_eq!(rows.len(), allow_list().len(), "a row without its action");
        let targets = self.front.other_than(|asked| {
            let of = |(action, body): &(String, &str)| {
                asked.headers.get("x-amz-target").is_some_and(|target| target == action) && bodies::fits(body, &asked.text())
            };
            rows.iter().any(of)
        });
        self.front.not_on(allow_list(), "").into_iter().chain(targets).collect()
    }
}
