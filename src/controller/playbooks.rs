//! Playbooks: parsed once per generation, resolved to connections at each pass, and told whether they can be used.

use super::approved::{Rulebook, Tenancy};
use super::connections::{Connections, Usable};
use super::context::Context;
use crate::api::closure_playbook::{ConnectionKind, ConnectionRef};
use crate::api::conditions::{self, Stamp, Truth};
use crate::api::parse::{self, Backoff, Playbook};
use crate::api::release_closure::{PlaybookKind, PlaybookRef};
use crate::api::system_connection::Role;
use crate::api::{ClosurePlaybook, ClosurePlaybookStatus, ClusterClosurePlaybook};
use crate::closure::ids::System;
use crate::closure::ledger::PlaybookVersion;
use crate::closure::reason::Reason;
use crate::closure::trace;
use kube::runtime::reflector::{ObjectRef, Store};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The playbooks of the cluster, or of the one namespace that is watched.
pub struct Playbooks {
    own: Store<ClosurePlaybook>,
    shared: Store<ClusterClosurePlaybook>,
    tenancy: Arc<Tenancy>,
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
    /// What names it.
    pub reference: PlaybookRef,
    /// Which version of which object.
    pub version: PlaybookVersion,
    /// The connections, by [`System::ALL`].
    pub connections: [Usable; 6],
}

impl Playbooks {
    /// Playbooks as watches keep them: those of namespaces, and those for many.
    #[must_use]
    pub fn new(
        (own, shared): (Store<ClosurePlaybook>, Store<ClusterClosurePlaybook>),
        tenancy: Arc<Tenancy>,
    ) -> Playbooks {
        Playbooks { own, shared, tenancy, parsed: Mutex::default() }
    }

    /// Parses a playbook, or takes it from the last time. What is kept is one entry per living playbook.
    fn parse(&self, object: &Rulebook) -> Parsed {
        let uid = object.meta().uid.clone().unwrap_or_default();
        let generation = object.generation();
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = parsed.get(&(uid.clone(), generation)) {
            return known.clone();
        }
        parsed.retain(|(known, _), _| *known != uid);
        let made = parse::playbook(object.spec()).map_err(|invalid| invalid.to_string()).and_then(|playbook| {
            let own = |reference: &&ConnectionRef| reference.kind == ConnectionKind::SystemConnection;
            if let (true, Some(own)) = (object.selector().is_some(), playbook.connections().find(own)) {
                return Err(format!("it is for many namespaces, and {} is of one", own.to_string().to_lowercase()));
            }
            let digest = trace::digest(&serde_json::to_value(object.spec()).unwrap_or_default());
            let version = PlaybookVersion { name: object.name().to_owned(), uid: uid.clone(), generation, digest };
            Ok((Arc::new(playbook), version))
        });
        parsed.insert((uid, generation), made.clone());
        made
    }

    fn get(&self, namespace: &str, reference: &PlaybookRef) -> Option<Arc<Rulebook>> {
        let PlaybookRef { kind, name } = reference;
        match kind {
            PlaybookKind::ClosurePlaybook => Some(self.own.get(&ObjectRef::new(name).within(namespace))?),
            PlaybookKind::ClusterClosurePlaybook => Some(self.shared.get(&ObjectRef::new(name))?),
        }
    }

    /// Whether a playbook is still the one that a pass began with, and the namespace may still use it.
    #[must_use]
    pub fn is_current(&self, namespace: &str, resolved: &Resolved) -> bool {
        self.get(namespace, &resolved.reference).is_some_and(|object| {
            let meta = object.meta();
            meta.uid.as_deref() == Some(&resolved.version.uid)
                && meta.generation == Some(resolved.version.generation)
                && self.tenancy.admits(&*object, namespace)
        })
    }

    /// A playbook's rules, whether or not its connections are there.
    ///
    /// # Errors
    /// It is absent, is not given to the namespace, or cannot be used.
    pub fn rules(
        &self,
        namespace: &str,
        reference: &PlaybookRef,
    ) -> Result<(Arc<Playbook>, PlaybookVersion), Unusable> {
        let unusable = |reason, message| Unusable { reason, message, system: None };
        let Some(object) = self.get(namespace, reference) else {
            let shared = reference.kind == PlaybookKind::ClusterClosurePlaybook;
            return Err(unusable(Reason::PlaybookNotFound, self.tenancy.missing(reference, shared)));
        };
        if !self.tenancy.admits(&*object, namespace) {
            let message =
                format!("{reference} is not given to this namespace: its namespaceSelector does not select it.");
            return Err(unusable(Reason::NamespaceNotAllowed, message));
        }
        self.parse(&*object)
            .map_err(|why| unusable(Reason::PlaybookInvalid, format!("{reference} cannot be used: {why}.")))
    }

    /// A playbook and its six connections.
    ///
    /// # Errors
    /// What is absent, not allowed or not ready.
    pub async fn resolve(
        &self,
        namespace: &str,
        reference: &PlaybookRef,
        connections: &Connections,
    ) -> Result<Resolved, Unusable> {
        let (playbook, version) = self.rules(namespace, reference)?;
        let mut usable = Vec::with_capacity(System::ALL.len());
        for system in System::ALL {
            usable.push(connections.usable(namespace, playbook.connection(system), system, &playbook).await?);
        }
        let connections = <[Usable; 6]>::try_from(usable).map_err(|_| Unusable {
            reason: Reason::PlaybookInvalid,
            message: "The playbook does not name six systems.".to_owned(),
            system: None,
        })?;
        Ok(Resolved { playbook, reference: reference.clone(), version, connections })
    }

    /// The connection on which a playbook has people told of halts, and how its closures try again.
    #[must_use]
    pub fn follow_up(&self, namespace: &str, reference: &PlaybookRef) -> Option<(ConnectionRef, Backoff)> {
        let (playbook, _) = self.rules(namespace, reference).ok()?;
        Some((playbook.follow_up.clone()?, playbook.retry))
    }

    /// Tells on a playbook whether it can be used. Writes nothing where that is known already.
    ///
    /// # Errors
    /// Where the API server does not take the status.
    pub async fn judge(&self, context: &Context, object: &Rulebook) -> Result<(), kube::Error> {
        let Context { client, connections, definitions, .. } = context;
        let now = context.now();
        // Which namespaces may use the connections of a playbook for many, each of them finds out.
        let namespace = Some(object.home()).filter(|_| object.selector().is_none());
        let verdict = match (definitions.outdated(), self.parse(object)) {
            (Some(why), _) => Err((Reason::SchemaOutdated, why)),
            (None, Err(why)) => Err((Reason::PlaybookInvalid, format!("{why}."))),
            (None, Ok((playbook, _))) => System::ALL
                .into_iter()
                .try_for_each(|system| {
                    connections.allows(namespace, playbook.connection(system), system, &playbook).map(drop)
                })
                .and_then(|()| match &playbook.follow_up {
                    Some(channel) => connections.in_role(namespace, channel, Role::FollowUp).map(drop),
                    None => Ok(()),
                })
                .map_err(|unusable| (unusable.reason, unusable.message)),
        };
        let generation = object.generation();
        let stamp = Stamp { generation, now };
        let before = object.status().cloned().unwrap_or_default();
        let mut status = ClosurePlaybookStatus { observed_generation: generation, conditions: before.conditions };
        let (truth, reason, message) = match &verdict {
            Ok(()) => (Truth::True, Reason::Ready, Reason::Ready.sentence()),
            Err((reason, message)) => (Truth::False, *reason, message.as_str()),
        };
        conditions::set(&mut status.conditions, conditions::READY, truth, reason.as_str(), message, stamp);
        if object.status() == Some(&status) || !self.tenancy.tells_of(object) {
            return Ok(());
        }
        object.put(client, status).await
    }

    /// Every playbook of which something may have changed with a connection: those of its namespace; where it is one for
    /// many, all of them, which an empty `home` says.
    #[must_use]
    pub fn concerned_by(&self, home: &str) -> Vec<Arc<Rulebook>> {
        let own = self.own.state().into_iter().map(|object| object as Arc<Rulebook>);
        let shared = self.shared.state().into_iter().map(|object| object as Arc<Rulebook>);
        own.chain(shared).filter(|playbook| home.is_empty() || playbook.home() == home).collect()
    }
}
