//! A real nats-server with JetStream.

use super::process::{Launch, Running};
use super::require;
use async_nats::jetstream::{self, stream};
use std::path::Path;
use std::time::Duration;

/// A NATS server that runs. Three users: `admin` may everything, `writer` may publish below `closure.` and ask
/// JetStream about streams, `reader` may only receive. Their passwords are their names with `-password`.
pub struct Nats {
    /// The process.
    pub server: Running,
    /// Everything, as `admin`.
    pub admin: jetstream::Context,
}

const SETTINGS: &str = r#"
jetstream: {}
authorization: {
  users: [
    { user: admin, password: admin-password }
    { user: writer, password: writer-password, permissions: {
        publish: ["closure.>", "$JS.API.INFO", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>"]
        subscribe: ["_INBOX.>"] } }
    { user: reader, password: reader-password, permissions: { publish: { deny: [">"] }, subscribe: [">"] } }
  ]
}
"#;

impl Nats {
    /// Starts one without streams; none where it is not built.
    pub async fn start() -> Option<Nats> {
        Nats::start_with(SETTINGS, None).await
    }

    /// Likewise, one that speaks TLS alone, with this certificate and key; its authority is in `authority`.
    pub async fn start_encrypted(certificate: &Path, authority: &Path) -> Option<Nats> {
        let file = certificate.display();
        let settings = format!("{SETTINGS}tls: {{ cert_file: \"{file}\", key_file: \"{file}\" }}\n");
        Nats::start_with(&settings, Some(authority)).await
    }

    async fn start_with(text: &str, authority: Option<&Path>) -> Option<Nats> {
        let built = require("nats")?;
        let mut server = Running::prepare("nats", 2);
        let settings = server.home().join("nats.conf");
        std::fs::write(&settings, text).expect("writable");
        let (port, monitor) = (server.port(0).to_string(), server.port(1).to_string());
        let launch = Launch::of(built.join("bin/nats-server"))
            .args(["--addr", "127.0.0.1", "--port", &port, "--http_port", &monitor, "--store_dir"])
            .arg(server.home().join("jetstream"))
            .args(["--config"])
            .arg(settings);
        let address = address(&server);
        server.launch(launch, async || connect(&address, "admin", authority).await.is_ok()).await;
        let admin = jetstream::new(connect(&address, "admin", authority).await.expect("it is ready"));
        Some(Nats { server, admin })
    }

    /// Its address, as `nats://` and so on.
    pub fn url(&self) -> String {
        format!("nats://{}", address(&self.server))
    }

    /// Where it tells about itself by HTTP: `/varz`, `/jsz`, `/connz`.
    pub fn monitor(&self) -> String {
        self.server.url(1)
    }

    /// JetStream as one of the users; through another address, if one is given (a proxy's).
    pub async fn as_user(
        &self,
        user: &str,
        through: Option<&str>,
    ) -> Result<jetstream::Context, async_nats::ConnectError> {
        Ok(jetstream::new(connect(through.unwrap_or(&address(&self.server)), user, None).await?))
    }

    /// Makes a stream of these subjects, which knows message ids for so long.
    pub async fn stream(&self, name: &str, subjects: &[&str], window: Duration) -> stream::Stream {
        let settings = stream::Config {
            name: name.to_owned(),
            subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
            duplicate_window: window,
            allow_direct: true,
            ..stream::Config::default()
        };
        self.admin.create_stream(settings).await.expect("a stream")
    }

    /// Everything that a stream holds, in order: subject and payload.
    pub async fn messages(&self, stream: &str) -> Vec<(String, String)> {
        let mut stream = self.admin.get_stream(stream).await.expect("a stream");
        let state = stream.info().await.expect("its state").state.clone();
        let mut all = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            if let Ok(message) = stream.get_raw_message(sequence).await {
                all.push((message.subject.to_string(), String::from_utf8_lossy(&message.payload).into_owned()));
            }
        }
        all
    }
}

fn address(server: &Running) -> String {
    format!("127.0.0.1:{}", server.port(0))
}

async fn connect(
    address: &str,
    user: &str,
    authority: Option<&Path>,
) -> Result<async_nats::Client, async_nats::ConnectError> {
    let mut options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), format!("{user}-password"));
    if let Some(authority) = authority {
        options = options.require_tls(true).add_root_certificates(authority.to_owned());
    }
    options.connect(address).await
}
