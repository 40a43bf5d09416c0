//! Connections: one client each, made from the spec and its Secrets, probed, and told about on the status.
//!
//! A client is made before its first use and again whenever the spec or a Secret changes. What keeps a closure from
//! being worked on is that there is no client, or that the system does not accept its credentials; a system that is
//! merely away is found out by each pass itself, since a finding elsewhere must show even then.

mod probing;

use super::playbooks::Unusable;
use super::secrets::{self, SecretError};
use crate::api::SystemConnection;
use crate::api::conditions::{self, Truth};
use crate::api::parse::{self, Playbook};
use crate::api::system_connection::Role;
use crate::closure::ids::System;
use crate::closure::ledger::ObjectVersion;
use crate::closure::reason::Reason;
use crate::providers::meter::Meter;
use crate::providers::{self, LimitSettings, Product, Settings};
use crate::roles::{Abilities, Connected, Events};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt as _};
use std::collections::HashMap;
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
    store: Store<SystemConnection>,
    allow_loopback: bool,
    known: AtomicBool,
    entries: Mutex<HashMap<(String, String), Arc<Entry>>>,
}

#[derive(Default)]
struct Entry {
    /// One maker at a time.
    making: tokio::sync::Mutex<()>,
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
    /// Which version of which object.
    pub version: ObjectVersion,
    /// What may be relied on in the role.
    pub abilities: Abilities,
    /// Where a person finds a record, with `{id}` for its id.
    pub record_link: Option<String>,
}

impl Connections {
    /// Connections as a watch keeps them.
    #[must_use]
    pub fn new(client: Client, store: Store<SystemConnection>, allow_loopback: bool) -> Connections {
        Connections { client, store, allow_loopback, known: AtomicBool::new(false), entries: Mutex::default() }
    }

    /// The first list of them is complete.
    pub fn set_known(&self) {
        self.known.store(true, Ordering::SeqCst);
    }

    /// Whether the first list of them is complete: before that, one that is not there may only not be known.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.known.load(Ordering::SeqCst)
    }

    fn get(&self, namespace: &str, name: &str) -> Option<Arc<SystemConnection>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    fn entry(&self, namespace: &str, name: &str) -> Arc<Entry> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Entry { meter: Arc::new(Meter::of(namespace, name)), ..Entry::default() });
        entries.entry((namespace.to_owned(), name.to_owned())).or_insert_with(new).clone()
    }

    /// Drops the client of a connection that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Whether a connection may be used in a role, by its spec alone.
    ///
    /// # Errors
    /// It does not exist, is not allowed in the role, or does not offer what the playbook names.
    pub fn allows(&self, namespace: &str, name: &str, system: System, playbook: &Playbook) -> Result<(), Unusable> {
        let object = self.in_role(namespace, name, Role::from(system))?;
        let unusable = |reason, message| Unusable { reason, message, system: Some(system) };
        let state = &playbook.rules.approved_state;
        let offers = || product(&object).is_none_or(|product| product.offers_state(state));
        if system == System::Tracker && !offers() {
            let message = format!("Systemconnection {name} does not offer tracker.approvedState {state}.");
            return Err(unusable(Reason::PlaybookInvalid, message));
        }
        Ok(())
    }

    /// A connection that is allowed in a role, by its spec alone.
    ///
    /// # Errors
    /// It does not exist, or is not allowed in the role.
    pub fn in_role(&self, namespace: &str, name: &str, role: Role) -> Result<Arc<SystemConnection>, Unusable> {
        // A channel for follow-ups is none of the systems.
        let system = Some(role.system()).filter(|_| role != Role::FollowUp);
        let unusable = |reason, message| Unusable { reason, message, system };
        let Some(object) = self.get(namespace, name) else {
            let message = format!("There is no systemconnection {name} in this namespace.");
            return Err(unusable(Reason::ConnectionNotFound, message));
        };
        if !object.spec.allowed_roles.contains(&role) {
            let message = format!("Systemconnection {name} is not allowed in the role {role:?}.");
            return Err(unusable(Reason::RoleNotAllowed, message));
        }
        Ok(object)
    }

    /// A channel for follow-ups, its client made if need be.
    ///
    /// # Errors
    /// As [`Connections::in_role`], or there is no client, or its credentials are not accepted.
    pub async fn channel(&self, namespace: &str, name: &str) -> Result<Arc<Connected>, Unusable> {
        let object = self.in_role(namespace, name, Role::FollowUp)?;
        let unusable = |why: &str| Unusable {
            reason: Reason::ConnectionNotReady,
            message: format!("Systemconnection {name} is not ready: {why}"),
            system: None,
        };
        let made = self.make(&object, SECRET_AGE_MAX).await;
        let connected = made.client.map_err(|(_, why)| unusable(&why))?;
        if made.unauthorized {
            return Err(unusable(Reason::Unauthorized.sentence()));
        }
        Ok(connected)
    }

    /// A connection for a role of a pass, its client made if need be.
    ///
    /// # Errors
    /// As [`Connections::allows`], or there is no client, or its credentials are not accepted.
    pub async fn usable(
        &self,
        namespace: &str,
        name: &str,
        system: System,
        playbook: &Playbook,
    ) -> Result<Usable, Unusable> {
        self.allows(namespace, name, system, playbook)?;
        let unusable = |reason, why: &str| Unusable {
            reason,
            message: format!("Systemconnection {name} is not ready: {why}"),
            system: Some(system),
        };
        let Some(object) = self.get(namespace, name) else {
            return Err(unusable(Reason::ConnectionNotFound, "it is gone."));
        };
        let made = self.make(&object, SECRET_AGE_MAX).await;
        let connected = made.client.map_err(|(_, why)| unusable(Reason::ConnectionNotReady, &why))?;
        if made.unauthorized {
            return Err(unusable(Reason::ConnectionNotReady, Reason::Unauthorized.sentence()));
        }
        let Some(abilities) = connected.prober.abilities(system) else {
            return Err(unusable(Reason::RoleNotAllowed, "its product cannot play this role."));
        };
        let record_link = object.spec.links.as_ref().map(|links| links.record.clone());
        Ok(Usable { connected, version: made.version, abilities, record_link })
    }

    /// Whether the last probe of a connection found it ready; before the first one it counts as such.
    ///
    /// # Errors
    /// It did not.
    pub fn told_ready(&self, namespace: &str, name: &str, system: System) -> Result<(), Unusable> {
        let object = self.get(namespace, name);
        let status = object.as_ref().and_then(|object| object.status.as_ref());
        let told = status.and_then(|status| conditions::find(&status.conditions, conditions::READY));
        if told.is_none_or(|condition| condition.status != Truth::False.as_str()) {
            return Ok(());
        }
        let message = format!("Systemconnection {name} is not ready; its own status says why.");
        Err(Unusable { reason: Reason::ConnectionNotReady, message, system: Some(system) })
    }

    /// The events of a governance system, from a connection that is allowed in that role.
    ///
    /// # Errors
    /// There are none to be had, and why.
    pub async fn events(&self, namespace: &str, name: &str) -> Result<Arc<dyn Events>, Unusable> {
        let unusable = |reason, message| Unusable { reason, message, system: None };
        let Some(object) = self.get(namespace, name) else {
            let message = format!("There is no systemconnection {name} in this namespace.");
            return Err(unusable(Reason::ConnectionNotFound, message));
        };
        if !object.spec.allowed_roles.contains(&Role::Governance) {
            let message = format!("Systemconnection {name} is not allowed in the role Governance.");
            return Err(unusable(Reason::RoleNotAllowed, message));
        }
        let made = self.make(&object, SECRET_AGE_MAX).await;
        let not_ready =
            |why: &str| unusable(Reason::ConnectionNotReady, format!("Systemconnection {name} is not ready: {why}"));
        let connected = made.client.map_err(|(_, why)| not_ready(&why))?;
        if made.unauthorized {
            return Err(not_ready(Reason::Unauthorized.sentence()));
        }
        connected.events.clone().ok_or_else(|| {
            unusable(Reason::RoleNotAllowed, format!("Systemconnection {name} keeps no events for feeds."))
        })
    }

    /// Whether a connection is still the object that a pass began with.
    #[must_use]
    pub fn is_current(&self, namespace: &str, version: &ObjectVersion) -> bool {
        self.get(namespace, &version.name).is_some_and(|object| version_of(&object) == *version)
    }

    /// The client of a connection, made again where spec or Secrets have changed. The API server is asked for Secrets
    /// at most once per `age`.
    async fn make(&self, object: &SystemConnection, age: Duration) -> Made {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let entry = self.entry(&namespace, &name);
        let _one_at_a_time = entry.making.lock().await;
        let known = entry.made.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let version = version_of(object);
        if let Some(known) =
            known.as_ref().filter(|known| known.version == version && known.secrets_read.elapsed() < age)
        {
            return known.clone();
        }
        let read = secrets::read(&self.client, &namespace, &object.spec).await;
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
                let client = self.settings(object, found, entry.meter.clone()).and_then(|settings| {
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
        object: &SystemConnection,
        found: secrets::Found,
        meter: Arc<Meter>,
    ) -> Result<Settings, (Reason, String)> {
        let product = product(object).ok_or_else(|| {
            (
                Reason::ProviderNotSupported,
                format!("{} It has one for: {}.", Reason::ProviderNotSupported.sentence(), products()),
            )
        })?;
        let limits =
            parse::limits(&object.spec.limits).map_err(|invalid| (Reason::ConnectionInvalid, format!("{invalid}.")))?;
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
            allow_plaintext: object.spec.allow_plaintext,
            allow_loopback: self.allow_loopback,
            meter,
        })
    }

    /// The meters of all connections, each with namespace and name.
    #[must_use]
    pub fn meters(&self) -> Vec<(String, String, Arc<Meter>)> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let meters = entries.iter();
        meters.map(|((namespace, name), entry)| (namespace.clone(), name.clone(), entry.meter.clone())).collect()
    }

    /// A system answered 401: the connection is left alone until a probe says otherwise. Returns what to probe.
    pub fn refused_credentials(&self, namespace: &str, name: &str) -> Option<Arc<SystemConnection>> {
        if let Some(made) = self.entry(namespace, name).made.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            made.unauthorized = true;
            made.probed = None;
        }
        self.get(namespace, name)
    }

    /// The connections whose next probe is due. `needed` says of a namespace whether a closure there is unfinished.
    #[must_use]
    pub fn due(&self, needed: impl Fn(&str) -> bool) -> Vec<Arc<SystemConnection>> {
        let all = self.store.state().into_iter();
        all.filter(|object| {
            let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
            let ready =
                object.status.as_ref().is_some_and(|status| conditions::is_true(&status.conditions, conditions::READY));
            let interval = if ready && !needed(namespace) { PROBE_WHEN_IDLE } else { PROBE_WHEN_NEEDED };
            let entry = self.entry(namespace, &object.name_any());
            let made = entry.made.lock().unwrap_or_else(PoisonError::into_inner);
            made.as_ref().is_none_or(|made| {
                made.version != version_of(object) || made.probed.is_none_or(|probed| probed.elapsed() >= interval)
            })
        })
        .collect()
    }
}

fn version_of(object: &SystemConnection) -> ObjectVersion {
    ObjectVersion {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
    }
}

/// The product of a spec, by the names in the table of products: this file knows none of them.
fn product(object: &SystemConnection) -> Option<Product> {
    Product::of_spec(&serde_json::to_value(&object.spec).ok()?)
}

fn products() -> String {
    providers::products().collect::<Vec<_>>().join(", ")
}
