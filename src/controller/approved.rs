//! What administrators approve, of one namespace or for many: connections and playbooks under one face, and which namespace
//! may use which.

use crate::api::closure_playbook::{ClosurePlaybookSpec, ClosurePlaybookStatus, ConnectionKind, ConnectionRef};
use crate::api::cluster_scoped::{ClusterClosurePlaybook, ClusterSystemConnection, NamespaceSelector};
use crate::api::release_closure::{PlaybookKind, PlaybookRef};
use crate::api::{ClosurePlaybook, SystemConnection, SystemConnectionSpec, SystemConnectionStatus};
use crate::shards::Shard;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt as _};
use serde::Deserialize;
use std::collections::BTreeMap;

/// An administrator's object: one of a namespace, or one for many.
pub trait Approved: Send + Sync {
    /// What it says.
    type Spec;
    /// What was found out about it.
    type Status;
    /// What names one.
    type Ref;

    /// Its metadata.
    fn meta(&self) -> &ObjectMeta;
    /// What it says.
    fn spec(&self) -> &Self::Spec;
    /// What was found out about it.
    fn status(&self) -> Option<&Self::Status>;
    /// The namespaces that may use it; none: its own.
    fn selector(&self) -> Option<&NamespaceSelector>;
    /// What names it.
    fn reference(&self) -> Self::Ref;
    /// Writes its status, on the version that this is.
    fn put(&self, client: &Client, status: Self::Status) -> BoxFuture<'static, Result<(), kube::Error>>;

    /// Its namespace; empty for one of the cluster.
    fn home(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }
    /// Its name.
    fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }
    /// The generation of what it says.
    fn generation(&self) -> i64 {
        self.meta().generation.unwrap_or_default()
    }
}

/// A connection.
pub type Connection = dyn Approved<Spec = SystemConnectionSpec, Status = SystemConnectionStatus, Ref = ConnectionRef>;
/// A playbook.
pub type Rulebook = dyn Approved<Spec = ClosurePlaybookSpec, Status = ClosurePlaybookStatus, Ref = PlaybookRef>;

macro_rules! approved {
    ($kind:ty, $spec:ty, $status:ty, $reference:ident, $of:expr, |$self:ident| $said:expr, $selector:expr, |$client:ident| $api:expr) => {
        impl Approved for $kind {
            type Spec = $spec;
            type Status = $status;
            type Ref = $reference;

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn spec(&$self) -> &$spec {
                $said
            }
            fn status(&self) -> Option<&$status> {
                self.status.as_ref()
            }
            fn selector(&$self) -> Option<&NamespaceSelector> {
                $selector
            }
            fn reference(&self) -> $reference {
                $reference { kind: $of, name: self.name_any() }
            }
            fn put(&$self, $client: &Client, status: $status) -> BoxFuture<'static, Result<(), kube::Error>> {
                let (api, mut object): (Api<$kind>, _) = ($api, $self.clone());
                object.metadata.managed_fields = None;
                object.status = Some(status);
                async move { api.replace_status(&object.name_any(), &PostParams::default(), &object).await.map(drop) }.boxed()
            }
        }
    };
}

approved!(
    SystemConnection,
    SystemConnectionSpec,
    SystemConnectionStatus,
    ConnectionRef,
    ConnectionKind::SystemConnection,
    |self| &self.spec,
    None,
    |client| Api::namespaced(client.clone(), self.home())
);
approved!(
    ClusterSystemConnection,
    SystemConnectionSpec,
    SystemConnectionStatus,
    ConnectionRef,
    ConnectionKind::ClusterSystemConnection,
    |self| &self.spec.connection,
    Some(&self.spec.namespace_selector),
    |client| Api::all(client.clone())
);
approved!(
    ClosurePlaybook,
    ClosurePlaybookSpec,
    ClosurePlaybookStatus,
    PlaybookRef,
    PlaybookKind::ClosurePlaybook,
    |self| &self.spec,
    None,
    |client| Api::namespaced(client.clone(), self.home())
);
approved!(
    ClusterClosurePlaybook,
    ClosurePlaybookSpec,
    ClosurePlaybookStatus,
    PlaybookRef,
    PlaybookKind::ClusterClosurePlaybook,
    |self| &self.spec.playbook,
    Some(&self.spec.namespace_selector),
    |client| Api::all(client.clone())
);

/// The namespaces and their labels, by which objects of the cluster are given to them.
pub struct Tenancy {
    /// None where the operator watches one namespace alone, and reads nothing of the cluster.
    namespaces: Option<Store<PartialObjectMeta<Namespace>>>,
    shard: Shard,
}

impl Tenancy {
    /// Namespaces as a watch keeps them; none where the operator watches one namespace alone.
    #[must_use]
    pub fn new(namespaces: Option<Store<PartialObjectMeta<Namespace>>>, shard: Shard) -> Tenancy {
        Tenancy { namespaces, shard }
    }

    /// Whether this shard is the one that probes an object and writes its status: of what is for many namespaces, every shard
    /// knows and one tells.
    #[must_use]
    pub fn tells_of<A: Approved + ?Sized>(&self, object: &A) -> bool {
        self.shard.holds(object.home())
    }

    /// Whether a namespace may use an object that it names.
    #[must_use]
    pub fn admits<A: Approved + ?Sized>(&self, object: &A, namespace: &str) -> bool {
        let Some(selector) = object.selector() else { return object.home() == namespace };
        let known = self.namespaces.as_ref().and_then(|namespaces| namespaces.get(&ObjectRef::new(namespace)));
        let none = BTreeMap::new();
        known.is_some_and(|known| selector.selects(known.metadata.labels.as_ref().unwrap_or(&none)))
    }

    /// Why an object that is named is not there.
    #[must_use]
    pub fn missing(&self, what: &impl std::fmt::Display, of_the_cluster: bool) -> String {
        let what = what.to_string().to_lowercase();
        match (of_the_cluster, &self.namespaces) {
            (false, _) => format!("There is no {what} in this namespace."),
            (true, Some(_)) => format!("There is no {what}."),
            (true, None) => {
                format!("This operator watches one namespace alone (--namespace), so that it reads no {what}.")
            }
        }
    }
}

/// A reference by kind and name; no kind is the default one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct KindName {
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
}

impl KindName {
    /// The playbook that is named; none where its kind is not known to this version.
    #[must_use]
    pub fn reference(&self) -> Option<PlaybookRef> {
        let kind = match self.kind.as_str() {
            "" | "ClosurePlaybook" => PlaybookKind::ClosurePlaybook,
            "ClusterClosurePlaybook" => PlaybookKind::ClusterClosurePlaybook,
            _ => return None,
        };
        Some(PlaybookRef { kind, name: self.name.clone() })
    }

    /// Whether it names this playbook.
    #[must_use]
    pub fn is(&self, playbook: &PlaybookRef) -> bool {
        self.reference().as_ref() == Some(playbook)
    }
}
