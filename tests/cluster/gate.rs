//! A gate between an operator and everything it asks, the API server and the six systems: every request can be counted,
//! held before it is passed on, held when it has been answered, refused, or cut off.
//!
//! The operator speaks plain HTTP to the gate; the gate speaks to the API server as the administrator.

#[path = "gate/names.rs"]
mod names;

use crate::operators::account;
use crate::stage::{PATIENCE, Through};
use crate::support::controlplane::ControlPlane;
use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{Request, Response, header};
use futures::StreamExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use releaseclosure::sandbox::PREFIX;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

/// A request, as far as it tells one from another.
#[derive(Clone, PartialEq, Eq)]
pub struct Asked {
    /// What is asked: `GET governance`, `PATCH tracker state`, `PUT releaseclosures/status`, `WATCH releaseclosures`.
    pub what: String,
    /// The number of the made-up release that it is about, where it is about one.
    pub release: Option<usize>,
    /// How many of its kind there have been about this release, with itself.
    pub nth: usize,
    /// How many requests there have been at all, with itself.
    pub number: usize,
    /// Its body, where that is JSON.
    pub body: Value,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Asked { what, release, nth, number: _, body: _ } = self;
        write!(f, "{what} #{nth} of {release:?}")
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It is passed on.
    Pass,
    /// It is held before it is passed on.
    Hold,
    /// It is passed on, and its reply is held.
    HoldReply,
    /// It is not passed on; the API server says this status, and how many seconds to leave it alone.
    Refuse(u16, u64),
    /// It is not passed on, and its connection is closed.
    Cut,
    /// It is passed on, and its connection is closed without a reply.
    CutReply,
}

/// What a held request is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Release,
    /// The connection is closed; what was not passed on never is.
    Discard,
}

type Judge = Box<dyn FnMut(&Asked) -> Act + Send>;

struct Held {
    asked: Asked,
    served: bool,
    tell: oneshot::Sender<Verdict>,
}

/// A request that came to the gate, and what became of it.
#[derive(Clone, Debug)]
pub struct Passed {
    /// The request.
    pub asked: Asked,
    /// The status of the reply, as soon as that is handed to the operator.
    pub answered: Option<u16>,
}

#[derive(Default)]
struct State {
    judge: Option<Judge>,
    log: Vec<Passed>,
    counts: HashMap<(Option<usize>, String), usize>,
    held: Vec<Held>,
    expired: Vec<String>,
    told: HashMap<String, usize>,
    /// Who connected last.
    connected: Option<SocketAddr>,
    /// How many operators have been buried.
    buried: usize,
}

struct Inner {
    state: Mutex<State>,
    client: Client,
    /// Where the systems are; known when the stage is set up.
    systems: OnceLock<String>,
    http: reqwest::Client,
    /// Counts how often all watches were cut.
    cuts: watch::Sender<u64>,
}

/// The gate. It closes with the test's runtime.
#[derive(Clone)]
pub struct Gate {
    inner: Arc<Inner>,
    address: SocketAddr,
    /// What an operator is told.
    pub through: Through,
}

impl Gate {
    /// A gate before an API server; to which systems it leads is said later.
    pub async fn before(plane: &'static ControlPlane, name: &str) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kubeconfig = plane.kubeconfig().with_file_name(format!("gate-{name}"));
        write_kubeconfig(&kubeconfig, address);
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let inner = Arc::new(Inner {
            state: Mutex::default(),
            client: client(plane).await,
            systems: OnceLock::new(),
            http: http.build().unwrap(),
            cuts: watch::channel(0).0,
        });
        tokio::spawn(serve(listener, inner.clone()));
        Gate { inner, address, through: Through { endpoint: format!("http://{address}{PREFIX}"), kubeconfig } }
    }

    /// Leads to the systems at this endpoint.
    pub fn leads_to(&self, endpoint: &str) {
        let server = endpoint.strip_suffix(PREFIX).expect("an endpoint of the sandbox");
        self.inner.systems.set(server.to_owned()).expect("it leads to one place");
    }

    /// From now on, this says what becomes of each request.
    pub fn judge(&self, judge: impl FnMut(&Asked) -> Act + Send + 'static) {
        self.inner.state().judge = Some(Box::new(judge));
    }

    /// From now on, everything is passed on. What is held stays held.
    pub fn open(&self) {
        self.inner.state().judge = None;
    }

    /// Everything so far, in the order in which it came.
    pub fn log(&self) -> Vec<Passed> {
        self.inner.state().log.clone()
    }

    /// How many requests there have been.
    pub fn count(&self) -> usize {
        self.inner.state().log.len()
    }

    /// What an operator that was killed had sent and nobody had read yet is never passed on, nor is anything that is held.
    /// Another one may only be started afterwards.
    pub async fn bury(&self) {
        // Connections are accepted in their order: with the one that is made here, all of the dead have been.
        let last = tokio::net::TcpStream::connect(self.address).await.unwrap().local_addr().unwrap();
        self.until("seeing all connections", |gate| gate.inner.state().connected == Some(last)).await;
        self.inner.state().buried += 1;
        self.let_go(Verdict::Discard, |_| true);
    }

    /// The requests that are held, and whether they have been passed on.
    pub fn held(&self) -> Vec<(Asked, bool)> {
        self.inner.state().held.iter().map(|held| (held.asked.clone(), held.served)).collect()
    }

    /// Lets go of the held requests that fit, and says how many they were.
    pub fn let_go(&self, verdict: Verdict, fits: impl Fn(&Asked) -> bool) -> usize {
        let mut state = self.inner.state();
        let chosen: Vec<_> = state.held.extract_if(.., |held| fits(&held.asked)).collect();
        // Whoever waits for the verdict does so on a task of its own, until it comes.
        chosen.into_iter().filter_map(|held| held.tell.send(verdict).ok()).count()
    }

    /// Ends every watch, as a connection that breaks does.
    pub fn cut_watches(&self) {
        self.inner.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// The watches that were told that what they go on from is gone.
    pub fn expired(&self) -> Vec<String> {
        self.inner.state().expired.clone()
    }

    /// How many events watches of these objects have handed on.
    pub fn told(&self, plural: &str) -> usize {
        self.inner.state().told.get(&format!("WATCH {plural}")).copied().unwrap_or_default()
    }

    /// Waits until it is so.
    pub async fn until(&self, what: &str, mut so: impl FnMut(&Gate) -> bool) {
        let start = Instant::now();
        while !so(self) {
            assert!(start.elapsed() < PATIENCE, "not {what}; held: {:?}, log: {:#?}", self.held(), self.tail());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until so many requests are held.
    pub async fn holds(&self, count: usize) {
        self.until(&format!("holding {count}"), |gate| gate.held().len() >= count).await;
    }

    fn tail(&self) -> Vec<String> {
        let log = self.log();
        let last = log.iter().rev().take(40).rev();
        last.map(|passed| format!("{:?}: {:?}", passed.asked, passed.answered)).collect()
    }
}

/// A client with the operator's account, that hands on whatever comes back.
async fn client(plane: &ControlPlane) -> Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = kube::config::Kubeconfig::read_from(account(plane)).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

fn write_kubeconfig(file: &Path, address: SocketAddr) {
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "gate",
        "clusters": [{"name": "gate", "cluster": {"server": format!("http://{address}")}}],
        "contexts": [{"name": "gate", "context": {"cluster": "gate", "user": "gate"}}],
        "users": [{"name": "gate", "user": {}}]});
    std::fs::write(file, config.to_string()).unwrap();
}

async fn serve(listener: TcpListener, inner: Arc<Inner>) {
    while let Ok((stream, peer)) = listener.accept().await {
        let inner = inner.clone();
        let of = {
            let mut state = inner.state();
            state.connected = Some(peer);
            state.buried
        };
        let service = service_fn(move |request| inner.clone().handle(request, of));
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // It ends badly where a request is cut off.
        tokio::spawn(async move { drop(connection.await) });
    }
}

fn cut() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionAborted)
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request of the operator before which so many were buried.
    async fn handle(self: Arc<Inner>, request: Request<Incoming>, of: usize) -> io::Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(Body::new(body), 16 << 20).await.map_err(io::Error::other)?;
        let (asked, act) = {
            let mut state = self.state();
            if state.buried > of {
                return Err(cut());
            }
            state.note(&parts, &body)
        };
        // On a task of its own: an operator that is killed while its request is held does not take it along.
        let inner = self.clone();
        let task = tokio::spawn(async move {
            let reply = inner.perform(parts, body, &asked, act).await?;
            inner.state().log[asked.number - 1].answered = Some(reply.status().as_u16());
            Ok(reply)
        });
        task.await.map_err(io::Error::other)?
    }

    async fn perform(
        self: &Arc<Inner>,
        parts: Parts,
        body: Bytes,
        asked: &Asked,
        act: Act,
    ) -> io::Result<Response<Body>> {
        match act {
            Act::Pass => self.forward(parts, body, asked).await,
            Act::Hold => match self.hold(asked, false).await {
                Ok(Verdict::Release) => self.forward(parts, body, asked).await,
                Ok(Verdict::Discard) | Err(_) => Err(cut()),
            },
            Act::HoldReply => {
                let (reply, body) = self.forward(parts, body, asked).await?.into_parts();
                // Read to its end, so that nothing of it depends on the server any more.
                let body = axum::body::to_bytes(body, 16 << 20).await.map_err(io::Error::other)?;
                match self.hold(asked, true).await {
                    Ok(Verdict::Release) => Ok(Response::from_parts(reply, Body::from(body))),
                    Ok(Verdict::Discard) | Err(_) => Err(cut()),
                }
            }
            Act::Refuse(code, seconds) => {
                let reason = if code == 429 { "TooManyRequests" } else { "InternalError" };
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": "refused at the gate", "reason": reason, "code": code,
                    "details": {"retryAfterSeconds": seconds}});
                let reply = Response::builder().status(code).header(header::CONTENT_TYPE, "application/json");
                let reply = reply.header(header::RETRY_AFTER, seconds).body(Body::from(status.to_string()));
                reply.map_err(io::Error::other)
            }
            Act::Cut => Err(cut()),
            Act::CutReply => {
                let reply = self.forward(parts, body, asked).await?;
                axum::body::to_bytes(reply.into_body(), 16 << 20).await.map_err(io::Error::other)?;
                Err(cut())
            }
        }
    }

    fn hold(&self, asked: &Asked, served: bool) -> oneshot::Receiver<Verdict> {
        let (tell, verdict) = oneshot::channel();
        self.state().held.push(Held { asked: asked.clone(), served, tell });
        verdict
    }

    async fn forward(self: &Arc<Inner>, mut parts: Parts, body: Bytes, asked: &Asked) -> io::Result<Response<Body>> {
        for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            parts.headers.remove(name);
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let mut reply = if path.starts_with(PREFIX) {
            let systems = self.systems.get().expect("it leads somewhere");
            let request = self.http.request(parts.method, format!("{systems}{path}")).headers(parts.headers);
            let reply = request.body(body).send().await.map_err(io::Error::other)?;
            let (status, headers) = (reply.status(), reply.headers().clone());
            let mut response = Response::new(Body::from(reply.bytes().await.map_err(io::Error::other)?));
            (*response.status_mut(), *response.headers_mut()) = (status, headers);
            response
        } else {
            parts.uri = path.parse().map_err(io::Error::other)?;
            let request = Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
            let reply = self.client.send(request).await.map_err(io::Error::other)?;
            reply.map(Body::new)
        };
        for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
            reply.headers_mut().remove(name);
        }
        Ok(if asked.what.starts_with("WATCH ") { self.watched(reply, asked) } else { reply })
    }

    /// A watch is handed on piece by piece, until all watches are cut.
    fn watched(self: &Arc<Inner>, reply: Response<Body>, asked: &Asked) -> Response<Body> {
        let mut cuts = self.cuts.subscribe();
        let (sender, receiver) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(16);
        let (parts, body) = reply.into_parts();
        if parts.status == 410 {
            self.state().expired.push(asked.what.clone());
        }
        let (what, inner) = (asked.what.clone(), self.clone());
        tokio::spawn(async move {
            let mut pieces = body.into_data_stream();
            loop {
                let piece = tokio::select! {
                    piece = pieces.next() => piece,
                    _ = cuts.changed() => Some(Err(axum::Error::new(cut()))),
                    () = sender.closed() => None,
                };
                let Some(piece) = piece else { break };
                let (broken, mut events) = (piece.is_err(), 0);
                if let Ok(bytes) = &piece {
                    // An event is a line.
                    events = bytes.iter().filter(|byte| **byte == b'\n').count();
                    if String::from_utf8_lossy(bytes).contains("\"code\":410") {
                        inner.state().expired.push(what.clone());
                    }
                }
                if sender.send(piece.map_err(io::Error::other)).await.is_err() || broken {
                    break;
                }
                *inner.state().told.entry(what.clone()).or_default() += events;
            }
        });
        let pieces =
            futures::stream::unfold(receiver, |mut pieces| async { pieces.recv().await.map(|piece| (piece, pieces)) });
        Response::from_parts(parts, Body::from_stream(pieces))
    }
}

impl State {
    fn note(&mut self, parts: &Parts, body: &Bytes) -> (Asked, Act) {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let (what, release) = names::read(parts, &json);
        let nth = self.counts.entry((release, what.clone())).or_default();
        *nth += 1;
        let asked = Asked { what, release, nth: *nth, number: self.log.len() + 1, body: json };
        self.log.push(Passed { asked: asked.clone(), answered: None });
        let act = self.judge.as_mut().map_or(Act::Pass, |judge| judge(&asked));
        (asked, act)
    }
}
