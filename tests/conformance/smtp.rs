//! Mail, against aiosmtpd.

use crate::conformance::front::Front;
use crate::conformance::subject::{Adapter, Deed, Made, Part, Place, Release, Server, Truth};
use crate::systems::smtp::{Asks, PASSWORD, Smtp, USER};
use async_trait::async_trait;
use releaseclosure::closure::ids::System;
use releaseclosure::providers::Product;
use releaseclosure::providers::smtp::allow_list;
use serde_json::json;
use std::sync::Arc;

/// The adapter.
pub struct Mails;

#[async_trait(?Send)]
impl Adapter for Mails {
    fn product(&self) -> &'static str {
        "smtp"
    }
    fn against(&self) -> &'static str {
        "aiosmtpd 1.4.6, which keeps what it takes"
    }
    fn sends(&self) -> Vec<String> {
        allow_list().iter().map(|(command, purpose)| format!("intake     SMTP  {command}   # {purpose}")).collect()
    }
    fn systems(&self) -> &'static [System] {
        &[System::Intake]
    }
    async fn start(&self) -> Option<Box<dyn Server>> {
        Some(Box::new(Running(Arc::new(Smtp::start(Asks::Login).await?))))
    }
}

struct Running(Arc<Smtp>);

/// Recipients of its own.
#[async_trait]
impl Server for Running {
    async fn place(&self, _: Part, number: usize) -> Arc<dyn Place> {
        let front = Front::before_smtp(&format!("127.0.0.1:{}", self.0.port())).await;
        Arc::new(Mailbox { smtp: self.0.clone(), front, to: format!("coordinator-{number}@example.test") })
    }
}

struct Mailbox {
    smtp: Arc<Smtp>,
    front: Front,
    to: String,
}

#[async_trait]
impl Place for Mailbox {
    fn front(&self) -> &Front {
        &self.front
    }
    fn product(&self) -> Product {
        let url = self.front.url();
        let (host, port) = url.trim_start_matches("smtp://").rsplit_once(':').expect("a port");
        let smtp = json!({"host": host, "port": port.parse::<u16>().expect("a number"), "encryption": "None", "user": USER,
            "passwordSecretRef": {"name": "smtp", "key": "password"}, "from": "closure@example.test", "to": [self.to]});
        Product::Smtp(Box::new(serde_json::from_value(smtp).expect("settings")))
    }
    fn token(&self) -> String {
        PASSWORD.to_owned()
    }
    async fn make(&self, _: &Release) -> Made {
        Made { id: String::new(), milestone: None }
    }
    async fn truth(&self, _: &Release, _: &Made) -> Truth {
        let marks = self.smtp.mails().iter().filter(|mail| mail.to.contains(&self.to)).count();
        Truth { done: marks > 0, marks, words: true }
    }
    async fn person(&self, _: &Release, _: &Made, deed: Deed) -> Result<(), &'static str> {
        Err(match deed {
            Deed::Revoke | Deed::WithdrawReading | Deed::WithdrawWriting => {
                "users are the server's settings; one that is not let in is the case above"
            }
            Deed::Move | Deed::Archive | Deed::Lock => "the protocol knows no such state",
            _ => "a mail that was delivered is nobody's to change",
        })
    }
    fn not_allowed(&self) -> Vec<String> {
        // What follows DATA is the mail's text.
        self.front.other_than(|asked| {
            asked.method == "TEXT" || allow_list().iter().any(|(command, _)| command.starts_with(asked.method.as_str()))
        })
    }
}
