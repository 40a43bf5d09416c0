//! Registries: three of different characters in memory (`ocisrv`), and distribution, which has no referrers.

use super::http::{Http, Reply};
use super::process::{Launch, Running};
use super::require;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The media type of an image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of an empty configuration.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// The character of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Referrers, `OCI-Subject`, filters; a tag can be moved.
    Conforming,
    /// The same, and a tag is written once.
    Immutable,
    /// Referrers without a filter; takes any digest and any manifest.
    Sloppy,
    /// distribution 3.1.2: strict, and without referrers.
    WithoutReferrers,
}

/// A registry that runs.
pub struct Oci {
    /// The process.
    pub server: Running,
    /// A client; of a guarded one, with the writer's header.
    pub client: Http,
}

/// The password of every user of [`Oci::with_users`].
pub const PASSWORD: &str = "let-me-in";
/// The same, as bcrypt has it.
const HASHED: &str = "$2b$04$abcdefghijklmnopqrstuudxA/1BY5FxPYA69jUrJOJFmTyoe9T1a";
/// The user of [`Oci::client`] there.
const WRITES: &str = "pipeline";

/// The value of `Authorization` that may read a guarded registry.
pub const READER: &str = "Basic cmVhZGVyOnJlYWRlcg==";
/// The value of `Authorization` that may read and write a guarded registry.
pub const WRITER: &str = "Basic d3JpdGVyOndyaXRlcg==";

impl Oci {
    /// Starts one that lets everybody in; none where it is not built.
    pub async fn start(kind: Kind) -> Option<Oci> {
        Oci::launch(kind, false).await
    }

    /// Starts one that asks for [`READER`] or [`WRITER`].
    pub async fn guarded(kind: Kind) -> Option<Oci> {
        assert_ne!(kind, Kind::WithoutReferrers, "only the ones in memory can be guarded");
        Oci::launch(kind, true).await
    }

    async fn launch(kind: Kind, guarded: bool) -> Option<Oci> {
        let name = match kind {
            Kind::Conforming => "conforming",
            Kind::Immutable => "immutable",
            Kind::Sloppy => "sloppy",
            Kind::WithoutReferrers => return Oci::distribution(false).await,
        };
        let built = require("ocisrv")?;
        let mut server = Running::prepare("ocisrv", 1);
        let address = format!("127.0.0.1:{}", server.port(0));
        let mut launch = Launch::of(built.join("bin/ocisrv")).args(["-kind", name, "-addr", &address]);
        let mut client = Http::new(server.url(0));
        if guarded {
            launch = launch.env("OCISRV_READER", READER).env("OCISRV_WRITER", WRITER);
            client = client.with("authorization", WRITER);
        }
        server.launch(launch, async || up(&client).await).await;
        Some(Oci { server, client })
    }

    /// Starts distribution with users of its own, who may do everything; see [`Oci::know`].
    pub async fn with_users() -> Option<Oci> {
        Oci::distribution(true).await
    }

    /// From now on these are its users, each with [`PASSWORD`].
    pub fn know(&self, users: &[&str]) {
        let lines = users.iter().chain([&WRITES]).map(|user| format!("{user}:{HASHED}\n"));
        // It reads the file again when that is a newer one, and must not find half of it.
        let (new, file) = (self.server.home().join("users.new"), self.server.home().join("users"));
        std::fs::write(&new, lines.collect::<String>()).expect("writable");
        std::fs::rename(new, file).expect("it can be renamed");
    }

    async fn distribution(users: bool) -> Option<Oci> {
        let built = require("distribution")?;
        let mut server = Running::prepare("distribution", 1);
        let settings = server.home().join("config.yml");
        let mut text = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: '{}/data'}}\n  delete: {{enabled: true}}\n\
             http: {{addr: '127.0.0.1:{}'}}\n",
            server.home().display(),
            server.port(0)
        );
        let mut client = Http::new(server.url(0));
        if users {
            let path = server.home().join("users");
            std::fs::write(&path, format!("{WRITES}:{HASHED}\n")).expect("writable");
            text.push_str(&format!("auth: {{htpasswd: {{realm: evidence, path: '{}'}}}}\n", path.display()));
            client =
                client.with("authorization", &format!("Basic {}", STANDARD.encode(format!("{WRITES}:{PASSWORD}"))));
        }
        std::fs::write(&settings, text).expect("writable");
        let launch = Launch::of(built.join("bin/registry"));
        let launch = launch.env("OTEL_TRACES_EXPORTER", "none").args(["serve"]).arg(settings);
        server.launch(launch, async || up(&client).await).await;
        Some(Oci { server, client })
    }

    /// Stores a blob and gives its digest.
    pub async fn blob(&self, repository: &str, content: &[u8]) -> String {
        let digest = digest(content);
        let begun = self.client.send("POST", &format!("/v2/{repository}/blobs/uploads/"), "").await;
        assert_eq!(begun.status, 202, "{}", begun.text);
        let location = begun.header("location").expect("a place to upload to").to_owned();
        let separator = if location.contains('?') { '&' } else { '?' };
        let upload = self.client.with("content-type", "application/octet-stream");
        let stored = upload.send("PUT", &format!("{location}{separator}digest={digest}"), content.to_vec()).await;
        assert_eq!(stored.status, 201, "{}", stored.text);
        digest
    }

    /// An artifact of one layer, as a manifest; its blobs are stored.
    pub async fn artifact(&self, repository: &str, kind: &str, layer: &[u8], subject: Option<&Value>) -> String {
        let blob = self.blob(repository, layer).await;
        let config = self.blob(repository, b"{}").await;
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
            "config": {"mediaType": EMPTY, "digest": config, "size": 2},
            "layers": [{"mediaType": "application/octet-stream", "digest": blob, "size": layer.len()}],
        });
        if let Some(subject) = subject {
            manifest["subject"] = subject.clone();
        }
        manifest.to_string()
    }

    /// Stores a manifest under a tag or its digest, whatever comes back.
    pub async fn put_manifest(&self, repository: &str, reference: &str, manifest: &str) -> Reply {
        self.put(repository, reference, MANIFEST, manifest).await
    }

    /// Likewise, of another media type.
    pub async fn put(&self, repository: &str, reference: &str, media_type: &str, manifest: &str) -> Reply {
        let client = self.client.with("content-type", media_type);
        client.send("PUT", &format!("/v2/{repository}/manifests/{reference}"), manifest.to_owned()).await
    }
}

/// The digest of some bytes, as registries write it.
pub fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

async fn up(client: &Http) -> bool {
    client.try_send("GET", "/v2/", "").await.is_ok_and(|reply| reply.status == 200)
}
