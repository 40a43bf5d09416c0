//! Who may do what in moto, from the moment that it is told to look: users, their keys and policies, and signatures that it works
//! out itself, with botocore.

use super::http::{Http, Reply};
use super::sqs::Sqs;
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The region that everything is in.
pub const REGION: &str = "us-east-1";

/// An access key, and its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The key's id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

/// Somebody who may do everything, in a moto that looks who asks.
pub struct Admin {
    client: Http,
    keys: Keys,
}

/// What is between two marks of a text.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let rest = text.split_once(begin).unwrap_or_else(|| panic!("no {begin} in {text}")).1;
    rest.split_once(end).expect("its end").0
}

impl Admin {
    /// Makes the one, and has moto look from then on.
    pub async fn of(sqs: &Sqs) -> Admin {
        let client = Http::new(sqs.url());
        let nobody = Keys { id: "nobody".to_owned(), secret: "none".to_owned() };
        let mut admin = Admin { client, keys: nobody };
        admin.keys = admin.user("admin", &["*"]).await;
        let looks = admin.client.with("content-type", "text/plain").send("POST", "/moto-api/reset-auth", "0").await;
        assert_eq!(looks.status, 200, "{}", looks.text);
        admin
    }

    /// Somebody new who may do this, with a key.
    pub async fn user(&self, name: &str, actions: &[&str]) -> Keys {
        self.iam(&[("Action", "CreateUser"), ("UserName", name)]).await;
        self.permit(name, actions).await;
        let made = self.iam(&[("Action", "CreateAccessKey"), ("UserName", name)]).await;
        let id = between(&made, "<AccessKeyId>", "<").to_owned();
        Keys { id, secret: between(&made, "<SecretAccessKey>", "<").to_owned() }
    }

    /// What they may do from now on.
    pub async fn permit(&self, name: &str, actions: &[&str]) {
        let statement = json!({"Effect": "Allow", "Action": actions, "Resource": "*"});
        let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        let put = [("Action", "PutUserPolicy"), ("UserName", name), ("PolicyName", "all"), ("PolicyDocument", &policy)];
        self.iam(&put).await;
    }

    /// Takes a key away.
    pub async fn revoke(&self, name: &str, keys: &Keys) {
        self.iam(&[("Action", "DeleteAccessKey"), ("UserName", name), ("AccessKeyId", &keys.id)]).await;
    }

    async fn iam(&self, form: &[(&str, &str)]) -> String {
        let form = [("Version", "2010-05-08")].iter().chain(form);
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        // It signs what it has read and written again, as Python does.
        let body = body.replace('*', "%2A");
        let media_type = "application/x-www-form-urlencoded";
        let reply = self.send("iam", &self.client.with("content-type", media_type), body).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.text
    }

    /// One call of SQS.
    pub async fn call(&self, action: &str, body: &Value) -> Value {
        let client = self.client.with("content-type", "application/x-amz-json-1.0");
        self.send("sqs", &client.with("x-amz-target", &format!("AmazonSQS.{action}")), body.to_string())
            .await
            .expect(200)
    }

    async fn send(&self, service: &str, client: &Http, body: String) -> Reply {
        let date = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let host = self.client.host();
        let digest = hex::encode(Sha256::digest(&body));
        let canonical = format!("POST\n/\n\nhost:{host}\nx-amz-date:{date}\n\nhost;x-amz-date\n{digest}");
        let scope = [&date[..8], REGION, service, "aws4_request"];
        let asked =
            format!("AWS4-HMAC-SHA256\n{date}\n{}\n{}", scope.join("/"), hex::encode(Sha256::digest(canonical)));
        let mut key = format!("AWS4{}", self.keys.secret).into_bytes();
        for part in scope.into_iter().chain([asked.as_str()]) {
            key = sign(&Key::new(HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
        }
        let shown = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders=host;x-amz-date, Signature={}",
            self.keys.id,
            scope.join("/"),
            hex::encode(key)
        );
        client.with("x-amz-date", &date).with("authorization", &shown).send("POST", "/", body).await
    }
}
