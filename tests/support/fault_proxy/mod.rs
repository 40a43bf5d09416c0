//! A proxy in front of a real server, which loses, delays, replaces and spoils what it is told to, one request at a time,
//! and keeps a log of everything that passed.
//!
//! ```ignore
//! let proxy = FaultProxy::before(&gitea.url()).await;
//! proxy.on(When::method("PATCH").path(r"/issues/\d+$").nth(1), Then::DropAfter(Cut::Close));
//! ```
//!
//! The first rule that is for a request and due does its deed; the others do not count it. What goes on goes on although
//! the caller has given up, as it would in a network. `Host` is passed on as it came, so that signatures stay valid; in
//! `Location` and `Link` the server's address becomes the proxy's, so that nobody is led round it.
//!
//! For what does not speak HTTP there is [`tcp::Line`].

pub mod rules;
pub mod tcp;
mod wire;

pub use rules::{Answer, Gate, Then, When};
pub use wire::Cut;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use rules::Rule;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use wire::{Gatekeeper, Knife};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// Its path, with the query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Asked {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A request, and what became of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The request.
    pub asked: Asked,
    /// What the server replied, if it was asked and did.
    pub served: Option<u16>,
    /// What the caller was told; nothing, if the connection was cut or it is not told yet.
    pub told: Option<u16>,
    /// The name of the fault, if there was one.
    pub fault: Option<&'static str>,
}

/// A reply that is held whole.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Held {
    fn of(status: u16, headers: &[(String, String)], body: Bytes) -> Held {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a header's name");
            map.append(name, HeaderValue::from_str(value).expect("a header's value"));
        }
        Held { status: StatusCode::from_u16(status).expect("a status"), headers: map, body }
    }

    fn with_body(mut self, body: impl Into<Bytes>) -> Held {
        self.headers.remove(header::CONTENT_LENGTH);
        self.body = body.into();
        self
    }

    fn into_response(self, body: Body) -> Response {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// What is to be done with the caller in the end.
enum Outcome {
    Reply(Held),
    /// So much of the body, then the end of the connection.
    Part(Held, usize),
    Cut(Cut),
}

/// The proxy. It ends when it is dropped.
pub struct FaultProxy {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    client: reqwest::Client,
    upstream: String,
    address: String,
    rules: Mutex<Vec<Rule>>,
    log: Mutex<Vec<Seen>>,
    /// The last reply to each GET, for [`Then::Stale`].
    remembered: Mutex<HashMap<String, Held>>,
    /// No reply is remembered any more.
    full: AtomicBool,
}

/// How long a test waits for what is to come, before it fails: far longer than anything should take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something, but not for ever.
pub async fn patiently<T>(what: &str, awaited: impl Future<Output = T>) -> T {
    let came = tokio::time::timeout(PATIENCE, awaited).await;
    came.unwrap_or_else(|_| panic!("{what}: not so after {PATIENCE:?}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FaultProxy {
    /// One in front of the server at this base URL.
    pub async fn before(upstream: &str) -> FaultProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        // A server closes what was idle for as long as it likes, be it while the next request is on its way.
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(60))
            .build()
            .expect("a client");
        let shared = Arc::new(Shared {
            client,
            upstream: upstream.trim_end_matches('/').to_owned(),
            address: listener.local_addr().expect("an address").to_string(),
            rules: Mutex::default(),
            log: Mutex::default(),
            remembered: Mutex::default(),
            full: AtomicBool::new(false),
        });
        let router = Router::new().fallback(handle).with_state(shared.clone());
        let service = router.into_make_service_with_connect_info::<Knife>();
        let task = tokio::spawn(async move {
            axum::serve(Gatekeeper(listener), service).await.expect("it serves until it is dropped");
        });
        FaultProxy { shared, task }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// One rule more, behind those there are.
    pub fn on(&self, when: When, then: Then) {
        lock(&self.shared.rules).push(Rule::new(when, then));
    }

    /// No more faults.
    pub fn heal(&self) {
        lock(&self.shared.rules).clear();
    }

    /// Everything that came, in the order in which it came.
    pub fn log(&self) -> Vec<Seen> {
        lock(&self.shared.log).clone()
    }

    /// The requests that the server was asked for and that were not reads: what may have changed something.
    pub fn writes(&self) -> Vec<Seen> {
        let read = |seen: &Seen| matches!(&*seen.asked.method, "GET" | "HEAD" | "OPTIONS");
        self.log().into_iter().filter(|seen| seen.served.is_some() && !read(seen)).collect()
    }

    /// What [`Then::Stale`] answers is from now on what it would answer now.
    pub fn remember_no_more(&self) {
        self.shared.full.store(true, Ordering::Relaxed);
    }

    /// Forgets the log.
    pub fn forget(&self) {
        lock(&self.shared.log).clear();
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(knife): ConnectInfo<Knife>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    // A caller that broke off in the middle has asked for nothing.
    let Ok(body) = axum::body::to_bytes(body, 256 << 20).await else { return cut(&knife, Cut::Close).await };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let asked = Asked { method: parts.method.to_string(), path, headers: parts.headers, body };
    // A task of its own: it goes on although the caller has given up.
    let outcome = tokio::spawn(async move { shared.serve(asked).await }).await;
    match outcome {
        Ok(Outcome::Reply(held)) => {
            let body = Body::from(held.body.clone());
            held.into_response(body)
        }
        Ok(Outcome::Part(held, bytes)) => truncated(held, bytes, knife),
        Ok(Outcome::Cut(how)) => cut(&knife, how).await,
        Err(_) => cut(&knife, Cut::Close).await,
    }
}

/// Cuts the connection; its task ends with it.
async fn cut(knife: &Knife, how: Cut) -> Response {
    knife.cut(how);
    std::future::pending().await
}

/// Announces all of a body and sends a part of it.
fn truncated(mut held: Held, bytes: usize, knife: Knife) -> Response {
    let part = held.body.slice(..bytes.min(held.body.len()));
    held.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(held.body.len()));
    let rest = futures::stream::once(async move {
        // What is sent goes out while nothing more is there.
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
        knife.cut(Cut::Close);
        std::future::pending::<Result<Bytes, std::io::Error>>().await
    });
    let first = futures::stream::once(async move { Ok::<_, std::io::Error>(part) });
    held.into_response(Body::from_stream(futures::StreamExt::chain(first, rest)))
}

impl Shared {
    async fn serve(&self, asked: Asked) -> Outcome {
        let then = lock(&self.rules).iter_mut().find_map(|rule| rule.meets(&asked));
        let number = {
            let mut log = lock(&self.log);
            let fault = then.as_ref().map(Then::name);
            log.push(Seen { asked: asked.clone(), served: None, told: None, fault });
            log.len() - 1
        };
        let outcome = self.deed(&asked, number, then).await;
        if let Outcome::Reply(held) | Outcome::Part(held, _) = &outcome {
            self.note(number, &asked, |seen| seen.told = Some(held.status.as_u16()));
        }
        outcome
    }

    async fn deed(&self, asked: &Asked, number: usize, then: Option<Then>) -> Outcome {
        match &then {
            Some(Then::DropBefore(how)) => return Outcome::Cut(*how),
            Some(Then::Answer(answer)) => return Outcome::Reply(answer.held()),
            Some(Then::Delay(time)) => tokio::time::sleep(*time).await,
            Some(Then::Hold(gate)) => gate.pass().await,
            Some(Then::Meanwhile(callback)) => callback().await,
            Some(Then::Stale) if asked.method == "GET" => {
                if let Some(held) = lock(&self.remembered).get(&asked.path) {
                    return Outcome::Reply(held.clone());
                }
            }
            _ => {}
        }
        // A server that is gone is a connection that is cut.
        let Ok(held) = self.forward(asked).await else { return Outcome::Cut(Cut::Close) };
        self.note(number, asked, |seen| seen.served = Some(held.status.as_u16()));
        match then {
            Some(Then::DropAfter(how)) => return Outcome::Cut(how),
            Some(Then::DelayAfter(time)) => tokio::time::sleep(time).await,
            Some(Then::HoldAfter(gate)) => gate.pass().await,
            Some(Then::AnswerAfter(answer)) => return Outcome::Reply(answer.held()),
            Some(Then::Garbage) => return Outcome::Reply(held.with_body(&b"\x00\xff{]<html>\xfe not this"[..])),
            Some(Then::Truncate(bytes)) => return Outcome::Part(held, bytes),
            Some(Then::ContentType(kind)) => {
                let mut held = held;
                held.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
                return Outcome::Reply(held);
            }
            Some(Then::Change(change)) => {
                let body = change(String::from_utf8_lossy(&held.body).into_owned());
                return Outcome::Reply(held.with_body(body));
            }
            _ => {}
        }
        Outcome::Reply(held)
    }

    /// Writes down what became of a request; not if the log was forgotten meanwhile.
    fn note(&self, number: usize, asked: &Asked, what: impl FnOnce(&mut Seen)) {
        let mut log = lock(&self.log);
        if let Some(seen) = log.get_mut(number).filter(|seen| seen.asked.path == asked.path) {
            what(seen);
        }
    }

    async fn forward(&self, asked: &Asked) -> Result<Held, reqwest::Error> {
        let method = reqwest::Method::from_bytes(asked.method.as_bytes()).expect("it came over HTTP");
        let mut headers = asked.headers.clone();
        for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::EXPECT, header::TE, header::UPGRADE] {
            headers.remove(name);
        }
        let url = format!("{}{}", self.upstream, asked.path);
        let response = self.client.request(method, url).headers(headers).body(asked.body.clone()).send().await?;
        let (status, mut headers) = (response.status(), response.headers().clone());
        headers.remove(header::TRANSFER_ENCODING);
        headers.remove(header::CONNECTION);
        let upstream = self.upstream.split("://").last().unwrap_or_default();
        for name in [header::LOCATION, header::LINK] {
            let led = headers.get(&name).and_then(|value| value.to_str().ok());
            if let Some(led) = led.and_then(|led| led.replace(upstream, &self.address).parse().ok()) {
                headers.insert(name, led);
            }
        }
        let held = Held { status, headers, body: response.bytes().await? };
        if asked.method == "GET" {
            let mut remembered = lock(&self.remembered);
            if !self.full.load(Ordering::Relaxed) {
                remembered.insert(asked.path.clone(), held.clone());
            }
        }
        Ok(held)
    }
}
