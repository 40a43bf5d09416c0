//! The products that can be connected, each behind the traits of [`crate::roles`].
//!
//! [`connect`] is the only door: it takes what a connection's spec and Secrets say and returns the system in its roles,
//! or why it will not. It sends nothing.
//!
//! In reading order: `guard` says which endpoints are refused; `limits` and `breaker` hold requests back; `meter`
//! counts them; `rest` is what adapters over HTTP have in common, and holds the only module that names an HTTP client; `http`
//! is the closure HTTP contract.
//!
//! **Invariant:** nothing here knows Kubernetes. Whatever a system says is either understood as a whole or a
//! [`Trouble`](crate::closure::snapshot::Trouble); no text of it goes into a log, a label or an error.

pub mod breaker;
pub mod cloud_events;
pub mod gitea;
pub mod github;
pub mod guard;
pub mod http;
mod issues;
pub mod jira;
pub mod limits;
pub mod meter;
#[cfg(feature = "nats")]
pub mod nats;
pub mod object_store;
pub mod oci;
pub mod redmine;
pub mod rest;
pub mod slack;
#[cfg(feature = "smtp")]
pub mod smtp;
pub mod sqs;

use crate::closure::decide::Delivery;
use crate::closure::reason::Reason;
use crate::products::{CloudEvents, GitHub, Gitea, Jira, Nats, ObjectStore, Oci, Redmine, Slack, Smtp, Sqs};
use crate::roles::Connected;
use guard::{Lookup, Refusal, SystemLookup};
use limits::Limits;
use meter::Meter;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a connection says, with its Secrets resolved.
#[derive(Clone)]
pub struct Settings {
    /// The product, with what is particular to it.
    pub product: Product,
    /// Sent as `Authorization: Bearer …`, or as the product wants it; of a GitHub App, what such a token is fetched with: its private
    /// key. White space at its ends is cut off; Secrets made from files often end in a line feed.
    pub token: Option<SecretString>,
    /// The only certificate authorities trusted, in PEM; none means those of the operating system.
    pub ca_pem: Option<Vec<u8>>,
    /// Client certificate chain and key, one after the other, in PEM.
    pub client_certificate_pem: Option<SecretString>,
    /// What else the product needs.
    pub secrets: Secrets,
    /// Rate, concurrency, timeout.
    pub limits: LimitSettings,
    /// Whether `http://` may be used.
    pub allow_plaintext: bool,
    /// Whether the endpoint may be this machine: for the sandbox and for tests.
    pub allow_loopback: bool,
    /// Where requests are counted. The same one may be handed over again when settings change, so that counts go on.
    pub meter: Arc<Meter>,
}

/// Secrets by what each is for, for products that need others than one bearer token.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<&'static str, SecretString>);

impl Secrets {
    /// Keeps one.
    pub fn insert(&mut self, what: &'static str, secret: SecretString) {
        self.0.insert(what, secret);
    }

    /// One of them, without white space at its ends: Secrets made from files often end in a line feed.
    ///
    /// # Errors
    /// There is none, or it is none that fits in a request.
    fn get(&self, what: &'static str) -> Result<SecretString, Refused> {
        let secret = self.0.get(what).map(|secret| secret.expose_secret().trim_ascii());
        let fits =
            |secret: &&str| (1..=8192).contains(&secret.len()) && secret.bytes().all(|byte| byte.is_ascii_graphic());
        secret.filter(fits).map(SecretString::from).ok_or(Refused::Secret { what })
    }

    /// One of them with everything that it holds: a file.
    #[cfg(feature = "nats")]
    fn as_it_stands(&self, what: &'static str) -> Option<&SecretString> {
        self.0.get(what)
    }

    /// One that may be left out, likewise without white space at its ends.
    ///
    /// # Errors
    /// It is none that fits in a request.
    fn get_if_given(&self, what: &'static str) -> Result<Option<SecretString>, Refused> {
        if self.0.contains_key(what) { self.get(what).map(Some) } else { Ok(None) }
    }
}

/// A product and what is particular to it. Spelled as in a connection's spec: the product's name, and below it what is
/// particular to it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Product {
    /// The closure HTTP contract, version 1.
    Http {
        /// Paths of the contract are relative to it.
        endpoint: String,
        /// What the system does, as an intake, with a repeated announcement.
        delivery: Delivery,
    },
    /// Issues of a repository in Gitea or Forgejo.
    Gitea(Box<Gitea>),
    /// Issues of a repository in GitHub.
    #[serde(rename = "github")]
    GitHub(Box<GitHub>),
    /// Issues of a project in Redmine.
    Redmine(Box<Redmine>),
    /// Issues of a project in Jira.
    Jira(Box<Jira>),
    /// A receiver of CloudEvents over HTTP.
    CloudEvents(Box<CloudEvents>),
    /// A channel of a Slack workspace.
    Slack(Box<Slack>),
    /// Mail over a submission server.
    Smtp(Box<Smtp>),
    /// A queue in Amazon SQS.
    Sqs(Box<Sqs>),
    /// A bucket with evidence bundles.
    ObjectStore(Box<ObjectStore>),
    /// A repository with evidence bundles in an OCI registry.
    Oci(Box<Oci>),
    /// NATS JetStream.
    Nats(Box<Nats>),
}

impl Product {
    /// The product that a connection's spec names, of those there is an adapter for; what else the spec says is skipped.
    #[must_use]
    pub fn of_spec(spec: &serde_json::Value) -> Option<Product> {
        let (name, settings) = PRODUCTS.iter().find_map(|(name, _)| Some((*name, spec.get(name)?)))?;
        serde_json::from_value(serde_json::json!({ name: settings })).ok()
    }

    /// Whether tracker records of this product can be set to this state.
    #[must_use]
    pub fn offers_state(&self, state: &str) -> bool {
        match self {
            // The contract has one word for it.
            Product::Http { .. } => state == http::APPROVED,
            // A value below a heading: whatever people write there.
            Product::Gitea(_) => true,
            Product::GitHub(github) => github.label_of(state).is_some(),
            Product::Redmine(redmine) => state == redmine.statuses.approved,
            Product::Jira(jira) => state == jira.statuses.approved,
            // They keep no tracker records.
            Product::ObjectStore(_)
            | Product::Oci(_)
            | Product::Nats(_)
            | Product::CloudEvents(_)
            | Product::Slack(_)
            | Product::Smtp(_)
            | Product::Sqs(_) => false,
        }
    }

    /// The name in `status.provider`, and the key of [`PRODUCTS`].
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Product::Http { .. } => "http",
            Product::Gitea(_) => "gitea",
            Product::GitHub(_) => "github",
            Product::Redmine(_) => "redmine",
            Product::Jira(_) => "jira",
            Product::CloudEvents(_) => "cloudEvents",
            Product::Slack(_) => "slack",
            Product::Smtp(_) => "smtp",
            Product::Sqs(_) => "sqs",
            Product::ObjectStore(_) => "objectStore",
            Product::Oci(_) => "oci",
            Product::Nats(_) => "nats",
        }
    }
}

/// The limits of one connection, as its spec has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimitSettings {
    /// Requests per second on average, more than 0 and at most 10 000; a second's worth may go at once.
    pub requests_per_second: f64,
    /// Requests under way at one time, 1 to 1 000.
    pub concurrency: usize,
    /// Of one request from sending it to the last byte of its reply, 1 ms to 60 s.
    pub timeout: Duration,
}

impl Default for LimitSettings {
    fn default() -> Self {
        LimitSettings { requests_per_second: 20.0, concurrency: 8, timeout: Duration::from_secs(10) }
    }
}

impl LimitSettings {
    fn check(&self) -> Result<(), Refused> {
        if !(self.requests_per_second > 0.0 && self.requests_per_second <= 10_000.0) {
            return Err(Refused::Limit { field: "requestsPerSecond", rule: "more than 0 and at most 10000" });
        }
        if !(1..=1000).contains(&self.concurrency) {
            return Err(Refused::Limit { field: "concurrency", rule: "from 1 to 1000" });
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(60)).contains(&self.timeout) {
            return Err(Refused::Limit { field: "timeout", rule: "from 1ms to 60s" });
        }
        Ok(())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings {
            product,
            token,
            ca_pem,
            client_certificate_pem,
            secrets,
            limits,
            allow_plaintext,
            allow_loopback,
            meter: _,
        } = self;
        f.debug_struct("Settings")
            .field("product", product)
            .field("token", &token.is_some())
            .field("ca_pem", &ca_pem.is_some())
            .field("client_certificate_pem", &client_certificate_pem.is_some())
            .field("secrets", &secrets.0.keys().collect::<Vec<_>>())
            .field("limits", limits)
            .field("allow_plaintext", allow_plaintext)
            .field("allow_loopback", allow_loopback)
            .finish_non_exhaustive()
    }
}

/// Why a connection is not made. The messages are for the cluster admin and hold nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The endpoint is one that the operator has no business with.
    #[error(transparent)]
    Endpoint(#[from] Refusal),
    /// The token does not fit in a header.
    #[error("the token must be 1 to 8192 visible ASCII characters: correct the Secret's value")]
    Token,
    /// A Secret's value does not fit in a request.
    #[error("the value of {what}SecretRef must be 1 to 8192 visible ASCII characters: correct the Secret's value")]
    Secret {
        /// What it is for.
        what: &'static str,
    },
    /// A setting that is none.
    #[error("spec.{setting} must be {rule}")]
    Setting {
        /// Which, as a dotted path below `spec`.
        setting: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// No certificate in what should be the authorities.
    #[error("the CA bundle holds no usable certificate: it must be PEM, one or more CERTIFICATE blocks")]
    Authorities,
    /// The client certificate and key are not a pair in PEM.
    #[error("the client certificate must be PEM: the certificate chain, then its unencrypted private key")]
    ClientCertificate,
    /// The machine has no certificate authorities, or the TLS library does not take the ones given.
    #[error("no TLS client can be made from these settings: check the CA bundle and the client certificate")]
    Tls,
    /// This build has no adapter for the product.
    #[error("this build has no adapter for the product: use another product, or another build")]
    NotSupported,
    /// A limit that is none.
    #[error("limits.{field} must be {rule}")]
    Limit {
        /// Which.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

impl Refused {
    /// The reason on the connection's condition.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Refused::Endpoint(_) => Reason::EndpointRefused,
            Refused::NotSupported => Reason::ProviderNotSupported,
            Refused::Token
            | Refused::Authorities
            | Refused::ClientCertificate
            | Refused::Tls
            | Refused::Secret { .. }
            | Refused::Setting { .. }
            | Refused::Limit { .. } => Reason::ConnectionInvalid,
        }
    }
}

/// What a constructor gets besides the settings.
struct Surroundings {
    limits: Arc<Limits>,
    lookup: Arc<dyn Lookup>,
}

type Constructor = fn(&Settings, Surroundings) -> Result<Connected, Refused>;

/// Every product there is an adapter for, with its constructor.
const PRODUCTS: &[(&str, Constructor)] = &[
    ("http", http::connect),
    ("gitea", gitea::connect),
    ("github", github::connect),
    ("redmine", redmine::connect),
    ("jira", jira::connect),
    ("cloudEvents", cloud_events::connect),
    ("slack", slack::connect),
    #[cfg(feature = "smtp")]
    ("smtp", smtp::connect),
    ("sqs", sqs::connect),
    ("objectStore", object_store::connect),
    ("oci", oci::connect),
    #[cfg(feature = "nats")]
    ("nats", nats::connect),
];

/// The names of the products there is an adapter for.
pub fn products() -> impl Iterator<Item = &'static str> {
    PRODUCTS.iter().map(|(name, _)| *name)
}

/// Makes the connection's client, once; it keeps its connections alive and is shared by all closures.
///
/// Sends nothing and resolves no name. Limits start afresh: a connection that was held back after a 401 or a
/// `Retry-After` is not any more, because its settings have changed.
///
/// # Errors
/// The endpoint is refused, or a Secret does not hold what it should.
pub fn connect(settings: &Settings) -> Result<Connected, Refused> {
    connect_with(settings, Arc::new(SystemLookup))
}

/// [`connect`], with somebody else's name resolution.
pub(crate) fn connect_with(settings: &Settings, lookup: Arc<dyn Lookup>) -> Result<Connected, Refused> {
    settings.limits.check()?;
    let name = settings.product.name();
    let limits = Arc::new(Limits::new(settings.limits, settings.meter.clone()).of(name));
    PRODUCTS
        .iter()
        .find(|(product, _)| *product == name)
        .map_or(Err(Refused::NotSupported), |(_, construct)| construct(settings, Surroundings { limits, lookup }))
}
