//! Whether the cluster's definitions of the kinds are those that this program was built with.
//!
//! **Older ones** would drop fields without a word, among them such as a proof depends on: nothing is worked on until they are
//! applied. **Newer ones** are lived with; an object that makes use of what is new in them is left to a newer program.

use crate::api::schema::{self, Compared};
use crate::health::Health;
use crate::telemetry::Metrics;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::Api;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(300);
/// The same while something is lacking: whoever applies the definitions is not to wait.
const SOON: Duration = Duration::from_secs(10);

/// What is known of the cluster's definitions.
pub struct Definitions {
    client: Client,
    health: Health,
    metrics: Metrics,
    compared: watch::Sender<Compared>,
}

impl Definitions {
    /// Nothing is known yet; [`Definitions::look`] comes first.
    #[must_use]
    pub fn new(client: Client, health: Health, metrics: Metrics) -> Definitions {
        Definitions { client, health, metrics, compared: watch::Sender::default() }
    }

    /// What they lack, in a sentence.
    #[must_use]
    pub fn outdated(&self) -> Option<String> {
        self.compared.borrow().outdated()
    }

    /// Whether they know more than this program.
    #[must_use]
    pub fn are_newer(&self) -> bool {
        !self.compared.borrow().unknown.is_empty()
    }

    /// Tells of each change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Compared> {
        self.compared.subscribe()
    }

    /// Looks at them: each by its name.
    ///
    /// # Errors
    /// The API server gives no answer, or the operator's role does not let it.
    pub async fn look(&self) -> Result<(), kube::Error> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let mut of_cluster = Vec::new();
        for name in schema::names() {
            of_cluster.extend(api.get_opt(&name).await?);
        }
        let compared = schema::compare(&of_cluster);
        self.compared.send_if_modified(|known| {
            let changed = *known != compared;
            if changed {
                self.tell(&compared);
                *known = compared;
            }
            changed
        });
        Ok(())
    }

    fn tell(&self, compared: &Compared) {
        let Compared { lacking, unknown } = compared;
        let outdated = compared.outdated();
        match &outdated {
            Some(why) => warn!(?lacking, "{why}"),
            None if unknown.is_empty() => info!("the cluster's definitions are those of this version"),
            None => info!(?unknown, "the cluster's definitions are of a newer version"),
        }
        self.metrics.set_schema(!lacking.is_empty(), !unknown.is_empty());
        self.health.set_hindered(outdated);
    }

    /// Goes on looking.
    pub async fn keep(&self) {
        loop {
            tokio::time::sleep(if self.outdated().is_some() { SOON } else { EVERY }).await;
            if let Err(error) = self.look().await {
                warn!(%error, "the cluster's definitions could not be read");
            }
        }
    }
}
