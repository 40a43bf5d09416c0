//! Connections: one client each, made from the spec and its Secrets, probed, and told about on the status.
//!
//! A client is made before its first use and again whenever the spec or a Secret changes. What keeps a closure from
//! being worked on is that there is no client, or that the system does not accept its credentials; a system that is
//! merely away is found out by each pass itself, since a finding elsewhere must show even then.

mod probing;

use super::approved::{Connection, Tenancy};
use super::playbooks::Unusable;
use super::secrets::{self, SecretError};
use crate::api::closure_playbook::{ConnectionKind, ConnectionRef};
use crate::api::conditions::{self, Truth};
use crate::api::parse::{self, Playbook};
use crate::api::system_connection::Role;
use crate::api::{ClusterSystemConnection, SystemConnection, SystemConnectionSpec};
use crate::closure::ids::System;
use crate::closure::ledger::ObjectVersion;
use crate::closure::reason::Reason;
use crate::providers::meter::Meter;
use crate::providers::{self, LimitSettings, Product, Settings};
use crate::roles::{Abilities, Connected, Events};
use kube::Client;
use kube::runtime::reflector::{ObjectRef, Store};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A Secret is read again before use when the last look is older than this.
const SECRET_AGE_MAX: Duration = Duration::from_secs(60);
/// From one probe to the next while an unfinished closure needs the connection, and while it is not ready: whoever put a
/// Secret or a server right is not to wait for [`PROBE_WHEN_IDLE`] to see it.
pub const PROBE_WHEN_NEEDED: Duration = Duration::from_secs(60);
/// From one probe to the next else.
pub const PROBE_WHEN_IDLE: Duration = Duration::from_secs(600);

/// The connections of the cluster, or of the one namespace that is watched.
pub struct Connections {
    client: Client,
    own: Store<SystemConnection>,
    shared: Store<ClusterSystemConnection>,
    tenancy: Arc<Tenancy>,
    /// Where the Secrets of connections for many namespaces are.
    shared_secrets: String,
    allow_loopback: bool,
    known: AtomicBool,
    entries: Mutex<HashMap<(String, String), Arc<Entry>>>,
}

#[derive(Default)]
struct Entry {
    /// One maker at a time.
    making: tokio::sync::Mutex<()>,
    /// One prober at a time: two would take the status from each other.
    probing: tokio::sync::Mutex<()>,
    made: Mutex<Option<Made>>,
    /// Counts on, whatever becomes of the client.
    meter: Arc<Meter>,
}

/// A client, or why there is none.
#[derive(Clone)]
struct Made {
    version: ObjectVersion,
    /// SHA-256 over what the Secrets hold: tells a rotation without keeping a secret.
    secrets: [u8; 32],
    secrets_read: Instant,
    client: Result<Arc<Connected>, (Reason, String)>,
    /// The system answered 401 to this client, and to no probe since otherwise.
    unauthorized: bool,
    probed: Option<Instant>,
}

/// A connection that a pass may use in one role.
#[derive(Clone)]
pub struct Usable {
    /// Its client.
    pub connected: Arc<Connected>,
    /// What names it.
    pub reference: ConnectionRef,
    /// Which version of which object.
    pub version: ObjectVersion,
    /// What may be relied on in the role.
    pub abilities: Abilities,
    /// Where a person finds a record, with `{id}` for its id.
    pub record_link: Option<String>,
}

impl Connections {
    /// Connections as watches keep them: those of namespaces, and those for many. The Secrets of the latter are in the
    /// namespace `shared_secrets`.
    #[must_use]
    pub fn new(
        client: Client,
        (own, shared): (Store<SystemConnection>, Store<ClusterSystemConnection>),
        tenancy: Arc<Tenancy>,
        shared_secrets: String,
        allow_loopback: bool,
    ) -> Connections {
        let (known, entries) = (AtomicBool::new(false), Mutex::default());
        Connections { client, own, shared, tenancy, shared_secrets, allow_loopback, known, entries }
    }

    /// The first lists of them, and of the namespaces that may use them, are complete.
    pub fn set_known(&self) {
        self.known.store(true, Ordering::SeqCst);
    }

    /// Whether they are: before that, what is not there may only not be known.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.known.load(Ordering::SeqCst)
    }

    fn get(&self, namespace: &str, reference: &ConnectionRef) -> Option<Arc<Connection>> {
        let ConnectionRef { kind, name } = reference;
        match kind {
            ConnectionKind::SystemConnection => Some(self.own.get(&ObjectRef::new(name).within(namespace))?),
            ConnectionKind::ClusterSystemConnection => Some(self.shared.get(&ObjectRef::new(name))?),
        }
    }

    /// Those of namespaces, and those for many.
    fn all(&self) -> impl Iterator<Item = Arc<Connection>> {
        let own = self.own.state().into_iter().map(|object| object as Arc<Connection>);
        own.chain(self.shared.state().into_iter().map(|object| object as Arc<Connection>))
    }

    /// What is kept of a connection, by its home and name.
    fn entry(&self, home: &str, name: &str) -> Arc<Entry> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Entry { meter: Arc::new(Meter::of(home, name)), ..Entry::default() });
        entries.entry((home.to_owned(), name.to_owned())).or_insert_with(new).clone()
    }

    /// Drops the client of a connection that is gone.
    pub fn forget(&self, gone: &Connection) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remove(&(gone.home().to_owned(), gone.name().to_owned()));
    }

    /// Whether a connection may be used in a role, by its spec alone. `namespace` is the one that is to use it; none for a
    /// playbook for many, of which each namespace is asked for when it uses it.
    ///
    /// # Errors
    /// It does not exist, is not allowed in the role or not given to the namespace, or does not offer what the playbook
    /// names.
    pub fn allows(
        &self,
        namespace: Option<&str>,
        reference: &ConnectionRef,
        system: System,
        playbook: &Playbook,
    ) -> Result<Arc<Connection>, Unusable> {
        let object = self.in_role(namespace, reference, Role::from(system))?;
        let state = &playbook.rules.approved_state;
        let offers = || product(object.spec()).is_none_or(|product| product.offers_state(state));
        if system == System::Tracker && !offers() {
            let message = format!("{reference} does not offer tracker.approvedState {state}.");
            return Err(Unusable { reason: Reason::PlaybookInvalid, message, system: Some(system) });
        }
        Ok(object)
    }

    /// A connection that is allowed in a role, by its spec alone; `namespace` as for [`Connections::allows`].
    ///
    /// # Errors
    /// It does not exist, is not given to the namespace, or is not allowed in the role.
    pub fn in_role(
        &self,
        namespace: Option<&str>,
        reference: &ConnectionRef,
        role: Role,
    ) -> Result<Arc<Connection>, Unusable> {
        // A channel for follow-ups is none of the systems.
        let system = Some(role.system()).filter(|_| role != Role::FollowUp);
        let unusable = |reason, message| Unusable { reason, message, system };
        let Some(object) = self.get(namespace.unwrap_or_default(), reference) else {
            let shared = reference.kind == ConnectionKind::ClusterSystemConnection;
            return Err(unusable(Reason::ConnectionNotFound, self.tenancy.missing(reference, shared)));
        };
        if namespace.is_some_and(|namespace| !self.tenancy.admits(&*object, namespace)) {
            let message =
                format!("{reference} is not given to this namespace: its namespaceSelector does not select it.");
            return Err(unusable(Reason::NamespaceNotAllowed, message));
        }
        if !object.spec().allowed_roles.contains(&role) {
            let message = format!("{reference} is not allowed in the role {role:?}.");
            return Err(unusable(Reason::RoleNotAllowed, message));
        }
        Ok(object)
    }

    /// The client of a connection, made if need be.
    ///
    /// # Errors
    /// There is none, or its credentials are not accepted.
    async fn ready(
        &self,
        object: &Connection,
        system: Option<System>,
    ) -> Result<(Arc<Connected>, ObjectVersion), Unusable> {
        let made = self.make(object, SECRET_AGE_MAX).await;
        let unusable = |why: &str| Unusable {
            reason: Reason::ConnectionNotReady,
            message: format!("{} is not ready: {why}", object.reference()),
            system,
        };
        let connected = made.client.map_err(|(_, why)| unusable(&why))?;
        if made.unauthorized {
            return Err(unusable(Reason::Unauthorized.sentence()));
        }
        Ok((connected, made.version))
    }

    /// A channel for follow-ups, its client made if need be.
    ///
    /// # Errors
    /// As [`Connections::in_role`], or there is no client, or its credentials are not accepted.
    pub async fn channel(&self, namespace: &str, reference: &ConnectionRef) -> Result<Arc<Connected>, Unusable> {
        let object = self.in_role(Some(namespace), reference, Role::FollowUp)?;
        self.ready(&*object, None).await.map(|(connected, _)| connected)
    }

    /// A connection for a role of a pass, its client made if need be.
    ///
    /// # Errors
    /// As [`Connections::allows`], or there is no client, or its credentials are not accepted.
    pub async fn usable(
        &self,
        namespace: &str,
        reference: &ConnectionRef,
        system: System,
        playbook: &Playbook,
    ) -> Result<Usable, Unusable> {
        let object = self.allows(Some(namespace), reference, system, playbook)?;
        let (connected, version) = self.ready(&*object, Some(system)).await?;
        let Some(abilities) = connected.prober.abilities(system) else {
            let message = format!("{reference} is not ready: its product cannot play this role.");
            return Err(Unusable { reason: Reason::RoleNotAllowed, message, system: Some(system) });
        };
        let record_link = object.spec().links.as_ref().map(|links| links.record.clone());
        Ok(Usable { connected, reference: reference.clone(), version, abilities, record_link })
    }

    /// Whether the last probe of a connection found it ready; before the first one it counts as such.
    ///
    /// # Errors
    /// It did not.
    pub fn told_ready(&self, object: &Connection, system: System) -> Result<(), Unusable> {
        let told = object.status().and_then(|status| conditions::find(&status.conditions, conditions::READY));
        if told.is_none_or(|condition| condition.status != Truth::False.as_str()) {
            return Ok(());
        }
        let message = format!("{} is not ready; its own status says why.", object.reference());
        Err(Unusable { reason: Reason::ConnectionNotReady, message, system: Some(system) })
    }

    /// The events of a governance system, from a connection that is allowed in that role.
    ///
    /// # Errors
    /// There are none to be had, and why.
    pub async fn events(&self, namespace: &str, reference: &ConnectionRef) -> Result<Arc<dyn Events>, Unusable> {
        let object = self.in_role(Some(namespace), reference, Role::Governance)?;
        let (connected, _) = self.ready(&*object, None).await?;
        connected.events.clone().ok_or_else(|| Unusable {
            reason: Reason::RoleNotAllowed,
            message: format!("{reference} keeps no events for feeds."),
            system: None,
        })
    }

    /// Whether a connection is still the object that a pass began with, and the namespace may still use it.
    #[must_use]
    pub fn is_current(&self, namespace: &str, usable: &Usable) -> bool {
        self.get(namespace, &usable.reference)
            .is_some_and(|object| version_of(&*object) == usable.version && self.tenancy.admits(&*object, namespace))
    }

    /// The client of a connection, made again where spec or Secrets have changed. The API server is asked for Secrets
    /// at most once per `age`.
    async fn make(&self, object: &Connection, age: Duration) -> Made {
        let entry = self.entry(object.home(), object.name());
        let _one_at_a_time = entry.making.lock().await;
        let known = entry.made.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let version = version_of(object);
        if let Some(known) =
            known.as_ref().filter(|known| known.version == version && known.secrets_read.elapsed() < age)
        {
            return known.clone();
        }
        let namespace = if object.selector().is_some() { &self.shared_secrets } else { object.home() };
        let read = secrets::read(&self.client, namespace, object.spec()).await;
        let made = match (known, read) {
            // A moment in which the API server does not answer takes no client away.
            (Some(known), Err(SecretError::Unavailable)) if known.version == version && known.client.is_ok() => known,
            (Some(known), Ok(found))
                if known.version == version && known.secrets == found.digest && known.client.is_ok() =>
            {
                Made { secrets_read: Instant::now(), ..known }
            }
            (_, Ok(found)) => {
                let secrets = found.digest;
                let client = self.settings(object.spec(), found, entry.meter.clone()).and_then(|settings| {
                    providers::connect(&settings)
                        .map(Arc::new)
                        .map_err(|refused| (refused.reason(), format!("{refused}.")))
                });
                Made { version, secrets, secrets_read: Instant::now(), client, unauthorized: false, probed: None }
            }
            (_, Err(error)) => {
                let client = Err((error.reason(), error.to_string()));
                Made {
                    version,
                    secrets: [0; 32],
                    secrets_read: Instant::now(),
                    client,
                    unauthorized: false,
                    probed: None,
                }
            }
        };
        *entry.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
        made
    }

    fn settings(
        &self,
        spec: &SystemConnectionSpec,
        found: secrets::Found,
        meter: Arc<Meter>,
    ) -> Result<Settings, (Reason, String)> {
        let product = product(spec).ok_or_else(|| {
            (
                Reason::ProviderNotSupported,
                format!("{} It has one for: {}.", Reason::ProviderNotSupported.sentence(), products()),
            )
        })?;
        let limits =
            parse::limits(&spec.limits).map_err(|invalid| (Reason::ConnectionInvalid, format!("{invalid}.")))?;
        Ok(Settings {
            product,
            token: found.token,
            ca_pem: found.ca_pem,
            client_certificate_pem: found.client_certificate_pem,
            secrets: found.secrets,
            limits: LimitSettings {
                requests_per_second: f64::from(limits.requests_per_second),
                concurrency: usize::try_from(limits.concurrency).unwrap_or(1),
                timeout: limits.timeout,
            },
            allow_plaintext: spec.allow_plaintext,
            allow_loopback: self.allow_loopback,
            meter,
        })
    }

    /// The meters of all connections, each with namespace (empty for one of the cluster) and name.
    #[must_use]
    pub fn meters(&self) -> Vec<(String, String, Arc<Meter>)> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let meters = entries.iter();
        meters.map(|((namespace, name), entry)| (namespace.clone(), name.clone(), entry.meter.clone())).collect()
    }

    /// Whether each connection is ready, as its status tells, by namespace (empty for one of the cluster) and name. Left out: one
    /// that was not probed yet.
    #[must_use]
    pub fn told(&self) -> BTreeMap<(String, String), bool> {
        let told = self.all().filter_map(|object| {
            let ready = conditions::is_ready(&object.status()?.conditions)?;
            Some(((object.home().to_owned(), object.name().to_owned()), ready))
        });
        told.collect()
    }

    /// A system answered 401: the connection is left alone until a probe says otherwise. Returns what to probe.
    pub fn refused_credentials(&self, namespace: &str, reference: &ConnectionRef) -> Option<Arc<Connection>> {
        let object = self.get(namespace, reference)?;
        let entry = self.entry(object.home(), object.name());
        if let Some(made) = entry.made.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            made.unauthorized = true;
            made.probed = None;
        }
        Some(object)
    }

    /// The connections whose next probe is due. `needed` says of a namespace whether a closure there is unfinished; of the
    /// cluster's, which has no name, whether there is one anywhere. Of one that another shard tells about, only where it
    /// is left alone here.
    #[must_use]
    pub fn due(&self, needed: impl Fn(&str) -> bool) -> Vec<Arc<Connection>> {
        self.all()
            .filter(|object| {
                let ready =
                    object.status().is_some_and(|status| conditions::is_true(&status.conditions, conditions::READY));
                let interval = if ready && !needed(object.home()) { PROBE_WHEN_IDLE } else { PROBE_WHEN_NEEDED };
                let entry = self.entry(object.home(), object.name());
                if entry.probing.try_lock().is_err() {
                    return false;
                }
                let made = entry.made.lock().unwrap_or_else(PoisonError::into_inner);
                let is_due = |made: &Made| {
                    made.version != version_of(&**object)
                        || made.probed.is_none_or(|probed| probed.elapsed() >= interval)
                };
                if self.tenancy.tells_of(&**object) {
                    made.as_ref().is_none_or(is_due)
                } else {
                    made.as_ref().is_some_and(|made| made.unauthorized && is_due(made))
                }
            })
            .collect()
    }
}

fn version_of(object: &Connection) -> ObjectVersion {
    ObjectVersion {
        name: object.name().to_owned(),
        uid: object.meta().uid.clone().unwrap_or_default(),
        generation: object.generation(),
    }
}

/// The product of a spec, by the names in the table of products: this file knows none of them.
fn product(spec: &SystemConnectionSpec) -> Option<Product> {
    Product::of_spec(&serde_json::to_value(spec).ok()?)
}

fn products() -> String {
    providers::products().collect::<Vec<_>>().join(", ")
}
