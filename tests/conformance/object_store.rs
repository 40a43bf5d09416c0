//! Evidence in a bucket: one for each cell, with object lock, and somebody who may read it.

use crate::conformance::front::Front;
use crate::conformance::subject::{Adapter, Deed, Made, Part, Place, Release, Server, Truth};
use crate::fault_proxy::Answer;
use crate::systems::s3::{Held, REGION, ROOT, S3};
use async_trait::async_trait;
use base64::Engine as _;
use regex::Regex;
use releaseclosure::closure::ids::System;
use releaseclosure::providers::object_store::allow_list;
use releaseclosure::providers::{Product, Secrets};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What the sign-off says.
const SIGNED: &str = "signed — Kim\n";

/// The adapter.
pub struct Buckets;

#[async_trait(?Send)]
impl Adapter for Buckets {
    fn product(&self) -> &'static str {
        "objectStore"
    }
    fn against(&self) -> &'static str {
        "versitygw 1.8.0, versions and object lock on"
    }
    fn systems(&self) -> &'static [System] {
        &[System::Archive]
    }
    fn sends(&self) -> Vec<String> {
        allow_list().iter().map(|row| row.to_string()).collect()
    }
    async fn start(&self) -> Option<Box<dyn Server>> {
        Some(Box::new(Running(Arc::new(S3::start().await?))))
    }
}

struct Running(Arc<S3>);

#[async_trait]
impl Server for Running {
    async fn place(&self, _part: Part, number: usize) -> Arc<dyn Place> {
        let (s3, name) = (self.0.clone(), format!("evidence-{number}"));
        s3.bucket(&name, true).await;
        let (reader, secret) = (format!("reader-{number}"), format!("secret-of-reader-{number}"));
        s3.person(&reader, &secret).await;
        let front = Front::before(&s3.url()).await.with_errors(error);
        let bucket = Bucket { s3, front, name, reader, secret };
        bucket.permit(&["s3:GetObject"]).await;
        Arc::new(bucket)
    }
}

/// S3's own word for an error.
fn error(status: u16) -> Answer {
    let code = match status {
        403 => "AccessDenied",
        503 => "SlowDown",
        _ => "Injected",
    };
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code></Error>");
    Answer::status(status).header("content-type", "application/xml").body(body)
}

struct Bucket {
    s3: Arc<S3>,
    front: Front,
    name: String,
    reader: String,
    secret: String,
}

fn sha256(content: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

fn manifest(release: &Release) -> String {
    let artifact = json!({"name": "sign-off.txt", "kind": "sign-off", "digest": sha256(SIGNED), "size": SIGNED.len()});
    json!({"bundle": release.bundle(), "release": {"id": release.id}, "review": {"version": release.review_version},
        "artifacts": [artifact], "url": format!("https://archive.example.com/{}", release.bundle())})
    .to_string()
}

impl Bucket {
    fn held(&self) -> Held<'_> {
        self.s3.held(&self.name, ROOT)
    }

    fn key(release: &Release, name: &str) -> String {
        format!("releases/{}/{name}", release.bundle())
    }

    /// What the reader may do with objects; besides that, they may list the bucket.
    async fn permit(&self, objects: &[&str]) {
        let bucket = format!("arn:aws:s3:::{}", self.name);
        let whom = json!({"AWS": [self.reader]});
        let mut statements = vec![json!({"Effect": "Allow", "Principal": whom, "Action": ["s3:ListBucket"], "Resource": [bucket]})];
        if !objects.is_empty() {
            let below = format!("{bucket}/releases/*");
            statements.push(json!({"Effect": "Allow", "Principal": whom, "Action": objects, "Resource": [below]}));
        }
        let policy: Value = json!({"Version": "2012-10-17", "Statement": statements});
        let set = self.held().put_below("", &[("policy", "")], &[], &policy.to_string()).await;
        assert!(matches!(set.status, 200 | 204), "{}", set.text);
    }
}

#[async_trait]
impl Place for Bucket {
    fn front(&self) -> &Front {
        &self.front
    }
    fn product(&self) -> Product {
        let secret = json!({"name": "s3", "key": "key"});
        let s3 = json!({"endpoint": self.front.url(), "region": REGION, "bucket": self.name, "prefix": "releases/",
            "pathStyle": true, "accessKeySecretRef": secret, "secretKeySecretRef": secret});
        Product::of_spec(&json!({"objectStore": {"s3": s3}})).expect("settings")
    }
    fn token(&self) -> String {
        self.secret.clone()
    }
    fn secrets(&self, token: &str) -> Secrets {
        let mut secrets = Secrets::default();
        secrets.insert("accessKey", self.reader.as_str().into());
        secrets.insert("secretKey", token.into());
        secrets
    }
    fn digest(&self, release: &Release) -> Option<String> {
        Some(sha256(&manifest(release)))
    }

    async fn make(&self, release: &Release) -> Made {
        for (name, content) in [("sign-off.txt", SIGNED), ("manifest.json", &manifest(release))] {
            let put = self.held().put(&Self::key(release, name), &[], content).await;
            assert_eq!(put.status, 200, "{}", put.text);
        }
        Made { id: release.bundle(), milestone: None }
    }

    async fn truth(&self, release: &Release, _made: &Made) -> Truth {
        let kept = self.held().get(&Self::key(release, "sign-off.txt"), &[], &[]).await;
        Truth { done: false, marks: 0, words: kept.text == SIGNED }
    }

    async fn person(&self, release: &Release, _made: &Made, deed: Deed) -> Result<(), &'static str> {
        match deed {
            Deed::Remove => {
                let gone = self.held().delete(&Self::key(release, "manifest.json"), &[]).await;
                assert_eq!(gone.status, 204, "{}", gone.text);
            }
            Deed::Lock => {
                let hold = "<LegalHold><Status>ON</Status></LegalHold>";
                let key = Self::key(release, "manifest.json");
                let sum = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(hold));
                let headers = [("x-amz-checksum-sha256", sum.as_str())];
                let held = self.held().put_below(&key, &[("legal-hold", "")], &headers, hold).await;
                assert_eq!(held.status, 200, "{}", held.text);
            }
            Deed::WithdrawReading => self.permit(&[]).await,
            Deed::Revoke => self.s3.dismiss(&self.reader).await,
            Deed::Rename => return Err("the record has no milestone"),
            Deed::Duplicate | Deed::Crowd => return Err("the record is always named"),
            Deed::Archive => return Err("an object in cold storage is there, and says its size and checksum"),
            Deed::Edit | Deed::DoIt | Deed::Move | Deed::WithdrawWriting | Deed::Own(_) => {
                return Err("nothing is ever written");
            }
        }
        Ok(())
    }

    fn not_allowed(&self) -> Vec<String> {
        let below = format!("/{}/releases/", self.name);
        let rows = allow_list().iter().map(|row| {
            let (method, path) = row.pair();
            let (file, question) = match path {
                "/{manifest}" => (".+/(manifest\\.json|sign-off\\.txt)", ""),
                "/{artifact}" => (".+/sign-off\\.txt", ""),
                other => ("", other.trim_start_matches("/?")),
            };
            let path = Regex::new(&format!("^{}{file}$", regex::escape(&below))).expect("a pattern");
            (method, path, question)
        });
        let rows: Vec<(&str, Regex, &str)> = rows.collect();
        // Who asks is shown in headers, and in the query by nothing but a signature.
        self.front.other_than(|asked| {
            let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
            let asks = |question: &str| {
                let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
                names.filter(|name| !name.starts_with("X-Amz-")).all(|name| name == question)
            };
            asked.body.is_empty()
                && rows.iter().any(|(method, file, question)| {
                    *method == asked.method && file.is_match(path) && asks(question)
                })
        })
    }
}
