//! A real SMTP server: aiosmtpd, which keeps what it takes.

use super::process::{Launch, Running};
use super::{repository, require};
use serde_json::Value;
use std::path::PathBuf;
use tokio::io::AsyncReadExt;

/// The login of a guarded one.
pub const USER: &str = "closure";
/// Its password.
pub const PASSWORD: &str = "smtp-password";

/// What it asks of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Nothing; STARTTLS is offered.
    Nothing,
    /// The login, in the clear.
    Login,
    /// STARTTLS, and then the login.
    TlsAndLogin,
}

/// An SMTP server that runs. How a recipient asks for a refusal, `tests/systems/smtp/server.py` says.
pub struct Smtp {
    /// The process.
    pub server: Running,
    /// Its certificate, for `localhost` and `127.0.0.1`, as PEM.
    pub certificate: PathBuf,
}

/// A message that was taken.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// Headers and body.
    pub content: String,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Who had logged in.
    pub user: Option<String>,
}

impl Mail {
    /// A header, unfolded.
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.content.split("\r\n\r\n").next()?.replace("\r\n ", " ").replace("\r\n\t", " ");
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

impl Smtp {
    /// Starts one; none where it is not built.
    pub async fn start(asks: Asks) -> Option<Smtp> {
        let built = require("smtp")?;
        let mut server = Running::prepare("smtp", 1);
        let mails = server.home().join("mails");
        std::fs::create_dir(&mails).expect("writable");
        let (port, certificate) = (server.port(0), built.join("certificate.pem"));
        let mut launch = Launch::of(built.join("venv/bin/python"))
            .arg(repository("tests/systems/smtp/server.py"))
            .args(["--port", &port.to_string(), "--directory"])
            .arg(&mails)
            .args(["--certificate"])
            .arg(&certificate)
            .args(["--key"])
            .arg(built.join("key.pem"));
        if asks != Asks::Nothing {
            launch = launch.args(["--user", USER, "--password", PASSWORD]);
        }
        if asks == Asks::TlsAndLogin {
            launch = launch.args(["--require-starttls"]);
        }
        server.launch(launch, async || greets(port).await).await;
        Some(Smtp { server, certificate })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port(0)
    }

    /// Everything that it took, in order. A message is here before it is acknowledged.
    pub fn mails(&self) -> Vec<Mail> {
        let entries = std::fs::read_dir(self.server.home().join("mails")).expect("its directory");
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let read = |path: &PathBuf| {
            let mail: Value = serde_json::from_slice(&std::fs::read(path).expect("a mail")).expect("JSON");
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            Mail {
                from: text(&mail["from"]),
                to: mail["to"].as_array().into_iter().flatten().map(text).collect(),
                content: text(&mail["content"]),
                tls: mail["tls"] == true,
                user: mail["user"].as_str().map(str::to_owned),
            }
        };
        paths.iter().map(read).collect()
    }
}

async fn greets(port: u16) -> bool {
    let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).await.is_ok_and(|_| &greeting == b"220 ")
}
