//! Further looks at a stage: what was written when, and what connections say of themselves.

use crate::stage::{PATIENCE, Stage};
use futures::TryStreamExt as _;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams, WatchEvent, WatchParams};
use releaseclosure::api::{ReleaseClosure, ReleaseClosureStatus, SystemConnection};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What became of the closures of a stage, version by version.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<Vec<ReleaseClosure>>>);

impl History {
    /// The statuses that a closure has had.
    pub fn statuses(&self, name: &str) -> Vec<ReleaseClosureStatus> {
        let versions = self.0.lock().unwrap();
        let mut statuses: Vec<ReleaseClosureStatus> = Vec::new();
        for closure in versions.iter().filter(|closure| closure.name_any() == name) {
            let status = closure.status.clone().unwrap_or_default();
            let unwritten = status == ReleaseClosureStatus::default();
            if !unwritten && statuses.last() != Some(&status) {
                statuses.push(status);
            }
        }
        statuses
    }
}

impl Stage {
    fn fired(&self, fault: &str) -> u64 {
        self.sandbox().faults().iter().find(|armed| armed.rule.id.as_deref() == Some(fault)).unwrap().fired
    }

    /// Waits until a rule has acted so many times more than it had when this was asked.
    pub async fn acted(&self, fault: &str, times: u64) {
        self.has_acted(fault, self.fired(fault) + times).await;
    }

    /// Waits until a rule has acted so many times since it was given.
    pub async fn has_acted(&self, fault: &str, times: u64) {
        let start = Instant::now();
        while self.fired(fault) < times {
            assert!(start.elapsed() < PATIENCE, "{fault} has acted {} times, not {times}", self.fired(fault));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// From now on, every version of every closure.
    pub async fn history(&self) -> History {
        let (closures, versions) = (self.closures.clone(), History::default());
        let stream = closures.watch(&WatchParams::default(), "0").await.expect("closures can be watched");
        let seen = versions.0.clone();
        tokio::spawn(async move {
            let mut stream = std::pin::pin!(stream);
            while let Ok(Some(event)) = stream.try_next().await {
                if let WatchEvent::Added(closure) | WatchEvent::Modified(closure) = event {
                    seen.lock().unwrap().push(closure);
                }
            }
        });
        versions
    }

    /// The administrator's patch of a connection.
    pub async fn patch_connection(&self, name: &str, spec: Value) {
        let api: Api<SystemConnection> = Api::namespaced(self.client.clone(), &self.namespace);
        let patch = Patch::Merge(json!({ "spec": spec }));
        api.patch(name, &PatchParams::default(), &patch).await.expect("the patch is let in");
    }

    /// Waits until a connection says this of itself, for its spec as it is now: status and reason of Ready.
    pub async fn connection_is(&self, name: &str, status: &str, reason: &str) {
        let api: Api<SystemConnection> = Api::namespaced(self.client.clone(), &self.namespace);
        let start = Instant::now();
        loop {
            let connection = api.get(name).await.expect("the connection is there");
            let so = connection.status.as_ref().is_some_and(|found| {
                Some(found.observed_generation) == connection.metadata.generation
                    && found.conditions.iter().any(|ready| ready.status == status && ready.reason == reason)
            });
            if so {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "connection {name} is not {status}/{reason}: {:?}", connection.status);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
