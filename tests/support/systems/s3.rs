//! A real S3 server: versitygw on a directory, with versions and object lock.

use super::http::{Http, Reply};
use super::process::{Launch, Running};
use super::require;
use rusty_s3::actions::{CreateBucket, DeleteObject, GetObject, HeadObject, PutObject, S3Action};
use rusty_s3::{Bucket, Credentials, UrlStyle};
use std::time::Duration;

/// The administrator's access key and secret.
pub const ROOT: (&str, &str) = ("root-access-key", "root-secret-key");
/// The region that it says it is in.
pub const REGION: &str = "us-east-1";

/// An S3 server that runs.
pub struct S3 {
    /// The process.
    pub server: Running,
    http: Http,
    versitygw: std::path::PathBuf,
}

/// What a request may have besides its key.
pub type Pairs<'a> = &'a [(&'a str, &'a str)];

impl S3 {
    /// Starts one without buckets; none where it is not built.
    pub async fn start() -> Option<S3> {
        let built = require("versitygw")?;
        let versitygw = built.join("bin/versitygw");
        let mut server = Running::prepare("versitygw", 1);
        let home = server.home().to_owned();
        for directory in ["data", "versions", "people"] {
            std::fs::create_dir(home.join(directory)).expect("writable");
        }
        let address = format!("127.0.0.1:{}", server.port(0));
        let launch = Launch::of(&versitygw)
            .env("ROOT_ACCESS_KEY", ROOT.0)
            .env("ROOT_SECRET_KEY", ROOT.1)
            .args(["--quiet", "--port", &address, "--region", REGION, "--health", "/health", "--iam-dir"])
            .arg(home.join("people"))
            .args(["posix", "--versioning-dir"])
            .arg(home.join("versions"))
            .arg(home.join("data"));
        let http = Http::new(server.url(0));
        let ready = async || http.try_send("GET", "/health", "").await.is_ok_and(|reply| reply.status == 200);
        server.launch(launch, ready).await;
        Some(S3 { server, http, versitygw })
    }

    /// Its endpoint.
    pub fn url(&self) -> String {
        self.server.url(0)
    }

    /// A new bucket with versions; with object lock, if wanted.
    pub async fn bucket(&self, name: &str, lock: bool) -> Held<'_> {
        let held = self.held(name, ROOT);
        let mut create = CreateBucket::new(&held.bucket, &held.credentials);
        if lock {
            create.headers_mut().insert("x-amz-bucket-object-lock-enabled", "true");
        }
        let headers: &[_] = if lock { &[("x-amz-bucket-object-lock-enabled", "true")] } else { &[] };
        let made = held.send("PUT", &create, headers, "").await;
        assert_eq!(made.status, 200, "{}", made.text);
        if !lock {
            let versions = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
            let set = held.put_below("", &[("versioning", "")], &[], versions).await;
            assert_eq!(set.status, 200, "{}", set.text);
        }
        held
    }

    /// A bucket as somebody sees it.
    pub fn held(&self, name: &str, who: (&str, &str)) -> Held<'_> {
        let endpoint = self.url().parse().expect("a URL");
        let bucket = Bucket::new(endpoint, UrlStyle::Path, name.to_owned(), REGION).expect("a bucket's name");
        Held { s3: self, bucket, credentials: Credentials::new(who.0, who.1) }
    }

    /// A new person without any right but those that a bucket's policy gives.
    pub async fn person(&self, key: &str, secret: &str) {
        let launch = Launch::of(&self.versitygw)
            .args(["admin", "--access", ROOT.0, "--secret", ROOT.1, "--endpoint-url", &self.url()])
            .args(["create-user", "--access", key, "--secret", secret, "--role", "user"]);
        launch.finish(self.server.home()).await;
    }
}

impl S3 {
    /// Takes a person's key away.
    pub async fn dismiss(&self, key: &str) {
        let launch = Launch::of(&self.versitygw)
            .args(["admin", "--access", ROOT.0, "--secret", ROOT.1, "--endpoint-url", &self.url()])
            .args(["delete-user", "--access", key]);
        launch.finish(self.server.home()).await;
    }
}

/// A bucket with somebody's credentials.
pub struct Held<'a> {
    s3: &'a S3,
    bucket: Bucket,
    credentials: Credentials,
}

const SOON: Duration = Duration::from_secs(300);

impl Held<'_> {
    /// Stores an object, whatever comes back. Headers are signed: `if-none-match`, `x-amz-checksum-sha256`,
    /// `x-amz-object-lock-mode` with `x-amz-object-lock-retain-until-date`, `x-amz-object-lock-legal-hold`.
    pub async fn put(&self, key: &str, headers: Pairs<'_>, content: &str) -> Reply {
        self.put_below(key, &[], headers, content).await
    }

    /// A PUT with a query: `retention`, `legal-hold`, `policy`, and so on; of the bucket itself with an empty key.
    pub async fn put_below(&self, key: &str, query: Pairs<'_>, headers: Pairs<'_>, content: &str) -> Reply {
        let mut put = PutObject::new(&self.bucket, Some(&self.credentials), key);
        self.fill(&mut put, query, headers);
        self.send("PUT", &put, headers, content).await
    }

    /// An object's headers; of a version, with `versionId` as query.
    pub async fn head(&self, key: &str, query: Pairs<'_>, headers: Pairs<'_>) -> Reply {
        let mut head = HeadObject::new(&self.bucket, Some(&self.credentials), key);
        self.fill(&mut head, query, headers);
        self.send("HEAD", &head, headers, "").await
    }

    /// An object, or with a query what the query names.
    pub async fn get(&self, key: &str, query: Pairs<'_>, headers: Pairs<'_>) -> Reply {
        let mut get = GetObject::new(&self.bucket, Some(&self.credentials), key);
        self.fill(&mut get, query, headers);
        self.send("GET", &get, headers, "").await
    }

    /// Deletes an object or a version of it.
    pub async fn delete(&self, key: &str, query: Pairs<'_>) -> Reply {
        let mut delete = DeleteObject::new(&self.bucket, Some(&self.credentials), key);
        self.fill(&mut delete, query, &[]);
        self.send("DELETE", &delete, &[], "").await
    }

    fn fill<'a>(&self, action: &mut impl S3Action<'a>, query: Pairs<'_>, headers: Pairs<'_>) {
        for (name, value) in query {
            action.query_mut().insert((*name).to_owned(), (*value).to_owned());
        }
        for (name, value) in headers {
            action.headers_mut().insert((*name).to_owned(), (*value).to_owned());
        }
    }

    async fn send<'a>(&self, method: &str, action: &impl S3Action<'a>, headers: Pairs<'_>, content: &str) -> Reply {
        let url = action.sign(SOON);
        let client = headers.iter().fold(self.s3.http.clone(), |client, (name, value)| client.with(name, value));
        // The client leaves the length of an empty body out, and S3 asks for it.
        let client = if method == "PUT" { client.with("content-length", &content.len().to_string()) } else { client };
        client.send(method, url.as_str(), content.to_owned()).await
    }
}
