//! A fault proxy that speaks SMTP: it understands commands, a mail's text, and the one reply to each.

use super::front::Fault;
use crate::fault_proxy::{Asked, Seen};
use axum::http::HeaderMap;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[derive(Default)]
struct Shared {
    /// What happens to the next mails.
    faults: Mutex<VecDeque<Fault>>,
    log: Mutex<Vec<Seen>>,
}

/// The proxy.
pub struct SmtpProxy {
    address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SmtpProxy {
    /// One in front of the server at this address.
    pub async fn before(server: &str) -> SmtpProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (server, shared) = (server.to_owned(), Arc::<Shared>::default());
        let known = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                let ((from_caller, to_caller), (from_server, to_server)) = (caller.into_split(), server.into_split());
                let (from_caller, from_server) = (BufReader::new(from_caller), BufReader::new(from_server));
                let talk = Conversation { from_caller, to_caller, from_server, to_server, shared: known.clone() };
                // It ends badly where a fault cuts it off.
                tokio::spawn(async move { drop(talk.play().await) });
            }
        });
        SmtpProxy { address, shared, task }
    }

    /// Where it is, as `smtp://` and so on.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// This happens to the next mail.
    pub fn on(&self, fault: Fault) {
        lock(&self.shared.faults).push_back(fault);
    }

    /// No more faults.
    pub fn heal(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Every command, and each mail's text as `TEXT`.
    pub fn log(&self) -> Vec<Seen> {
        lock(&self.shared.log).clone()
    }
}

impl Drop for SmtpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Conversation {
    from_caller: BufReader<OwnedReadHalf>,
    to_caller: OwnedWriteHalf,
    from_server: BufReader<OwnedReadHalf>,
    to_server: OwnedWriteHalf,
    shared: Arc<Shared>,
}

fn cut() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

impl Conversation {
    async fn play(mut self) -> io::Result<()> {
        let greeting = self.reply().await?;
        self.to_caller.write_all(greeting.as_bytes()).await?;
        loop {
            let command = line(&mut self.from_caller).await?;
            let verb = command.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            let fault = if verb == "DATA" { lock(&self.shared.faults).pop_front() } else { None };
            self.note(&verb, fault.is_some());
            match fault {
                Some(Fault::Lost) => return Err(cut()),
                Some(Fault::Says(status)) => return self.say(refusal(status)).await,
                Some(Fault::Page(_)) => return self.say("<html>no</html>\r\n").await,
                fault => {
                    self.to_server.write_all(command.as_bytes()).await?;
                    let reply = self.reply().await?;
                    self.served(&reply);
                    self.to_caller.write_all(reply.as_bytes()).await?;
                    if verb == "DATA" && reply.starts_with("354") {
                        self.text(fault).await?;
                    } else if verb == "AUTH" && reply.starts_with("334") {
                        self.challenge().await?;
                    }
                }
            }
        }
    }

    /// What an AUTH goes on with.
    async fn challenge(&mut self) -> io::Result<()> {
        let answer = line(&mut self.from_caller).await?;
        self.to_server.write_all(answer.as_bytes()).await?;
        let reply = self.reply().await?;
        self.to_caller.write_all(reply.as_bytes()).await
    }

    /// A mail's text, and what is said of it.
    async fn text(&mut self, fault: Option<Fault>) -> io::Result<()> {
        self.note("TEXT", fault.is_some());
        loop {
            let text = line(&mut self.from_caller).await?;
            self.to_server.write_all(text.as_bytes()).await?;
            if text == ".\r\n" {
                break;
            }
        }
        let reply = self.reply().await?;
        self.served(&reply);
        match fault {
            Some(Fault::Garbage) => self.say("what?\r\n").await,
            Some(Fault::Slow(gate)) => {
                gate.pass().await;
                self.to_caller.write_all(reply.as_bytes()).await
            }
            Some(_) => Err(cut()),
            None => self.to_caller.write_all(reply.as_bytes()).await,
        }
    }

    async fn say(&mut self, words: &str) -> io::Result<()> {
        self.to_caller.write_all(words.as_bytes()).await?;
        Err(cut())
    }

    /// A reply, which may have several lines.
    async fn reply(&mut self) -> io::Result<String> {
        let mut reply = String::new();
        loop {
            let next = line(&mut self.from_server).await?;
            reply.push_str(&next);
            if next.as_bytes().get(3) != Some(&b'-') {
                return Ok(reply);
            }
        }
    }

    fn note(&self, verb: &str, faulty: bool) {
        let asked = Asked {
            method: verb.to_owned(),
            path: String::new(),
            headers: HeaderMap::new(),
            body: axum::body::Bytes::new(),
        };
        let fault = faulty.then_some("fault");
        lock(&self.shared.log).push(Seen { asked, served: None, told: None, fault });
    }

    fn served(&self, reply: &str) {
        let status = reply.get(..3).and_then(|code| code.parse().ok());
        if let Some(last) = lock(&self.shared.log).last_mut() {
            last.served = status;
        }
    }
}

/// What a server says before it takes the text.
fn refusal(status: u16) -> &'static str {
    match status {
        403 => "550 5.7.1 you may not\r\n",
        500..600 => "421 4.3.2 not now\r\n",
        _ => "554 5.5.0 not this one\r\n",
    }
}

async fn line(from: &mut BufReader<OwnedReadHalf>) -> io::Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line).await? == 0 { Err(cut()) } else { Ok(line) }
}
