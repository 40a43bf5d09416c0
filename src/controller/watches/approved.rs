//! The watches of what administrators approve: playbooks and connections, of one namespace or for many, and the namespaces.

use super::{Changes, Known, Once, Watched, events_if_any, events_of, kept, spec_of};
use crate::api::closure_playbook::{ClosurePlaybookSpec, ClosurePlaybookStatus, ConnectionRef};
use crate::api::release_closure::PlaybookRef;
use crate::api::{
    ClosurePlaybook, ClusterClosurePlaybook, ClusterSystemConnection, SystemConnection, SystemConnectionSpec,
    SystemConnectionStatus,
};
use crate::controller::approved::{Approved, Connection, Rulebook, Tenancy};
use crate::controller::connections::Connections;
use crate::controller::context::Context;
use crate::controller::playbooks::Playbooks;
use crate::shards::Shard;
use futures::{FutureExt as _, Stream, StreamExt as _, future};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use std::collections::BTreeSet;
use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::pin;
use std::sync::Arc;
use tracing::warn;

/// What these watches write to.
#[derive(Default)]
pub(in crate::controller) struct Kept {
    playbooks: Writer<ClosurePlaybook>,
    shared_playbooks: Writer<ClusterClosurePlaybook>,
    connections: Writer<SystemConnection>,
    shared_connections: Writer<ClusterSystemConnection>,
    namespaces: Writer<PartialObjectMeta<Namespace>>,
}

impl Kept {
    /// What is read of it. `namespace` is the one that is watched, where it is one: who watches one has no right to read
    /// what is of the cluster. The Secrets of connections for many namespaces are in `shared_secrets`.
    pub(in crate::controller) fn readers(
        &self,
        client: &Client,
        namespace: Option<&str>,
        shared_secrets: &str,
        allow_loopback: bool,
        shard: Shard,
    ) -> (Playbooks, Arc<Connections>) {
        let tenancy = Arc::new(Tenancy::new(namespace.is_none().then(|| self.namespaces.as_reader()), shard));
        let playbooks = (self.playbooks.as_reader(), self.shared_playbooks.as_reader());
        let connections = (self.connections.as_reader(), self.shared_connections.as_reader());
        let connections =
            Connections::new(client.clone(), connections, tenancy.clone(), shared_secrets.to_owned(), allow_loopback);
        (Playbooks::new(playbooks, tenancy), Arc::new(connections))
    }

    /// The watches, and what resolves with their first complete lists, from where on what is not there is missing.
    pub(in crate::controller) fn watch(
        self,
        context: &Arc<Context>,
        client: &Client,
        namespace: Option<&str>,
    ) -> (impl Future<Output = ()> + use<>, impl Future<Output = ()> + use<>) {
        let Kept { playbooks: rules, shared_playbooks, connections: systems, shared_connections, namespaces: labels } =
            self;
        let whole = watcher::Config::default;
        let (of_playbooks, of_connections) = (
            events_of(super::super::api(client, namespace), whole(), context.shard),
            events_of(super::super::api(client, namespace), whole(), context.shard),
        );
        let (rules_known, rules) = playbooks(context, of_playbooks, rules);
        let (systems_known, systems) = connections(context, of_connections, systems);
        let own = future::join(rules, systems).map(|_| ());
        let own_known = future::join(rules_known, systems_known).map(|_| ());
        let of_the_cluster = namespace.is_none().then(|| {
            let of_playbooks = events_if_any(Api::all(client.clone()), whole());
            let of_connections = events_if_any(Api::all(client.clone()), whole());
            let (rules_known, rules) = playbooks(context, of_playbooks, shared_playbooks);
            let (systems_known, systems) = connections(context, of_connections, shared_connections);
            let (labels_known, labels) = namespaces(context, Api::all(client.clone()), labels);
            (future::join3(rules_known, systems_known, labels_known), future::join3(rules, systems, labels))
        });
        let (shared_known, shared) = of_the_cluster.unzip();
        let lists = future::join(own_known, future::OptionFuture::from(shared_known));
        let context = context.clone();
        let known = lists.map(move |_| {
            context.connections.set_known();
            let judging = context.clone();
            context.tasks.spawn(async move { judge_all(&judging, &judging.playbooks.concerned_by("")).await });
        });
        (known, future::join(own, future::OptionFuture::from(shared)).map(|_| ()))
    }
}

/// Playbooks: each that is new or changed is judged, and wakes the closures that wait under it.
fn playbooks<K, E>(
    context: &Arc<Context>,
    events: E,
    writer: Writer<K>,
) -> (Known, impl Future<Output = ()> + use<K, E>)
where
    E: Stream<Item = Event<K>>,
    K: Watched + Approved<Spec = ClosurePlaybookSpec, Status = ClosurePlaybookStatus, Ref = PlaybookRef>,
{
    let context = context.clone();
    let (once, known) = Once::new();
    let watching = async move {
        let mut changes = Changes::by(spec_of);
        let mut events = pin!(kept(events, writer));
        while let Some(event) = events.next().await {
            match &event {
                Event::InitDone => {
                    once.tell();
                    judge_all(&context, &context.playbooks.concerned_by("")).await;
                }
                // Also where only the status changed: of two verdicts that were written at once, one lost.
                Event::Apply(playbook) => judge_all(&context, &[Arc::new(playbook.clone())]).await,
                Event::Init | Event::InitApply(_) | Event::Delete(_) => {}
            }
            for playbook in changes.of(event) {
                let reference = playbook.reference();
                context.wake_waiting(playbook.home(), |closure| closure.spec.playbook_ref.is(&reference));
                context.tell_untold(playbook.home());
            }
        }
    };
    (known, watching)
}

/// Judges playbooks; not before the connections are known, for then each would seem to be missing.
pub(super) async fn judge_all(context: &Context, playbooks: &[Arc<Rulebook>]) {
    if context.connections.are_known() {
        for playbook in playbooks {
            judge(context, &**playbook).await;
        }
    }
}

async fn judge(context: &Context, playbook: &Rulebook) {
    let judged = context.playbooks.judge(context, playbook).await;
    match judged {
        Ok(()) => {}
        // Changed in between: the watch brings the new one.
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {}
        Err(error) => warn!(%error, playbook = playbook.name(), "a playbook's status was not written"),
    }
}

/// What may be used in a namespace has changed (anywhere, for an empty `home`): its playbooks are judged again, and what
/// waits there is woken.
async fn may_use_others(context: &Context, home: &str) {
    judge_all(context, &context.playbooks.concerned_by(home)).await;
    context.wake_waiting(home, |_| true);
    context.tell_untold(home);
}

/// Connections: each that is new or changed is probed at once, and the playbooks that may name it are judged again.
fn connections<K, E>(
    context: &Arc<Context>,
    events: E,
    writer: Writer<K>,
) -> (Known, impl Future<Output = ()> + use<K, E>)
where
    E: Stream<Item = Event<K>>,
    K: Watched + Approved<Spec = SystemConnectionSpec, Status = SystemConnectionStatus, Ref = ConnectionRef>,
{
    let context = context.clone();
    let (once, known) = Once::new();
    let watching = async move {
        let mut changes = Changes::by(spec_of);
        let mut events = pin!(kept(events, writer));
        while let Some(event) = events.next().await {
            let mut homes = BTreeSet::new();
            match &event {
                Event::InitDone => {
                    once.tell();
                    homes.insert(String::new());
                }
                Event::Delete(connection) => {
                    context.connections.forget(connection);
                    homes.insert(connection.home().to_owned());
                }
                Event::Init | Event::InitApply(_) | Event::Apply(_) => {}
            }
            for connection in changes.of(event) {
                homes.insert(connection.home().to_owned());
                probe(&context, Arc::new(connection));
            }
            for home in homes {
                may_use_others(&context, &home).await;
            }
        }
    };
    (known, watching)
}

/// Namespaces: only their labels are kept, by which objects of the cluster are given to them.
fn namespaces(
    context: &Arc<Context>,
    api: Api<PartialObjectMeta<Namespace>>,
    writer: Writer<PartialObjectMeta<Namespace>>,
) -> (Known, impl Future<Output = ()> + use<>) {
    let context = context.clone();
    let (once, known) = Once::new();
    let events = events_of(api, watcher::Config::default(), context.shard).map(|mut event| {
        if let Event::Apply(object) | Event::InitApply(object) = &mut event {
            let labels = object.metadata.labels.take();
            let name = object.metadata.name.take();
            object.metadata = kube::core::ObjectMeta { name, labels, ..Default::default() };
        }
        event
    });
    let watching = async move {
        let mut changes = Changes::by(labels_of);
        let mut events = pin!(kept(events, writer));
        while let Some(event) = events.next().await {
            let listed = matches!(event, Event::InitDone);
            let labelled = changes.of(event);
            if listed {
                once.tell();
                may_use_others(&context, "").await;
                continue;
            }
            for namespace in labelled {
                may_use_others(&context, &namespace.name_any()).await;
            }
        }
    };
    (known, watching)
}

/// A fingerprint of the labels.
fn labels_of(namespace: &PartialObjectMeta<Namespace>) -> u64 {
    let mut print = DefaultHasher::new();
    namespace.metadata.labels.hash(&mut print);
    print.finish()
}

/// Probes a connection behind everything else; where it can be used again, what waits for it is woken.
pub(super) fn probe(context: &Arc<Context>, connection: Arc<Connection>) {
    let (tasks, context) = (context.clone(), context.clone());
    tasks.tasks.spawn(async move {
        match context.connections.probe(&*connection, context.now()).await {
            Ok(Some(true)) => {
                context.wake_waiting(connection.home(), |_| true);
                context.tell_untold(connection.home());
            }
            Ok(Some(false) | None) => {}
            Err(error) => warn!(%error, connection = connection.name(), "a connection's status was not written"),
        }
    });
}

/// A system refused the credentials of a connection: it is left alone, and probed with what its Secret says now.
pub(in crate::controller) fn probe_soon(context: &Arc<Context>, namespace: &str, reference: &ConnectionRef) {
    if let Some(connection) = context.connections.refused_credentials(namespace, reference) {
        probe(context, connection);
    }
}
