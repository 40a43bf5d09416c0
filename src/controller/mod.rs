//! The driver: watches the four kinds, and for each closure that something woke makes one pass.
//!
//! In reading order: [`cache`] is what the watches keep; `agenda` says when which closure is looked at; [`context`] is
//! what every pass shares; [`pass`] is one pass, which resolves [`playbooks`] and [`connections`] (with their
//! [`secrets`]), looks ([`observe`]), writes ([`act`]) and records ([`record`], [`packets`], [`events`]). This file wires
//! them together.
//!
//! **Invariant:** nothing here decides. What to do next, the core says; what stands against doing it (a changed object, a
//! lease that may end, a limit) only ever makes a pass stop early.

pub mod act;
mod agenda;
pub mod cache;
pub mod connections;
pub mod context;
pub mod events;
pub mod observe;
pub mod packets;
pub mod pass;
pub mod playbooks;
pub mod record;
pub mod secrets;

use crate::api::{ClosurePlaybook, REQUESTED_AT, SystemConnection};
use crate::health::{self, Health};
use crate::lease::{self, Lease, Lost};
use crate::settings::Operator;
use crate::telemetry::{Ending, Metrics};
use cache::{Holding, Unfinished};
use connections::Connections;
use context::{Context, Parts};
use events::Events;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, future};
use kube::runtime::reflector::{self, ObjectRef, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use pass::{Next, PassError};
use playbooks::Playbooks;
use std::collections::HashMap;
use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

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
    if outcome.is_ok() {
        // Events are handed over within a moment; what is left then is not worth a longer stop.
        let _ = tokio::time::timeout(Duration::from_secs(2), publishing).await;
        leadership.release().await;
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
    let closures = Writer::<Unfinished>::default();
    let playbooks = Writer::<ClosurePlaybook>::default();
    let connected = Writer::<SystemConnection>::default();
    let connections =
        Arc::new(Connections::new(client.clone(), connected.as_reader(), settings.allow_loopback_connections));
    let context = Arc::new(Context::new(Parts {
        client: client.clone(),
        closures: closures.as_reader(),
        siblings: Arc::default(),
        holds: Arc::default(),
        playbooks: Playbooks::new(playbooks.as_reader()),
        connections,
        fence,
        metrics: metrics.clone(),
        events,
        wake,
    }));

    // What a closure needs is known before the first pass: a list that is not complete would show as something missing.
    let (holds_known, holding) = watch_packets(&context, api(&client, namespace));
    let (playbooks_known, rules) = watch_playbooks(&context, api(&client, namespace), playbooks);
    let (connections_known, systems) = watch_connections(&context, api(&client, namespace), connected);
    let background = future::join3(holding, rules, systems).map(|_| ());
    let caches = async {
        // An error means that the watch has ended, and with it this leader.
        let _ = tokio::join!(holds_known, playbooks_known, connections_known);
    };

    let stopping = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let passes = async {
        caches.await;
        info!("the caches of packets, playbooks and connections are complete");
        let changed = watch_closures(&context, api(&client, namespace), closures, health.clone());
        let woken = futures::stream::unfold(woken, |mut woken| async {
            woken.recv().await.map(|reference| (reference, woken))
        });
        let stopping = stopping.clone();
        let pass = |reference| reconcile(reference, context.clone(), stopping.clone());
        agenda::keep(futures::stream::select(changed, woken), pass).await;
    };
    let ticking = tick(&context);

    let mut running = pin!(future::join3(background, passes, ticking));
    let (mut stop, mut lost) = (pin!(stop), pin!(lost));
    tokio::select! {
        _ = &mut running => Ok(()),
        lost = &mut lost => {
            error!(%lost, "leadership ended; nothing is written any more");
            Err(Error::Lost(lost))
        }
        () = &mut stop => {
            stopping.store(true, std::sync::atomic::Ordering::SeqCst);
            // Passes under way are let finish; they need the watches for their fences.
            let idle = async {
                while !context.room.is_empty() {
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
    let place = context.room.enter(&namespace, &object.spec.playbook_ref.name).await;
    let turn = context.keys.lock((namespace.clone(), object.key().as_str().to_owned())).await;
    if stopping.load(std::sync::atomic::Ordering::SeqCst) {
        return Next::OnChange;
    }
    let next = guarded(&context, &object, Box::pin(pass::run(&context, &namespace, &name))).await;
    drop((turn, place));
    next
}

/// Makes a pass, counts it, and says when to look again. A panic ends this pass and nothing else.
async fn guarded(
    context: &Context,
    object: &Unfinished,
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
            (Ending::Error, Next::After(growing(attempts)))
        }
        Err(_) => {
            let attempts = fail(context, &uid);
            error!(namespace, name, "a pass panicked; this closure is tried again, and no other is disturbed");
            (Ending::Panic, Next::After(growing(attempts + 3)))
        }
    };
    counted.end(ending);
    next
}

/// Counts a pass that came to nothing.
fn fail(context: &Context, uid: &str) -> u32 {
    let mut remembered = context.recall(uid);
    remembered.attempts += 1;
    let attempts = remembered.attempts;
    context.remember(uid, remembered);
    attempts
}

/// Half a second, doubling to two minutes, with up to a quarter of jitter.
fn growing(attempts: u32) -> Duration {
    let plain = Duration::from_millis(250 << attempts.min(10)).min(Duration::from_secs(120));
    plain.mul_f64(1.0 - 0.25 * fastrand::f64())
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

/// Resolves with the first complete list of a watch.
type Known = tokio::sync::oneshot::Receiver<()>;

/// Tells once.
#[derive(Default)]
struct Once(Mutex<Option<tokio::sync::oneshot::Sender<()>>>);

impl Once {
    fn new() -> (Once, Known) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        (Once(Mutex::new(Some(sender))), receiver)
    }

    fn tell(&self) {
        if let Some(sender) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Nobody waits any more when the leader has ended.
            let _ = sender.send(());
        }
    }
}

/// A watch that goes on after every failure, with a growing pause.
fn events_of<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = Event<K>>
where
    K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    watch(api, config)
        .default_backoff()
        .inspect_err(|error| warn!(%error, kind = %K::kind(&()), "a watch failed; it begins again"))
        .filter_map(|event| future::ready(event.ok()))
}

/// Unfinished closures. What comes out is what has to be looked at: a closure whose spec or request has changed, and the
/// siblings of one that left. What a list brings comes out when the list is complete: before that, which of several objects
/// of one closure is the oldest cannot be told.
fn watch_closures(
    context: &Arc<Context>,
    api: Api<Unfinished>,
    writer: Writer<Unfinished>,
    health: Health,
) -> impl Stream<Item = ObjectRef<Unfinished>> + use<> {
    let context = context.clone();
    let mut seen: HashMap<ObjectRef<Unfinished>, u64> = HashMap::new();
    // Survives a list that breaks off: what that one brought is not new to the next.
    let mut listed = Vec::new();
    let config = watcher::Config::default().fields("status.completionTime=");
    let events = events_of(api, config).map(|mut event| {
        if let Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) = &mut event {
            cache::prune(&mut object.metadata);
        }
        event
    });
    reflector::reflector(writer, events.map(Ok::<_, watcher::Error>))
        .filter_map(|event| future::ready(event.ok()))
        .flat_map(move |event| {
            context.siblings.apply(&event);
            let mut woken = Vec::new();
            match &event {
                Event::Init => {}
                Event::InitDone => {
                    woken.append(&mut listed);
                    health.set_caches_complete(true);
                    info!("the cache of unfinished closures is complete");
                    let alive: std::collections::HashSet<_> =
                        context.closures.state().iter().map(|object| ObjectRef::from_obj(&**object)).collect();
                    seen.retain(|reference, _| alive.contains(reference));
                }
                Event::Apply(object) | Event::InitApply(object) => {
                    let (reference, print) = (ObjectRef::from_obj(object), fingerprint(object));
                    if seen.insert(reference.clone(), print) != Some(print) {
                        let list = if matches!(event, Event::InitApply(_)) { &mut listed } else { &mut woken };
                        list.push(reference);
                    }
                }
                Event::Delete(object) => {
                    let namespace = object.namespace().unwrap_or_default();
                    seen.remove(&ObjectRef::from_obj(object));
                    if let Some(uid) = &object.metadata.uid {
                        context.forget(uid);
                    }
                    let siblings = context.siblings.of_key(&namespace, object.key().as_str());
                    woken.extend(siblings.iter().map(|(name, _)| ObjectRef::new(name).within(&namespace)));
                }
            }
            futures::stream::iter(woken)
        })
}

/// What of a closure a pass depends on: everything but its status, which is this operator's own.
fn fingerprint(object: &Unfinished) -> u64 {
    let mut hasher = DefaultHasher::new();
    let meta = &object.metadata;
    meta.uid.hash(&mut hasher);
    meta.generation.hash(&mut hasher);
    meta.deletion_timestamp.is_some().hash(&mut hasher);
    meta.annotations.as_ref().and_then(|annotations| annotations.get(REQUESTED_AT)).hash(&mut hasher);
    hasher.finish()
}

/// Packets that hold a closure. One that is resolved with Resume leaves the watch, which wakes its closure too.
fn watch_packets(context: &Arc<Context>, api: Api<Holding>) -> (Known, impl Future<Output = ()> + use<>) {
    let context = context.clone();
    let (once, known) = Once::new();
    let config = watcher::Config::default().fields("spec.resolution.decision!=Resume");
    let watching = async move {
        let mut events = pin!(events_of(api, config));
        while let Some(event) = events.next().await {
            context.holds.apply(&event);
            match event {
                Event::InitDone => once.tell(),
                Event::Apply(packet) | Event::Delete(packet) => {
                    let context = context.clone();
                    tokio::spawn(async move {
                        let (namespace, name) = (packet.namespace().unwrap_or_default(), packet.name_any());
                        if let Err(error) = packets::heed(&context, &namespace, &packet.spec.closure_key, &name).await {
                            warn!(%error, namespace, packet = name, "a packet could not be read");
                        }
                    });
                }
                Event::Init | Event::InitApply(_) => {}
            }
        }
    };
    (known, watching)
}

/// Playbooks: each that is new or changed is judged, and wakes the closures that wait under it.
fn watch_playbooks(
    context: &Arc<Context>,
    api: Api<ClosurePlaybook>,
    writer: Writer<ClosurePlaybook>,
) -> (Known, impl Future<Output = ()> + use<>) {
    let context = context.clone();
    let (once, known) = Once::new();
    let events = events_of(api, watcher::Config::default());
    let watching = async move {
        let mut seen: HashMap<ObjectRef<ClosurePlaybook>, (Option<String>, Option<i64>)> = HashMap::new();
        let mut events = pin!(reflector::reflector(writer, events.map(Ok::<_, watcher::Error>)));
        while let Some(Ok(event)) = events.next().await {
            match event {
                Event::InitDone => {
                    once.tell();
                    for playbook in context.playbooks.all() {
                        judge(&context, &playbook).await;
                    }
                }
                Event::Apply(playbook) => {
                    // Also where only the status changed: a verdict that met a conflict is written on the new version.
                    judge(&context, &playbook).await;
                    let version = (playbook.uid(), playbook.metadata.generation);
                    if seen.insert(ObjectRef::from_obj(&playbook), version.clone()) != Some(version) {
                        let name = playbook.name_any();
                        context.wake_waiting(&playbook.namespace().unwrap_or_default(), |closure| {
                            closure.spec.playbook_ref.name == name
                        });
                    }
                }
                Event::Delete(playbook) => {
                    seen.remove(&ObjectRef::from_obj(&playbook));
                }
                Event::Init | Event::InitApply(_) => {}
            }
        }
    };
    (known, watching)
}

async fn judge(context: &Context, playbook: &ClosurePlaybook) {
    let judged = context.playbooks.judge(&context.client, playbook, &context.connections, context.now()).await;
    match judged {
        Ok(()) => {}
        // Changed in between: the watch brings the new one.
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {}
        Err(error) => warn!(%error, playbook = playbook.name_any(), "a playbook's status was not written"),
    }
}

/// Connections: each that is new or changed is probed at once, and the playbooks of its namespace are judged again.
fn watch_connections(
    context: &Arc<Context>,
    api: Api<SystemConnection>,
    writer: Writer<SystemConnection>,
) -> (Known, impl Future<Output = ()> + use<>) {
    let context = context.clone();
    let (once, known) = Once::new();
    let events = events_of(api, watcher::Config::default());
    let watching = async move {
        let mut seen: HashMap<ObjectRef<SystemConnection>, (Option<String>, Option<i64>)> = HashMap::new();
        let mut events = pin!(reflector::reflector(writer, events.map(Ok::<_, watcher::Error>)));
        while let Some(Ok(event)) = events.next().await {
            match event {
                Event::InitDone => once.tell(),
                Event::Apply(connection) => {
                    let version = (connection.uid(), connection.metadata.generation);
                    if seen.insert(ObjectRef::from_obj(&connection), version.clone()) != Some(version) {
                        probe(&context, &connection);
                        reconsider(&context, &connection.namespace().unwrap_or_default()).await;
                    }
                }
                Event::Delete(connection) => {
                    let namespace = connection.namespace().unwrap_or_default();
                    seen.remove(&ObjectRef::from_obj(&connection));
                    context.connections.forget(&namespace, &connection.name_any());
                    reconsider(&context, &namespace).await;
                }
                Event::Init | Event::InitApply(_) => {}
            }
        }
    };
    (known, watching)
}

/// Judges every playbook of a namespace again, and wakes what waits there.
async fn reconsider(context: &Context, namespace: &str) {
    for playbook in context.playbooks.of_namespace(namespace) {
        judge(context, &playbook).await;
    }
    context.wake_waiting(namespace, |_| true);
}

/// Probes a connection behind everything else; where it can be used again, what waits in its namespace is woken.
fn probe(context: &Arc<Context>, connection: &SystemConnection) {
    let (context, connection) = (context.clone(), connection.clone());
    tokio::spawn(async move {
        let namespace = connection.namespace().unwrap_or_default();
        match context.connections.probe(&connection, context.now()).await {
            Ok(Some(true)) => context.wake_waiting(&namespace, |_| true),
            Ok(Some(false) | None) => {}
            Err(error) => warn!(%error, connection = connection.name_any(), "a connection's status was not written"),
        }
    });
}

/// A system refused the credentials of a connection: it is left alone, and probed with what its Secret says now.
pub(crate) fn probe_soon(context: &Arc<Context>, namespace: &str, name: &str) {
    if let Some(connection) = context.connections.refused_credentials(namespace, name) {
        probe(context, &connection);
    }
}

/// Every few seconds: the probes that are due, and the gauges.
async fn tick(context: &Arc<Context>) {
    loop {
        tokio::time::sleep(TICK).await;
        let unfinished: std::collections::HashSet<String> = context
            .closures
            .state()
            .iter()
            .filter(|closure| closure.status.halt.is_none() && !closure.spec.suspend)
            .filter_map(|closure| closure.namespace())
            .collect();
        for connection in context.connections.due(|namespace| unfinished.contains(namespace)) {
            probe(context, &connection);
        }
        context.metrics.set_unfinished(context.closures.len());
        context.metrics.set_unresolved(context.holds.fold(0, |open, _, hold| open + usize::from(!hold.abandoned)));
    }
}
