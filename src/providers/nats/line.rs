//! One conversation with a NATS server: a connection is made, one request is published, its one reply is read, and that is
//! all of it.
//!
//! The project's client library keeps what could not be sent and sends it when it is connected again, minutes later, and
//! takes the name that a certificate is checked against from the address that it dials. An announcement must not arrive
//! behind its caller's back, and the guard wants to choose the address; the protocol is a handful of lines.
//!
//! **Guarantees:** the server's name is resolved through the endpoint guard. Nothing is sent twice or kept for later. A
//! conversation that is dropped sends nothing more. Of what a server sends, at most [`LINE_MAX`] and [`BODY_MAX`] are held.

use super::login::Login;
use crate::closure::snapshot::Trouble;
use crate::providers::guard::{self, Lookup};
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Longest line, in bytes: what a server of a large cluster tells about itself.
const LINE_MAX: usize = 64 << 10;
/// Longest message, in bytes.
const BODY_MAX: usize = 1 << 20;

/// Where a server is, and how it is told who asks.
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    /// None where it is spoken to in the clear.
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    pub(super) login: Login,
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) loopback: bool,
    /// How long connecting may take.
    pub(super) patience: Duration,
}

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Nothing was published, and why not.
    NotSent(Trouble),
    /// The server speaks TLS only, and the endpoint says otherwise. Nothing was published.
    TlsOnly,
    /// The server does not let the user publish there: it says so, and has thrown the message away.
    Denied,
    /// It may have arrived.
    Lost(Trouble),
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    /// A status in place of a message: 503, nobody listens there.
    pub(super) status: Option<u16>,
    pub(super) body: Vec<u8>,
    /// The subject that it wants to be replied to on, where it names one.
    pub(super) reply_to: Option<String>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection, and what was read of it and not yet looked at.
struct Line {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
}

/// What a server says.
#[derive(Debug)]
enum Said {
    Info(Info),
    Ping,
    Pong,
    Error(Denial),
    Message(Reply),
    Nothing,
}

/// What a server says of itself, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Info {
    tls_required: bool,
    headers: bool,
    nonce: String,
}

/// A server's complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denial {
    /// Of who asks.
    Login,
    /// Of what is published.
    Publish,
    /// Of what is listened to.
    Listen,
    /// Of anything else.
    Other,
}

impl Server {
    /// Makes a connection, publishes one request with an inbox to reply to, and waits for the reply. Whoever calls keeps
    /// the time.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn converse(&self, request: impl FnOnce(&str) -> Vec<u8>) -> Result<Reply, Silence> {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| Silence::NotSent(Trouble::Unavailable))?;
        let inbox = format!("_INBOX.{}", hex::encode(random));
        let opening = tokio::time::timeout(self.patience, self.open(&inbox));
        let mut line = opening.await.map_err(|_| Silence::NotSent(Trouble::Unavailable))??;
        let lost = |_| Silence::Lost(Trouble::Unavailable);
        line.stream.write_all(&request(&inbox)).await.map_err(lost)?;
        line.stream.flush().await.map_err(lost)?;
        loop {
            match line.next().await.map_err(Silence::Lost)? {
                Said::Message(reply) => return Ok(reply),
                Said::Ping => line.pong().await.map_err(Silence::Lost)?,
                Said::Error(Denial::Publish) => return Err(Silence::Denied),
                Said::Error(Denial::Login) => return Err(Silence::Lost(Trouble::Unauthorized)),
                Said::Error(Denial::Listen | Denial::Other) => return Err(Silence::Lost(Trouble::Unavailable)),
                Said::Info(_) | Said::Pong | Said::Nothing => {}
            }
        }
    }

    /// A connection that is logged in and listens to the inbox.
    async fn open(&self, inbox: &str) -> Result<Line, Silence> {
        let stream = self.dial().await.ok_or(Silence::NotSent(Trouble::Unavailable))?;
        let mut line = Line { stream: Box::new(stream), read: Vec::new() };
        let info = match line.next().await.map_err(Silence::NotSent)? {
            Said::Info(info) if info.headers => info,
            _ => return Err(Silence::NotSent(Trouble::NotUnderstood)),
        };
        if let Some((connector, name)) = &self.tls {
            // What came before the handshake is not the server's word.
            let handshake = connector.connect(name.clone(), line.stream).await;
            let stream = handshake.map_err(|_| Silence::NotSent(Trouble::Unavailable))?;
            line = Line { stream: Box::new(stream), read: Vec::new() };
        } else if info.tls_required {
            return Err(Silence::TlsOnly);
        }
        let Some(mut connect) = self.login.connect(&info.nonce) else {
            return Err(Silence::NotSent(Trouble::Unauthorized));
        };
        connect.extend(format!("SUB {inbox} 1\r\nPING\r\n").bytes());
        let written = async {
            line.stream.write_all(&connect).await?;
            line.stream.flush().await
        };
        written.await.map_err(|_| Silence::NotSent(Trouble::Unavailable))?;
        loop {
            match line.next().await.map_err(Silence::NotSent)? {
                Said::Pong => return Ok(line),
                Said::Ping => line.pong().await.map_err(Silence::NotSent)?,
                Said::Error(Denial::Login) => return Err(Silence::NotSent(Trouble::Unauthorized)),
                Said::Error(Denial::Listen) => return Err(Silence::NotSent(Trouble::Forbidden)),
                Said::Error(Denial::Publish | Denial::Other) => return Err(Silence::NotSent(Trouble::Unavailable)),
                Said::Info(_) | Said::Nothing => {}
                Said::Message(_) => return Err(Silence::NotSent(Trouble::NotUnderstood)),
            }
        }
    }

    /// A socket to the first of the server's addresses that the guard allows and that takes one.
    async fn dial(&self) -> Option<TcpStream> {
        let addresses = match self.host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => guard::check(address, self.loopback).ok().map(|()| vec![address])?,
            Err(_) => guard::resolve(self.lookup.as_ref(), &self.host, self.loopback).await.ok()?,
        };
        for address in addresses {
            if let Ok(stream) = TcpStream::connect(SocketAddr::new(address, self.port)).await {
                stream.set_nodelay(true).ok()?;
                return Some(stream);
            }
        }
        None
    }
}

impl Line {
    async fn pong(&mut self) -> Result<(), Trouble> {
        self.stream.write_all(b"PONG\r\n").await.map_err(|_| Trouble::Unavailable)?;
        self.stream.flush().await.map_err(|_| Trouble::Unavailable)
    }

    /// The next thing that the server says.
    async fn next(&mut self) -> Result<Said, Trouble> {
        let line = self.line().await?;
        let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line.as_str(), ""));
        match word.to_ascii_uppercase().as_str() {
            "INFO" => serde_json::from_str(rest).map(Said::Info).map_err(|_| Trouble::NotUnderstood),
            "PING" => Ok(Said::Ping),
            "PONG" => Ok(Said::Pong),
            "+OK" => Ok(Said::Nothing),
            "-ERR" => Ok(Said::Error(denial(rest))),
            "MSG" => {
                let [_, size] = sizes(rest, 1)?;
                let reply_to = reply_to(rest, 1);
                Ok(Said::Message(Reply { status: None, body: self.body(size).await?, reply_to }))
            }
            "HMSG" => {
                let [head, size] = sizes(rest, 2)?;
                let mut head_and_body = self.body(size).await?;
                if head > head_and_body.len() {
                    return Err(Trouble::NotUnderstood);
                }
                let body = head_and_body.split_off(head);
                let reply_to = reply_to(rest, 2);
                Ok(Said::Message(Reply { status: status(&head_and_body), body, reply_to }))
            }
            _ => Err(Trouble::NotUnderstood),
        }
    }

    async fn line(&mut self) -> Result<String, Trouble> {
        let mut looked = 0;
        loop {
            if let Some(end) = self.read[looked..].iter().position(|byte| *byte == b'\n') {
                let rest = self.read.split_off(looked + end + 1);
                let line = std::mem::replace(&mut self.read, rest);
                return String::from_utf8(line).map(|line| line.trim().to_owned()).map_err(|_| Trouble::NotUnderstood);
            }
            looked = self.read.len();
            if looked > LINE_MAX {
                return Err(Trouble::NotUnderstood);
            }
            self.more().await?;
        }
    }

    async fn body(&mut self, size: usize) -> Result<Vec<u8>, Trouble> {
        if size > BODY_MAX {
            return Err(Trouble::NotUnderstood);
        }
        while self.read.len() < size + 2 {
            self.more().await?;
        }
        let rest = self.read.split_off(size + 2);
        let mut body = std::mem::replace(&mut self.read, rest);
        body.truncate(size);
        Ok(body)
    }

    async fn more(&mut self) -> Result<(), Trouble> {
        self.read.reserve(4096);
        match self.stream.read_buf(&mut self.read).await {
            Ok(0) | Err(_) => Err(Trouble::Unavailable),
            Ok(_) => Ok(()),
        }
    }
}

/// The last two numbers of a message's line: subject, subscription, maybe a subject to reply to, `numbers` sizes.
fn sizes(rest: &str, numbers: usize) -> Result<[usize; 2], Trouble> {
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let size = |back: usize| words.len().checked_sub(back).and_then(|at| words.get(at)?.parse::<usize>().ok());
    if !(2 + numbers..=3 + numbers).contains(&words.len()) {
        return Err(Trouble::NotUnderstood);
    }
    let first = if numbers == 2 { size(2) } else { Some(0) };
    first.zip(size(1)).map(|(first, last)| [first, last]).ok_or(Trouble::NotUnderstood)
}

/// The subject to reply to in a message's line, which stands before the sizes.
fn reply_to(rest: &str, numbers: usize) -> Option<String> {
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    (words.len() == 3 + numbers).then(|| words.get(2).map(|word| (*word).to_owned())).flatten()
}

/// The status of a head: `NATS/1.0 503` and what may follow.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(line).ok()?.strip_prefix("NATS/1.0")?.split_ascii_whitespace().next()?.parse().ok()
}

/// What a complaint is about. Its text goes no further.
fn denial(text: &str) -> Denial {
    let text = text.to_ascii_lowercase();
    if text.contains("permissions violation for publish") {
        Denial::Publish
    } else if text.contains("permissions violation for subscription") {
        Denial::Listen
    } else if text.contains("authorization violation") || text.contains("authentication") {
        Denial::Login
    } else {
        Denial::Other
    }
}

#[cfg(test)]
mod fuzz_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_last_numbers_of_a_line() {
        assert_eq!(sizes("a 1 5", 1), Ok([0, 5]));
        assert_eq!(sizes("a 1 reply 5", 1), Ok([0, 5]));
        assert_eq!(sizes("a 1 3 5", 2), Ok([3, 5]));
        assert_eq!(sizes("a 1 reply 3 5", 2), Ok([3, 5]));
        for (bad, numbers) in [("", 1), ("5", 1), ("a 5", 1), ("a 1 x", 1), ("a 1 -5", 1), ("a 1 x 5", 2)] {
            assert_eq!(sizes(bad, numbers), Err(Trouble::NotUnderstood), "{bad}");
        }
        assert_eq!((reply_to("a 1 reply 5", 1), reply_to("a 1 5", 1)), (Some("reply".to_owned()), None));
        assert_eq!((reply_to("a 1 reply 3 5", 2), reply_to("a 1 3 5", 2)), (Some("reply".to_owned()), None));
        assert_eq!(status(b"NATS/1.0 503\r\n\r\n"), Some(503));
        assert_eq!(status(b"NATS/1.0\r\nA: b\r\n\r\n"), None);
    }

    #[tokio::test]
    async fn what_is_no_protocol_is_refused_and_nothing_without_end_is_held() {
        for sent in
            [b"HTTP/1.1 400 Bad Request\r\n".to_vec(), vec![b'x'; LINE_MAX + 8192], b"MSG a 1 2000000\r\n".to_vec()]
        {
            let mut line = Line { stream: Box::new(tokio_test_stream(sent)), read: Vec::new() };
            assert_eq!(line.next().await.unwrap_err(), Trouble::NotUnderstood);
        }
        let mut line =
            Line { stream: Box::new(tokio_test_stream(b"PING\r\nMSG a 1 2\r\nhi\r\nPI".to_vec())), read: Vec::new() };
        assert!(matches!(line.next().await, Ok(Said::Ping)));
        assert!(matches!(line.next().await, Ok(Said::Message(reply)) if reply.body == b"hi"));
        assert_eq!(line.next().await.unwrap_err(), Trouble::Unavailable);
    }

    /// What a server sent before it closed.
    fn tokio_test_stream(sent: Vec<u8>) -> tokio::io::Join<std::io::Cursor<Vec<u8>>, tokio::io::Sink> {
        tokio::io::join(std::io::Cursor::new(sent), tokio::io::sink())
    }
}
