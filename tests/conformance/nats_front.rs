//! A fault proxy that speaks the protocol of NATS: it understands what is published, and the one reply to it.

use super::front::Fault;
use crate::fault_proxy::{Asked, Seen};
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

type Meets = Box<dyn Fn(&Asked) -> bool + Send + Sync>;
type Deed = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

enum Then {
    Fault(Fault),
    Meanwhile(Deed),
}

#[derive(Default)]
struct Shared {
    rules: Mutex<Vec<(Meets, Then)>>,
    log: Mutex<Vec<Seen>>,
    /// What a request was answered the last time.
    before: Mutex<HashMap<(String, Bytes), Vec<u8>>>,
}

/// The proxy.
pub struct NatsProxy {
    address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NatsProxy {
    /// One in front of the server at this address.
    pub async fn before(server: &str) -> NatsProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (server, shared) = (server.to_owned(), Arc::<Shared>::default());
        let known = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                caller.set_nodelay(true).ok();
                server.set_nodelay(true).ok();
                tokio::spawn(Conversation::new(caller, server, known.clone()).play());
            }
        });
        NatsProxy { address, shared, task }
    }

    /// Where it is, as `nats://` and so on.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// This happens to the next such request.
    pub fn on(&self, meets: impl Fn(&Asked) -> bool + Send + Sync + 'static, fault: Fault) {
        lock(&self.shared.rules).push((Box::new(meets), Then::Fault(fault)));
    }

    /// This happens right before the next such request reaches the server.
    pub fn meanwhile<F: Future<Output = ()> + Send + 'static>(
        &self,
        meets: impl Fn(&Asked) -> bool + Send + Sync + 'static,
        what: impl Fn() -> F + Send + Sync + 'static,
    ) {
        lock(&self.shared.rules).push((Box::new(meets), Then::Meanwhile(Arc::new(move || Box::pin(what())))));
    }

    /// No more faults.
    pub fn heal(&self) {
        lock(&self.shared.rules).clear();
    }

    /// What was published, and what became of it.
    pub fn log(&self) -> Vec<Seen> {
        lock(&self.shared.log).clone()
    }
}

impl Drop for NatsProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection.
struct Conversation {
    from_caller: BufReader<OwnedReadHalf>,
    to_caller: OwnedWriteHalf,
    from_server: BufReader<OwnedReadHalf>,
    to_server: OwnedWriteHalf,
    waiting: Vec<u8>,
    shared: Arc<Shared>,
}

/// A request as it came over the line.
struct Published {
    asked: Asked,
    inbox: String,
    whole: Vec<u8>,
}

impl Conversation {
    fn new(caller: TcpStream, server: TcpStream, shared: Arc<Shared>) -> Conversation {
        let ((from_caller, to_caller), (from_server, to_server)) = (caller.into_split(), server.into_split());
        let (from_caller, from_server) = (BufReader::new(from_caller), BufReader::new(from_server));
        Conversation { from_caller, to_caller, from_server, to_server, waiting: Vec::new(), shared }
    }

    async fn play(mut self) {
        let (mut asked, mut said) = (Vec::new(), Vec::new());
        // None is the end of it.
        while self.turn(&mut asked, &mut said).await.is_some() {}
    }

    async fn turn(&mut self, asked: &mut Vec<u8>, said: &mut Vec<u8>) -> Option<()> {
        tokio::select! {
            read = self.from_caller.read_until(b'\n', asked) => {
                let line = std::mem::take(asked);
                if matches!(read, Ok(0) | Err(_)) {
                    return None;
                }
                match self.published(&line).await? {
                    None => self.pass_on(line).await,
                    Some(published) => self.answer(published).await,
                }
            }
            read = self.from_server.read_until(b'\n', said) => {
                let line = std::mem::take(said);
                if matches!(read, Ok(0) | Err(_)) {
                    return None;
                }
                self.to_caller.write_all(&line).await.ok()
            }
        }
    }

    /// What comes before a PING goes with it, in one piece as it was sent: a server that turns a caller away closes the
    /// connection, and what it had not read by then would cost the caller the server's last word.
    async fn pass_on(&mut self, line: Vec<u8>) -> Option<()> {
        let waits = line.starts_with(b"CONNECT") || line.starts_with(b"SUB");
        self.waiting.extend(line);
        if waits {
            return Some(());
        }
        let whole = std::mem::take(&mut self.waiting);
        self.to_server.write_all(&whole).await.ok()
    }

    /// The request that a line begins, if it begins one.
    async fn published(&mut self, line: &[u8]) -> Option<Option<Published>> {
        let text = std::str::from_utf8(line).ok()?;
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (head, size, subject, inbox) = match words.as_slice() {
            ["PUB", subject, inbox, size] => (0, *size, *subject, *inbox),
            ["HPUB", subject, inbox, head, size] => (head.parse().ok()?, *size, *subject, *inbox),
            _ => return Some(None),
        };
        let mut content = vec![0; size.parse::<usize>().ok()? + 2];
        self.from_caller.read_exact(&mut content).await.ok()?;
        let mut headers = HeaderMap::new();
        for line in String::from_utf8_lossy(&content[..head]).lines().skip(1) {
            if let Some((name, value)) = line.split_once(':') {
                headers.append(name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value.trim()).ok()?);
            }
        }
        let body = Bytes::copy_from_slice(&content[head..content.len() - 2]);
        let asked = Asked { method: "PUB".to_owned(), path: subject.to_owned(), headers, body };
        Some(Some(Published { asked, inbox: inbox.to_owned(), whole: [line, &content].concat() }))
    }

    /// Plays a request to its end. None: the connection is cut.
    async fn answer(&mut self, published: Published) -> Option<()> {
        let Published { asked, inbox, whole } = published;
        let then = {
            let mut rules = lock(&self.shared.rules);
            let met = rules.iter().position(|(meets, _)| meets(&asked));
            met.map(|met| rules.remove(met).1)
        };
        let number = {
            let mut log = lock(&self.shared.log);
            log.push(Seen { asked: asked.clone(), served: None, told: None, fault: None });
            log.len() - 1
        };
        match &then {
            Some(Then::Fault(Fault::Lost)) => return None,
            Some(Then::Fault(Fault::Says(status))) => return self.say(&own(*status, &asked, &inbox)).await,
            Some(Then::Fault(Fault::Page(status))) => {
                let page = format!("HTTP/1.1 {status} No\r\ncontent-type: text/html\r\n\r\n<html>no</html>\r\n");
                return self.say(page.as_bytes()).await;
            }
            Some(Then::Meanwhile(deed)) => deed().await,
            _ => {}
        }
        self.to_server.write_all(&whole).await.ok()?;
        let reply = self.reply().await?;
        if let Some(log) = lock(&self.shared.log).get_mut(number) {
            log.served = Some(status(&reply));
        }
        let key = (asked.path.clone(), asked.body.clone());
        let before = lock(&self.shared.before).insert(key, reply.clone());
        match then {
            None | Some(Then::Meanwhile(_)) => self.say(&message(&inbox, &reply)).await,
            Some(Then::Fault(fault)) => match fault {
                Fault::SaysAfter(status) => self.say(&own(status, &asked, &inbox)).await,
                Fault::Slow(gate) => {
                    gate.pass().await;
                    self.say(&message(&inbox, &reply)).await
                }
                Fault::Stale => self.say(&message(&inbox, &before.unwrap_or(reply))).await,
                Fault::Garbage => self.say(&message(&inbox, b"\xff{garbage")).await,
                Fault::Torn => {
                    let whole = message(&inbox, &reply);
                    self.say(&whole[..whole.len() - 20]).await;
                    None
                }
                _ => None,
            },
        }
    }

    /// The payload of the server's next message; what it says besides is passed on. None where it complains: that is
    /// passed on, too.
    async fn reply(&mut self) -> Option<Vec<u8>> {
        loop {
            let mut line = Vec::new();
            if self.from_server.read_until(b'\n', &mut line).await.ok()? == 0 {
                return None;
            }
            let text = String::from_utf8_lossy(&line).into_owned();
            let words: Vec<&str> = text.split_ascii_whitespace().collect();
            if let ["MSG", .., size] = words.as_slice() {
                let mut content = vec![0; size.parse::<usize>().ok()? + 2];
                self.from_server.read_exact(&mut content).await.ok()?;
                content.truncate(content.len() - 2);
                return Some(content);
            }
            self.say(&line).await?;
        }
    }

    async fn say(&mut self, bytes: &[u8]) -> Option<()> {
        self.to_caller.write_all(bytes).await.ok()
    }
}

fn message(inbox: &str, payload: &[u8]) -> Vec<u8> {
    [format!("MSG {inbox} 1 {}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat()
}

/// What the server says in its own words.
fn own(status: u16, asked: &Asked, inbox: &str) -> Vec<u8> {
    if status == 403 {
        return format!("-ERR 'Permissions Violation for Publish to \"{}\"'\r\n", asked.path).into_bytes();
    }
    let announced = asked.headers.contains_key("nats-msg-id");
    let (code, err_code) = match status {
        // A message that is too large; another message came between.
        409 | 412 if announced => (400, 10_054),
        409 | 412 => (400, 10_071),
        // JetStream is not available.
        _ => (status, 10_008),
    };
    let error = json!({"error": {"code": code, "err_code": err_code, "description": "injected"}});
    message(inbox, error.to_string().as_bytes())
}

/// The status that a reply comes to.
fn status(reply: &[u8]) -> u16 {
    let reply: Value = serde_json::from_slice(reply).unwrap_or_default();
    let code = reply["error"]["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    code.unwrap_or(200)
}
