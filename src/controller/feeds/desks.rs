//! The one address at which webhooks come in, for all shards that this process leads.

use super::Feeds;
use crate::controller::Error;
use crate::feeds::server::{self, Delivery, Desk};
use crate::feeds::{Outcome, Source};
use crate::health;
use crate::settings::Operator;
use crate::shards::{Shard, Shards};
use crate::telemetry::Metrics;
use async_trait::async_trait;
use futures::future;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::info;

/// The feeds of each shard that is led, by its number.
pub(in crate::controller) struct Desks {
    shards: Shards,
    metrics: Metrics,
    served: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listener: Option<TcpListener>,
    serving: Option<JoinHandle<()>>,
    open: BTreeMap<u16, Arc<Feeds>>,
}

impl Desks {
    /// Takes the address, where one is named. It is served from the first shard on that is ready for it.
    ///
    /// # Errors
    /// It cannot be had.
    pub(in crate::controller) async fn bind(settings: &Operator, metrics: &Metrics) -> Result<Arc<Desks>, Error> {
        let listener = match settings.feeds_bind_address.0 {
            Some(address) => Some(health::bind(address).await.map_err(Error::BindFeeds)?),
            None => None,
        };
        let served = listener.is_some();
        let state = Mutex::new(State { listener, ..State::default() });
        Ok(Arc::new(Desks { shards: settings.shards, metrics: metrics.clone(), served, state }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is an address.
    pub(in crate::controller) fn are_served(&self) -> bool {
        self.served
    }

    /// From now on deliveries to a shard are taken.
    pub(in crate::controller) fn open(self: &Arc<Desks>, shard: Shard, feeds: Arc<Feeds>) {
        let mut state = self.state();
        state.open.insert(shard.index(), feeds);
        let Some(listener) = state.listener.take() else { return };
        if let Ok(address) = listener.local_addr() {
            info!(%address, "serving /feeds");
        }
        // The task must not keep alive what ends it.
        let desk = Arc::new(Front(Arc::downgrade(self)));
        state.serving = Some(tokio::spawn(server::serve(listener, desk, future::pending())));
    }

    /// From now on none are; the sender tries again later, or elsewhere.
    pub(in crate::controller) fn shut(&self, shard: Shard) {
        self.state().open.remove(&shard.index());
    }
}

impl Drop for Desks {
    fn drop(&mut self) {
        if let Some(serving) = self.state().serving.take() {
            serving.abort();
        }
    }
}

struct Front(Weak<Desks>);

#[async_trait]
impl Desk for Front {
    async fn take(&self, delivery: Delivery) -> Outcome {
        let Some(desks) = self.0.upgrade() else { return Outcome::Elsewhere };
        let shard = Shard::of(&delivery.namespace, desks.shards);
        let feeds = desks.state().open.get(&shard.index()).cloned();
        match feeds {
            Some(feeds) => feeds.take(delivery).await,
            None => {
                desks.metrics.feed_event(Source::Webhook, Outcome::Elsewhere);
                Outcome::Elsewhere
            }
        }
    }
}
