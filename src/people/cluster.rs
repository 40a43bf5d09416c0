//! Which cluster, with whose rights, and one request to it at a time.

use super::clean;
use super::error::{Error, Tried, VIEWER, chain};
use crate::settings::Cluster;
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Client, Config, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A namespace of a cluster, with the rights of the person who asks.
#[derive(Clone)]
pub struct Place {
    client: Client,
    namespace: String,
}

impl Place {
    /// Takes the cluster from the arguments, else from KUBECONFIG or ~/.kube/config, else from the pod this runs in.
    ///
    /// # Errors
    /// Where none of these can be used.
    pub async fn find(cluster: &Cluster) -> Result<Place, Error> {
        let no_cluster = |error: &dyn std::error::Error| Error::NoCluster(clean(&chain(error)));
        let options = KubeConfigOptions { context: cluster.context.clone(), ..KubeConfigOptions::default() };
        let config = match (&cluster.kubeconfig, &cluster.context) {
            (Some(file), _) => {
                let kubeconfig = Kubeconfig::read_from(file).map_err(|error| no_cluster(&error))?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| no_cluster(&error))
            }
            (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(|error| no_cluster(&error)),
            (None, None) => Config::infer().await.map_err(|error| no_cluster(&error)),
        };
        let mut config = config?;
        // A person, or a pipeline with a timeout, waits for the answer.
        config.default_retry = false;
        config.connect_timeout = Some(PATIENCE);
        let namespace = cluster.namespace.name().unwrap_or(&config.default_namespace).to_owned();
        let client = Client::try_from(config).map_err(|error| no_cluster(&error))?;
        Ok(Place::new(client, &namespace))
    }

    /// This namespace by this client.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Place {
        Place { client, namespace: namespace.to_owned() }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// One object.
    pub(super) async fn get<K>(&self, what: &'static str, name: &str) -> Result<K, Error>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let tried = Tried { verb: "get", what, name, namespace: &self.namespace, role: VIEWER };
        ask(&tried, self.api().get(name)).await
    }
}

/// One request, in time or not at all.
pub(super) async fn ask<T>(
    tried: &Tried<'_>,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match timeout(PATIENCE, request).await {
        Ok(result) => result.map_err(|error| tried.failed(&error)),
        Err(_) => Err(Error::Unreachable(format!("not within {} s", PATIENCE.as_secs()))),
    }
}
