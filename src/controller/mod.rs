//! The driver: watches the five kinds, and for each closure that something woke makes one pass.
//!
//! In reading order: [`cache`] is what the watches keep; `watches` say what that is, and whom a change wakes; `agenda`
//! says when which closure is looked at; [`context`] is what every pass shares; [`pass`] is one pass, which resolves
//! [`playbooks`] and [`connections`] (with their [`secrets`]), runs [`crate::drive`]'s loop over them, and records what came
//! of it ([`draft`], [`record`], [`packets`], [`events`]). Beside that, [`announce`] tells people of halts, and `feeds` make
//! closures of reviews that were accepted. This file wires them together.
//!
//! **Invariant:** nothing here decides. What to do next, the core says; what stands against doing it (a changed object, a
//! lease that may end, a limit) only ever makes a pass stop early.

mod agenda;
pub mod announce;
pub mod cache;
pub mod connections;
pub mod context;
pub mod draft;
pub mod events;
mod feeds;
pub mod packets;
pub mod pass;
pub mod playbooks;
pub mod record;
pub mod secrets;
pub mod tally;
mod watches;

use crate::api::{AcceptanceFeed, ClosurePlaybook, SystemConnection};
use crate::drive;
use crate::feeds::server;
use crate::health::{self, Health};
use crate::lease::{self, Lease, Lost};
use crate::settings::Operator;
use crate::spans;
use crate::telemetry::{Ending, Metrics};
use cache::{Holding, Unfinished};
use connections::Connections;
use context::{Context, Locks, Room};
use events::Events;
use feeds::Feeds;
use futures::{FutureExt as _, future};
use kube::runtime::reflector::{ObjectRef, store::Writer};
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use pass::{Next, PassError};
use playbooks::Playbooks;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{Instrument as _, Span, error, info, info_span, warn};

/// The oldest Kubernetes whose schemas and policies behave as the shipped ones need.
const KUBERNETES_MIN: (u32, u32) = (1, 33);
/// How long a stop waits for passes under way. A request to a system ends within its connection's timeout.
const GRACE: Duration = Duration::from_secs(25);
/// How often connections are looked over for a probe that is due, and the operator says that it lives.
const TICK: Duration = Duration::from_secs(5);

/// Why the operator ends otherwise than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no cluster to run against.
    #[error("no cluster: set KUBECONFIG, or run in a pod with a service account")]
    NoCluster(#[source] kube::config::InferConfigError),
    /// The configuration cannot be used.
    #[error("the cluster's configuration cannot be used")]
    Client(#[source] kube::Error),
    /// The API server gives no answer.
    #[error("the API server gives no answer")]
    ApiServer(#[source] kube::Error),
    /// The API server is too old.
    #[error("this is Kubernetes {0}, and the operator needs {min}.{minor} or later", min = KUBERNETES_MIN.0, minor = KUBERNETES_MIN.1)]
    TooOld(String),
    /// The kinds are not installed.
    #[error("the kind {0} is not installed or may not be read: apply crds/ and the operator's role, then start again")]
    NotInstalled(&'static str, #[source] kube::Error),
    /// The address for metrics and probes cannot be had.
    #[error("the metrics address cannot be used")]
    Bind(#[source] std::io::Error),
    /// The address for webhooks cannot be had.
    #[error("the feeds' address cannot be used")]
    BindFeeds(#[source] std::io::Error),
    /// Another replica may lead now.
    #[error("leadership ended")]
    Lost(#[source] Lost),
}

/// Runs the operator until it is told to stop (SIGTERM, SIGINT), or until it may not lead any more.
///
/// # Errors
/// See [`Error`]. Whoever started it should start it again.
pub async fn run(settings: Operator) -> Result<(), Error> {
    let stop = shutdown();
    let config = Config::infer().await.map_err(Error::NoCluster)?;
    let client = client(&config)?;
    check_cluster(&client, &settings).await?;

    let (health, metrics) = (Health::new(), Metrics::new());
    let (end_serving, serving) = serve_health(&settings, &health, &metrics).await?;
    let identity = settings.identity();
    let lease_namespace = settings.lease_namespace.name().unwrap_or(&config.default_namespace).to_owned();
    let lease_client = lease::client(&config).map_err(Error::Client)?;
    let lease = Lease::new(lease_client, &lease_namespace, &settings.lease_name, identity.clone());

    let mut stop = pin!(stop.shared());
    health.set_caches_complete(true);
    health.set_takes_part(true);
    let beating = beat(health.clone());
    let leadership = tokio::select! {
        leadership = lease.acquire(|holder| info!(holder, "standing by")) => leadership,
        () = &mut stop => {
            beating.abort();
            end_serving();
            return Ok(());
        }
    };
    metrics.set_leader(true);
    health.set_caches_complete(false);
    info!(identity, version = env!("CARGO_PKG_VERSION"), "leading");

    let (events, publishing) = Events::start(client.clone(), &identity);
    let outcome =
        lead(&settings, client, leadership.fence(), &health, &metrics, events, stop.clone(), leadership.lost()).await;
    metrics.set_leader(false);
    metrics.set_watch(None);
    metrics.set_figures(None);
    if outcome.is_ok() {
        // Nothing is written any more: the next replica begins while the last events go out. Those are handed over within a
        // moment; what is left then is not worth a longer stop.
        leadership.release().await;
        let _ = tokio::time::timeout(Duration::from_secs(2), publishing).await;
    }
    beating.abort();
    end_serving();
    let _ = tokio::time::timeout(Duration::from_secs(1), serving).await;
    outcome
}

/// A client that fails instead of retrying by itself: each pass decides what a failure means.
fn client(config: &Config) -> Result<Client, Error> {
    let mut config = config.clone();
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    Client::try_from(config).map_err(Error::Client)
}

/// Sees that the API server is new enough and knows the kinds, before anything relies on it.
async fn check_cluster(client: &Client, settings: &Operator) -> Result<(), Error> {
    let version = client.apiserver_version().await.map_err(Error::ApiServer)?;
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().unwrap_or(0);
    if (number(&version.major), number(&version.minor)) < KUBERNETES_MIN {
        return Err(Error::TooOld(version.git_version));
    }
    let one = kube::api::ListParams::default().limit(1);
    let namespace = settings.namespace.name();
    let missing = |kind| move |error| Error::NotInstalled(kind, error);
    api::<Unfinished>(client, namespace).list_metadata(&one).await.map_err(missing("ReleaseClosure"))?;
    api::<Holding>(client, namespace).list_metadata(&one).await.map_err(missing("FollowUpPacket"))?;
    api::<ClosurePlaybook>(client, namespace).list_metadata(&one).await.map_err(missing("ClosurePlaybook"))?;
    api::<SystemConnection>(client, namespace).list_metadata(&one).await.map_err(missing("SystemConnection"))?;
    api::<AcceptanceFeed>(client, namespace).list_metadata(&one).await.map_err(missing("AcceptanceFeed"))?;
    Ok(())
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

type EndServing = Box<dyn FnOnce() + Send>;

async fn serve_health(
    settings: &Operator,
    health: &Health,
    metrics: &Metrics,
) -> Result<(EndServing, tokio::task::JoinHandle<()>), Error> {
    let Some(address) = settings.metrics_bind_address.0 else {
        return Ok((Box::new(|| {}), tokio::spawn(async {})));
    };
    let listener = health::bind(address).await.map_err(Error::Bind)?;
    if let Ok(address) = listener.local_addr() {
        info!(%address, "serving /metrics, /livez and /readyz");
    }
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let serving = health::serve(listener, health.clone(), metrics.clone(), ended.map(|_| ()));
    let task = tokio::spawn(async move {
        if let Err(error) = serving.await {
            error!(%error, "metrics and probes are not served any more");
        }
    });
    Ok((Box::new(move || drop(end)), task))
}

fn beat(health: Health) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            health.beat();
            tokio::time::sleep(TICK).await;
        }
    })
}

async fn shutdown() {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            warn!(%error, "SIGTERM cannot be caught; only SIGINT stops this cleanly");
            let _ = tokio::signal::ctrl_c().await;
            return;
        }
    };
    tokio::select! {
        _ = terminate.recv() => info!("told to stop by SIGTERM"),
        _ = tokio::signal::ctrl_c() => info!("told to stop by SIGINT"),
    }
}

/// Leads: watches and makes passes until told to stop or until the lease is lost.
#[allow(clippy::too_many_arguments, reason = "everything a leader needs, from the one place that has it")]
async fn lead(
    settings: &Operator,
    client: Client,
    fence: lease::Fence,
    health: &Health,
    metrics: &Metrics,
    events: Events,
    stop: impl Future<Output = ()>,
    lost: impl Future<Output = Lost>,
) -> Result<(), Error> {
    let namespace = settings.namespace.name();
    let (wake, woken) = mpsc::unbounded_channel();
    let (tell, told) = mpsc::unbounded_channel();
    let closures = Writer::<Unfinished>::default();
    let playbooks = Writer::<ClosurePlaybook>::default();
    let connected = Writer::<SystemConnection>::default();
    let connections =
        Arc::new(Connections::new(client.clone(), connected.as_reader(), settings.allow_loopback_connections));
    let context = Arc::new(Context {
        client: client.clone(),
        closures: closures.as_reader(),
        siblings: Arc::default(),
        holds: Arc::default(),
        playbooks: Playbooks::new(playbooks.as_reader()),
        connections,
        fence,
        metrics: metrics.clone(),
        tally: tally::Tally::new(metrics.clone()),
        events,
        wake,
        tell,
        keys: Locks::default(),
        room: Room::default(),
        memory: Mutex::default(),
    });

    // What a closure needs is known before the first pass: a list that is not complete would show as something missing.
    let (holds_known, holding) = watches::packets(&context, api(&client, namespace));
    let (playbooks_known, rules) = watches::playbooks(&context, api(&client, namespace), playbooks);
    let (connections_known, systems) = watches::connections(&context, api(&client, namespace), connected);
    let listener = match settings.feeds_bind_address.0 {
        Some(address) => Some(health::bind(address).await.map_err(Error::BindFeeds)?),
        None => None,
    };
    let offers = Writer::<AcceptanceFeed>::default();
    let feeds = Arc::new(Feeds::new(context.clone(), offers.as_reader(), listener.is_some()));
    let (feeds_known, fed) = watches::feeds(&feeds, api(&client, namespace), offers);
    let background = future::join4(holding, rules, systems, fed).map(|_| ());
    let (caches_complete, may_feed) = tokio::sync::oneshot::channel::<()>();
    let (end_feeds, feeds_ended) = tokio::sync::oneshot::channel::<()>();
    let caches = async {
        // An error means that the watch has ended, and with it this leader.
        let _ = tokio::join!(holds_known, playbooks_known, connections_known);
    };

    let stopping = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let passes = async {
        caches.await;
        // Nobody waits for it any more when the leader has ended.
        let _ = caches_complete.send(());
        info!("the caches of packets, playbooks and connections are complete");
        let changed = watches::closures(&context, api(&client, namespace), closures, health.clone());
        let woken = futures::stream::unfold(woken, |mut woken| async {
            woken.recv().await.map(|reference| (reference, woken))
        });
        let stopping = stopping.clone();
        let pass = |reference| reconcile(reference, context.clone(), stopping.clone());
        agenda::keep(futures::stream::select(changed, woken), pass).await;
    };
    metrics.set_watch(Some(context.clone()));
    let ticking = future::join(watches::tick(&context), tally::keep(&context, namespace));
    let telling = announce::keep(&context, told);
    let feeding = async {
        // What is judged before that would seem to lack its playbook.
        let (Ok(()), Ok(())) = (feeds_known.await, may_feed.await) else { return };
        feeds.begin();
        let serving = async {
            match listener {
                Some(listener) => {
                    if let Ok(address) = listener.local_addr() {
                        info!(%address, "serving /feeds");
                    }
                    server::serve(listener, feeds.clone(), feeds_ended.map(|_| ())).await;
                }
                None => future::pending().await,
            }
        };
        future::join(serving, feeds.keep()).await;
    };

    let mut running = pin!(future::join5(background, passes, ticking, telling, feeding));
    let (mut stop, mut lost) = (pin!(stop), pin!(lost));
    tokio::select! {
        _ = &mut running => Ok(()),
        lost = &mut lost => {
            error!(%lost, "leadership ended; nothing is written any more");
            Err(Error::Lost(lost))
        }
        () = &mut stop => {
            stopping.store(true, std::sync::atomic::Ordering::SeqCst);
            drop(end_feeds);
            // Passes under way are let finish; they need the watches for their fences.
            let idle = async {
                while !context.room.is_empty() || !feeds.is_idle() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! {
                _ = &mut running => {}
                () = idle => info!("every pass under way has ended"),
                () = tokio::time::sleep(GRACE) => warn!("passes were still under way and are broken off"),
                lost = &mut lost => return Err(Error::Lost(lost)),
            }
            Ok(())
        }
    }
}

/// One closure that something woke: waits for its turn, makes a pass, says when to look again.
async fn reconcile(
    reference: ObjectRef<Unfinished>,
    context: Arc<Context>,
    stopping: Arc<std::sync::atomic::AtomicBool>,
) -> Next {
    // It may have left the cache since it was woken.
    let Some(object) = context.closures.get(&reference) else { return Next::OnChange };
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let queued = context.metrics.queue();
    let place = context.room.enter(&namespace, &object.spec.playbook_ref.name).await;
    let turn = context.keys.lock((namespace.clone(), object.key().as_str().to_owned())).await;
    drop(queued);
    if stopping.load(std::sync::atomic::Ordering::SeqCst) {
        return Next::OnChange;
    }
    let span = info_span!("pass", closure = %object.key(), namespace, object = name);
    let told = spans::pass(&namespace, &name);
    let pass = Box::pin(pass::run(&context, &namespace, &name).instrument(told.clone()));
    let next = guarded(&context, &object, told, pass).instrument(span).await;
    drop((turn, place));
    next
}

/// Makes a pass, counts it, and says when to look again. A panic ends this pass and nothing else.
async fn guarded(
    context: &Context,
    object: &Unfinished,
    told: Span,
    pass: impl Future<Output = Result<pass::Ended, PassError>>,
) -> Next {
    let counted = context.metrics.pass();
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let uid = object.uid().unwrap_or_default();
    let (ending, next) = match AssertUnwindSafe(pass).catch_unwind().await {
        Ok(Ok(ended)) => ended,
        Ok(Err(PassError::Store(record::StoreError::Superseded))) => (Ending::Conflict, Next::AtOnce),
        Ok(Err(failure)) => {
            let attempts = fail(context, &uid);
            warn!(namespace, name, error = %Chain(&failure), "a pass was not finished");
            (Ending::Error, Next::After(drive::after_failures(attempts, fastrand::f64())))
        }
        Err(_) => {
            let attempts = fail(context, &uid);
            error!(namespace, name, "a pass panicked; this closure is tried again, and no other is disturbed");
            (Ending::Panic, Next::After(drive::after_failures(attempts + 3, fastrand::f64())))
        }
    };
    spans::pass_ended(&told, ending.as_str(), matches!(ending, Ending::Error | Ending::Panic));
    counted.end(ending);
    next
}

/// Counts a pass that came to nothing.
fn fail(context: &Context, uid: &str) -> u32 {
    let mut remembered = context.recall(uid);
    let attempts = remembered.failed();
    context.remember(uid, remembered);
    attempts
}

/// An error with its causes, for a log line.
struct Chain<'a>(&'a (dyn std::error::Error + 'a));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
