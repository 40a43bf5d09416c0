//! The driver: watches the kinds, and for each closure that something woke makes one pass.
//!
//! In reading order: [`cache`] is what the watches keep; `watches` say what that is, and whom a change wakes; `agenda`
//! says when which closure is looked at; [`context`] is what every pass shares; [`pass`] is one pass, which resolves
//! [`playbooks`] and [`connections`] ([`approved`] says which of them are given to a namespace), runs [`crate::drive`]'s loop over them, and records what came
//! of it ([`draft`], [`record`], [`packets`], [`events`]). Beside that, [`announce`] tells people of halts, and `feeds` make
//! closures of reviews that were accepted. `lead` wires them together for one shard, and `replica` is one process among several, which
//! leads a shard or more. This file begins and ends it.
//!
//! **Invariant:** nothing here decides. What to do next, the core says; what stands against doing it (a changed object, a
//! lease that may end, a limit) only ever makes a pass stop early.

mod agenda;
pub mod announce;
pub mod approved;
pub mod cache;
pub mod connections;
pub mod context;
pub mod definitions;
pub mod draft;
pub mod events;
mod feeds;
mod foreign;
mod lead;
pub mod packets;
pub mod pass;
pub mod playbooks;
pub mod record;
mod replica;
pub mod secrets;
pub mod tally;
mod watches;

use crate::api::{AcceptanceFeed, ClosurePlaybook, SystemConnection};
use crate::health::{self, Health};
use crate::lease::{self, Lost};
use crate::settings::Operator;
use crate::telemetry::Metrics;
use cache::{Holding, Unfinished};
use definitions::Definitions;
use futures::FutureExt as _;
use kube::{Api, Client, Config, Resource};
use replica::Replica;
use std::sync::Arc;
use std::time::Duration;
use tracing::{error, info, warn};

/// The oldest Kubernetes whose schemas and policies behave as the shipped ones need.
const KUBERNETES_MIN: (u32, u32) = (1, 33);
/// How long a stop waits for passes under way. A request to a system ends within its connection's timeout.
const GRACE: Duration = Duration::from_secs(25);
/// How often connections are looked over for a probe that is due, and the operator says that it lives.
const TICK: Duration = Duration::from_secs(5);
/// How long the API server may take for a connection, or to take what is sent to it.
const API_PATIENCE: Duration = Duration::from_secs(10);
/// How long it may be silent when something is awaited. A watch has a bookmark every minute.
const API_SILENCE_MAX: Duration = Duration::from_secs(150);

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
    /// The definitions of the kinds may not be read.
    #[error("the definitions of the kinds cannot be read: apply the operator's role, then start again")]
    Definitions(#[source] kube::Error),
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
    let lease_namespace = settings.lease_namespace.name().unwrap_or(&config.default_namespace).to_owned();
    let definitions = Arc::new(Definitions::new(client.clone(), health.clone(), metrics.clone()));
    match definitions.look().await {
        // Who watches one namespace may have no right to look at what is of the cluster.
        Err(kube::Error::Api(status)) if status.is_forbidden() && settings.namespace.name().is_some() => {
            warn!(
                "the definitions of the kinds may not be read, so that nobody says where they are of another version"
            );
        }
        looked => looked.map_err(Error::Definitions)?,
    }
    let replica = Replica {
        definitions,
        identity: settings.identity(),
        leases: lease::client(&config).map_err(Error::Client)?,
        lease_namespace,
        settings,
        client,
        health: health.clone(),
        metrics: metrics.clone(),
    };
    let looking = replica.definitions.clone();
    metrics.set_shards(replica.settings.shards.count());
    health.set_begun();
    health.set_takes_part(true);
    let beating = beat(health);
    let outcome = tokio::select! {
        outcome = replica.run(stop.shared()) => outcome,
        () = looking.keep() => Ok(()),
    };
    metrics.set_led(0);
    beating.abort();
    end_serving();
    let _ = tokio::time::timeout(Duration::from_secs(1), serving).await;
    outcome
}

/// A client that fails instead of retrying by itself: each pass decides what a failure means. A request whose connection has
/// gone dead without a word fails, too, where the kernel would go on sending for a quarter of an hour.
fn client(config: &Config) -> Result<Client, Error> {
    let mut config = config.clone();
    config.default_retry = false;
    config.connect_timeout = Some(API_PATIENCE);
    config.write_timeout = Some(API_PATIENCE);
    config.read_timeout = Some(API_SILENCE_MAX);
    config.reset_reader_on_write = true;
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
