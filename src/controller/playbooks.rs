//! Playbooks: parsed once per generation, resolved to connections at each pass, and told whether they can be used.

use super::connections::{Connections, Usable};
use super::context::Context;
use crate::api::conditions::{self, Stamp, Truth};
use crate::api::parse::{self, Backoff, Playbook};
use crate::api::system_connection::Role;
use crate::api::{ClosurePlaybook, ClosurePlaybookStatus};
use crate::closure::ids::System;
use crate::closure::ledger::PlaybookVersion;
use crate::closure::reason::Reason;
use crate::closure::trace;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use kube::runtime::reflector::{ObjectRef, Store};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The playbooks of the cluster, or of the one namespace that is watched.
pub struct Playbooks {
    store: Store<ClosurePlaybook>,
    parsed: Mutex<HashMap<(String, i64), Parsed>>,
}

type Parsed = Result<(Arc<Playbook>, PlaybookVersion), String>;

/// Why a closure cannot be worked on under its playbook now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// From the closed set.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// The system that it concerns, where it is one.
    pub system: Option<System>,
}

/// A playbook with its connections, all usable.
#[derive(Clone)]
pub struct Resolved {
    /// What was parsed.
    pub playbook: Arc<Playbook>,
    /// Which version of which object.
    pub version: PlaybookVersion,
    /// The connections, by [`System::ALL`].
    pub connections: [Usable; 6],
}

impl Playbooks {
    /// Playbooks as a watch keeps them.
    #[must_use]
    pub fn new(store: Store<ClosurePlaybook>) -> Playbooks {
        Playbooks { store, parsed: Mutex::default() }
    }

    /// Parses a playbook, or takes it from the last time. What is kept is one entry per living playbook.
    fn parse(&self, object: &ClosurePlaybook) -> Parsed {
        let uid = object.uid().unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or_default();
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = parsed.get(&(uid.clone(), generation)) {
            return known.clone();
        }
        parsed.retain(|(known, _), _| *known != uid);
        let made = parse::playbook(&object.spec).map_err(|invalid| invalid.to_string()).map(|playbook| {
            let digest = trace::digest(&serde_json::to_value(&object.spec).unwrap_or_default());
            let version = PlaybookVersion { name: object.name_any(), uid: uid.clone(), generation, digest };
            (Arc::new(playbook), version)
        });
        parsed.insert((uid, generation), made.clone());
        made
    }

    fn get(&self, namespace: &str, name: &str) -> Option<Arc<ClosurePlaybook>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// Whether a playbook is still the one that a pass began with.
    #[must_use]
    pub fn is_current(&self, namespace: &str, version: &PlaybookVersion) -> bool {
        self.get(namespace, &version.name).is_some_and(|object| {
            object.metadata.uid.as_deref() == Some(&version.uid)
                && object.metadata.generation == Some(version.generation)
        })
    }

    /// A playbook's rules, whether or not its connections are there.
    ///
    /// # Errors
    /// It is absent, or cannot be used.
    pub fn rules(&self, namespace: &str, name: &str) -> Result<(Arc<Playbook>, PlaybookVersion), Unusable> {
        let Some(object) = self.get(namespace, name) else {
            let message = format!("There is no closureplaybook {name} in this namespace.");
            return Err(Unusable { reason: Reason::PlaybookNotFound, message, system: None });
        };
        self.parse(&object).map_err(|why| Unusable {
            reason: Reason::PlaybookInvalid,
            message: format!("Closureplaybook {name} cannot be used: {why}."),
            system: None,
        })
    }

    /// A playbook and its six connections.
    ///
    /// # Errors
    /// What is absent, not allowed or not ready.
    pub async fn resolve(&self, namespace: &str, name: &str, connections: &Connections) -> Result<Resolved, Unusable> {
        let (playbook, version) = self.rules(namespace, name)?;
        let mut usable = Vec::with_capacity(System::ALL.len());
        for system in System::ALL {
            usable.push(connections.usable(namespace, playbook.connection(system), system, &playbook).await?);
        }
        let connections = <[Usable; 6]>::try_from(usable).map_err(|_| Unusable {
            reason: Reason::PlaybookInvalid,
            message: "The playbook does not name six systems.".to_owned(),
            system: None,
        })?;
        Ok(Resolved { playbook, version, connections })
    }

    /// The connection on which a playbook has people told of halts, and how its closures try again.
    #[must_use]
    pub fn follow_up(&self, namespace: &str, name: &str) -> Option<(String, Backoff)> {
        let (playbook, _) = self.parse(&*self.get(namespace, name)?).ok()?;
        Some((playbook.follow_up.clone()?, playbook.retry))
    }

    /// Tells on a playbook whether it can be used. Writes nothing where that is known already.
    ///
    /// # Errors
    /// Where the API server does not take the status.
    pub async fn judge(&self, context: &Context, object: &ClosurePlaybook) -> Result<(), kube::Error> {
        let Context { client, connections, definitions, .. } = context;
        let now = context.now();
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let verdict = match (definitions.outdated(), self.parse(object)) {
            (Some(why), _) => Err((Reason::SchemaOutdated, why)),
            (None, Err(why)) => Err((Reason::PlaybookInvalid, format!("{why}."))),
            (None, Ok((playbook, _))) => System::ALL
                .into_iter()
                .try_for_each(|system| connections.allows(&namespace, playbook.connection(system), system, &playbook))
                .and_then(|()| match &playbook.follow_up {
                    Some(channel) => connections.in_role(&namespace, channel, Role::FollowUp).map(drop),
                    None => Ok(()),
                })
                .map_err(|unusable| (unusable.reason, unusable.message)),
        };
        let generation = object.metadata.generation.unwrap_or_default();
        let stamp = Stamp { generation, now };
        let before = object.status.clone().unwrap_or_default();
        let mut status =
            ClosurePlaybookStatus { observed_generation: generation, conditions: before.conditions.clone() };
        let (truth, reason, message) = match &verdict {
            Ok(()) => (Truth::True, Reason::Ready, Reason::Ready.sentence()),
            Err((reason, message)) => (Truth::False, *reason, message.as_str()),
        };
        conditions::set(&mut status.conditions, conditions::READY, truth, reason.as_str(), message, stamp);
        if object.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut object = object.clone();
        object.metadata.managed_fields = None;
        object.status = Some(status);
        let api: Api<ClosurePlaybook> = Api::namespaced(client.clone(), &namespace);
        api.replace_status(&name, &PostParams::default(), &object).await.map(drop)
    }

    /// Every playbook.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<ClosurePlaybook>> {
        self.store.state()
    }

    /// Every playbook of a namespace.
    #[must_use]
    pub fn of_namespace(&self, namespace: &str) -> Vec<Arc<ClosurePlaybook>> {
        let all = self.store.state();
        all.into_iter().filter(|playbook| playbook.metadata.namespace.as_deref() == Some(namespace)).collect()
    }
}
