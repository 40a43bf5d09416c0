//! What may be said on the command line and in the environment, checked.
//!
//! The program is one binary with subcommands. Under the name `kubectl-releaseclosure` on the `PATH` it is a kubectl
//! plugin as well, with the same subcommands.

mod resolver;

pub use resolver::{Resolver, Whose};

use crate::closure::ledger::Handoff;
use crate::shards::Shards;
use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// The name of the plugin's binary, which kubectl looks for.
const PLUGIN: &str = "kubectl-releaseclosure";

/// Finishes the paperwork of an accepted release-readiness review, and nothing else.
#[derive(Debug, Parser)]
#[command(name = "releaseclosure", version, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the operator, in a cluster or against the one of KUBECONFIG.
    Operator(Operator),
    /// Prints the CustomResourceDefinitions as YAML.
    Crds,
    /// Runs six systems behind the closure HTTP contract, for development and tests. Open to everybody who reaches it.
    Sandbox(crate::sandbox::Args),
    /// Waits until a closure is closed and its coordinator told. Exits with 0: closed, 2: halted, 3: abandoned,
    /// 4: not within the timeout, 1: anything else.
    Wait(Wait),
    /// Prints the follow-up packet of a halted closure, for people.
    Packet(Packet),
    /// Releases the halt of a closure: everything is verified from the start, and the closure goes on.
    Resume(Resume),
    /// Gives a halted closure up. It cannot be taken back.
    Abandon(Abandon),
    /// Checks the trace of a finished closure against its head.
    Verify(Verify),
    /// Deletes what is finished and older than its playbook's policy.retention, each object printed first, as JSON.
    Prune(Prune),
    /// Prints the NetworkPolicy that lets the operator reach its API server and the systems of all connections, and nothing
    /// else.
    NetworkPolicy(NetworkPolicy),
}

/// Settings of the operator.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Operator {
    /// Watch this namespace only; all of them where it is left out or empty.
    #[arg(long, env = "RELEASECLOSURE_NAMESPACE", value_parser = namespace, default_value = "", hide_default_value = true)]
    pub namespace: Namespace,
    /// Where the Lease is; else the pod's own namespace, else that of the kubeconfig's context.
    #[arg(
        long,
        env = "RELEASECLOSURE_LEASE_NAMESPACE",
        value_parser = namespace,
        default_value = "",
        hide_default_value = true
    )]
    pub lease_namespace: Namespace,
    /// Name of the Lease. One replica per Lease acts; operators that watch different namespaces need different ones.
    #[arg(long, env = "RELEASECLOSURE_LEASE_NAME", value_parser = object_name, default_value = "releaseclosure-operator")]
    pub lease_name: String,
    /// Where the Secrets of connections for many namespaces are; else where the Lease is.
    #[arg(
        long,
        env = "RELEASECLOSURE_CLUSTER_RESOURCE_NAMESPACE",
        value_parser = namespace,
        default_value = "",
        hide_default_value = true
    )]
    pub cluster_resource_namespace: Namespace,
    /// How many shards the namespaces are divided into, 1 to 64. Each has a Lease of its own, named <lease name>-shard-<i>, and
    /// the replicas share them out. Replicas with another number wait until those with this one have ended.
    #[arg(long, env = "RELEASECLOSURE_SHARDS", default_value = "1")]
    pub shards: Shards,
    /// Address that serves /metrics, /livez and /readyz; 0 turns it off.
    #[arg(long, env = "RELEASECLOSURE_METRICS_BIND_ADDRESS", default_value = "0.0.0.0:8080")]
    pub metrics_bind_address: Bind,
    /// Address that takes the webhooks of feeds, on the replica that leads; 0 turns it off. TLS ends before it.
    #[arg(long, env = "RELEASECLOSURE_FEEDS_BIND_ADDRESS", default_value = "0")]
    pub feeds_bind_address: Bind,
    /// How logs are written: one JSON object a line, text for people, or whichever stderr is.
    #[arg(long, env = "RELEASECLOSURE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,
    /// Let connections have endpoints on this very machine. For development and tests.
    #[arg(
        long,
        env = "RELEASECLOSURE_ALLOW_LOOPBACK_CONNECTIONS",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        hide_default_value = true,
        value_parser = BoolishValueParser::new()
    )]
    pub allow_loopback_connections: bool,
    /// Name of the pod, by the downward API.
    #[arg(long, env = "POD_NAME", hide = true)]
    pub pod_name: Option<String>,
    /// Uid of the pod, by the downward API.
    #[arg(long, env = "POD_UID", hide = true)]
    pub pod_uid: Option<String>,
}

impl Operator {
    /// A name for this process that no other one has.
    #[must_use]
    pub fn identity(&self) -> String {
        crate::lease::identity(self.pod_name.as_deref().zip(self.pod_uid.as_deref()))
    }
}

/// A namespace, where one is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace(Option<String>);

impl Namespace {
    /// The name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

fn namespace(text: &str) -> Result<Namespace, &'static str> {
    match text {
        "" => Ok(Namespace(None)),
        text if text.len() <= 63 && !text.contains('.') => object_name(text).map(Some).map(Namespace),
        _ => Err("a namespace has at most 63 characters and no dot"),
    }
}

/// The rule for names of objects, RFC 1123 subdomains; also what keeps a name from leaving its path segment.
fn object_name(text: &str) -> Result<String, &'static str> {
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err("a name has at most 253 small letters, digits, '-' and '.', and begins and ends with a letter or digit")
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text at a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Whether it is JSON; none where that depends on where it goes.
    #[must_use]
    pub const fn is_json(self) -> Option<bool> {
        match self {
            LogFormat::Auto => None,
            LogFormat::Text => Some(false),
            LogFormat::Json => Some(true),
        }
    }
}

/// An address to serve on, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind(pub Option<SocketAddr>);

impl FromStr for Bind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Bind, Self::Err> {
        if text == "0" {
            return Ok(Bind(None));
        }
        // ":8080" is how Kubernetes' own programs say "on all addresses".
        let text = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
        text.parse().map(|address| Bind(Some(address))).map_err(|_| "an address is <ip>:<port>, :<port>, or 0 for none")
    }
}

/// Which cluster, and where in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Cluster {
    /// Namespace of the closure; else the one of the kubeconfig's context.
    #[arg(short, long, value_parser = namespace, default_value = "", hide_default_value = true)]
    pub namespace: Namespace,
    /// A kubeconfig file; else KUBECONFIG, ~/.kube/config, or the pod this runs in.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context to use, if not its current one.
    #[arg(long)]
    pub context: Option<String>,
}

/// `wait NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Wait {
    /// Name of the closure.
    #[arg(value_parser = object_name)]
    pub name: String,
    /// How long, as in 90s, 5m or 1h30m.
    #[arg(long, value_parser = duration, default_value = "5m")]
    pub timeout: Duration,
    /// Where.
    #[command(flatten)]
    pub cluster: Cluster,
}

/// `packet NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Packet {
    /// Name of the closure, or of a packet.
    #[arg(value_parser = object_name)]
    pub name: String,
    /// The object itself instead of the page for people.
    #[arg(short, long)]
    pub output: Option<Output>,
    /// Where.
    #[command(flatten)]
    pub cluster: Cluster,
}

/// A format for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// `resume NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Resume {
    /// What became of an announcement of which the operator cannot know. Needed after `NotificationUncertain`, and only
    /// then.
    #[arg(long, value_enum)]
    pub handoff: Option<HandoffWord>,
    /// The rest.
    #[command(flatten)]
    pub resolve: Resolve,
}

/// `abandon NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Abandon {
    /// The rest.
    #[command(flatten)]
    pub resolve: Resolve,
}

/// What `resume` and `abandon` have in common.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Resolve {
    /// Name of the closure.
    #[arg(value_parser = object_name)]
    pub name: String,
    /// Id of the halt, as the packet shows it: nothing is done where the closure is halted by another one.
    #[arg(long)]
    pub halt: Option<String>,
    /// A sentence for the record.
    #[arg(long)]
    pub note: Option<String>,
    /// Do not ask.
    #[arg(long, short)]
    pub yes: bool,
    /// Wait for the closure afterwards, and exit as `wait` does.
    #[arg(long)]
    pub wait: bool,
    /// How long to wait, with --wait.
    #[arg(long, value_parser = duration, default_value = "5m")]
    pub timeout: Duration,
    /// Where.
    #[command(flatten)]
    pub cluster: Cluster,
}

/// `verify NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Verify {
    /// Name of the closure.
    #[arg(value_parser = object_name, required_unless_present = "file")]
    pub name: Option<String>,
    /// Read the closure from this file, YAML or JSON, and ask no cluster.
    #[arg(short, long, conflicts_with = "name")]
    pub file: Option<PathBuf>,
    /// The head that was kept elsewhere (the operator's log, the `Closed` event): it must be this one.
    #[arg(long)]
    pub head: Option<String>,
    /// Where.
    #[command(flatten)]
    pub cluster: Cluster,
}

/// `prune`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Prune {
    /// In all namespaces.
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Print what would be deleted, and delete nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Where.
    #[command(flatten)]
    pub cluster: Cluster,
}

/// `network-policy`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct NetworkPolicy {
    /// An address of the API server; else what the cluster says of it.
    #[arg(long)]
    pub api_server: Vec<SocketAddr>,
    /// Let names outside of the cluster be reached at the addresses that they have now, and at no other. Print it again when
    /// they move.
    #[arg(long)]
    pub resolve: bool,
    /// Where the operator looks names up: a namespace, an address or a block of addresses; with a port, where that is not 53.
    /// Node-local caches have 169.254.20.10, OpenShift has openshift-dns:5353. May be given several times.
    #[arg(long, default_value = "kube-system")]
    pub dns: Vec<Resolver>,
    /// JSON instead of YAML.
    #[arg(short, long, default_value = "yaml")]
    pub output: Output,
    /// Which cluster. The namespace is the operator's own; else releaseclosure-system.
    #[command(flatten)]
    pub cluster: Cluster,
}

/// [`Handoff`] as it is typed on a command line: exactly as it stands in the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum HandoffWord {
    /// It arrived.
    Delivered,
    /// It did not arrive; it is sent once.
    NotDelivered,
}

impl From<HandoffWord> for Handoff {
    fn from(word: HandoffWord) -> Handoff {
        match word {
            HandoffWord::Delivered => Handoff::Delivered,
            HandoffWord::NotDelivered => Handoff::NotDelivered,
        }
    }
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    const RULE: &str = "a duration is for example 90s, 5m or 1h30m, and not negative";
    let duration: jiff::SignedDuration = text.parse().map_err(|_| RULE)?;
    Duration::try_from(duration).map_err(|_| RULE)
}

impl Arguments {
    /// Reads the arguments, the program's own name first.
    ///
    /// # Errors
    /// What clap says, `--help` and `--version` included; [`exit_code`] tells how to exit.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, clap::Error> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let mut command = Arguments::command();
        if is_plugin(arguments.first()) {
            command = command.bin_name("kubectl releaseclosure");
        }
        Arguments::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }
}

fn is_plugin(program: Option<&OsString>) -> bool {
    let stem = program.and_then(|program| Path::new(program).file_stem().map(ToOwned::to_owned));
    // kubectl looks for underscores, too, where a command's name has dashes; ours has none.
    stem.is_some_and(|stem| stem == PLUGIN)
}

/// How to exit after [`Arguments::read`] failed. Not 2, as clap would: 2 is "halted".
#[must_use]
pub fn exit_code(error: &clap::Error) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
        _ => 1,
    }
}

#[cfg(test)]
mod tests;
