//! The probe of a connection, and what its status says then.

use super::{Connections, Made, product};
use crate::api::SystemConnectionStatus;
use crate::api::conditions::{self, Stamp, Truth};
use crate::api::system_connection::{Role, RoleStatus};
use crate::closure::reason::Reason;
use crate::closure::snapshot::Trouble;
use crate::controller::approved::Connection;
use crate::roles::Probe;
use jiff::Timestamp;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

impl Connections {
    /// Probes a connection and tells what was found on its status. Returns whether it can be used now where that has
    /// changed. Writes nothing where nothing has.
    ///
    /// # Errors
    /// Where the API server does not take the status.
    pub async fn probe(&self, object: &Connection, now: Timestamp) -> Result<Option<bool>, kube::Error> {
        let entry = self.entry(object.home(), object.name());
        let _one_at_a_time = entry.probing.lock().await;
        let made = self.make(object, Duration::from_secs(1)).await;
        let found = match &made.client {
            Err((reason, why)) => Err((*reason, why.clone())),
            Ok(connected) => {
                let mut found = Ok(());
                // In each of its roles: what is set for one says nothing of another.
                for role in &object.spec().allowed_roles {
                    let probe = match (role, &connected.follow_up) {
                        (Role::FollowUp, Some(channel)) => channel.probe().await,
                        (Role::FollowUp, None) => Probe::Unfit {
                            setting: "allowedRoles",
                            what: "names FollowUp, which this product cannot play: only what takes handoffs can",
                        },
                        (role, _) => connected.prober.probe(role.system()).await,
                    };
                    found = as_told(probe);
                    if found.is_err() {
                        break;
                    }
                }
                found
            }
        };
        let unauthorized = matches!(&found, Err((Reason::Unauthorized, _)));
        if let Some(made) = entry.made.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            made.unauthorized = unauthorized;
            made.probed = Some(Instant::now());
        }
        self.tell(object, &made, found, now).await
    }

    async fn tell(
        &self,
        object: &Connection,
        made: &Made,
        found: Result<(), (Reason, String)>,
        now: Timestamp,
    ) -> Result<Option<bool>, kube::Error> {
        let generation = object.generation();
        let stamp = Stamp { generation, now };
        let before = object.status().cloned().unwrap_or_default();
        let was_ready = conditions::is_true(&before.conditions, conditions::READY);
        let roles = made.client.as_ref().map_or_else(
            |_| Vec::new(),
            |connected| {
                let roles = object.spec().allowed_roles.iter();
                roles
                    .filter(|role| **role != Role::FollowUp || connected.follow_up.is_some())
                    .filter_map(|role| Some(RoleStatus::new(*role, &connected.prober.abilities(role.system())?)))
                    .collect()
            },
        );
        let mut status = SystemConnectionStatus {
            observed_generation: generation,
            provider: product(object.spec()).map(|product| product.name().to_owned()),
            conditions: before.conditions.clone(),
            roles,
        };
        let is_ready = found.is_ok();
        let (truth, reason, message) = match &found {
            Ok(()) => (Truth::True, Reason::Ready, Reason::Ready.sentence()),
            Err((reason, message)) => (Truth::False, *reason, message.as_str()),
        };
        conditions::set(&mut status.conditions, conditions::READY, truth, reason.as_str(), message, stamp);
        let changed = (is_ready != was_ready || before.observed_generation != generation).then_some(is_ready);
        if before == status || !self.tenancy.tells_of(object) {
            return Ok(changed);
        }
        match object.put(&self.client, status).await {
            // Somebody changed it in between: it is probed again on the next round, from the new version.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {
                let entry = self.entry(object.home(), object.name());
                if let Some(made) = entry.made.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                    made.probed = None;
                }
                Ok(changed)
            }
            other => other.map(|()| changed),
        }
    }
}

fn as_told(probe: Probe) -> Result<(), (Reason, String)> {
    match probe {
        Probe::Ready => Ok(()),
        Probe::Failed(why) => Err(reason_of(why.trouble)),
        Probe::Unfit { setting, what } => Err((Reason::ConnectionInvalid, format!("spec.{setting} {what}."))),
        Probe::Told { setting, what, right } => {
            Err((Reason::ConnectionInvalid, format!("spec.{setting} {what} {right}.")))
        }
    }
}

fn reason_of(trouble: Trouble) -> (Reason, String) {
    let reason = match trouble {
        Trouble::Unauthorized => Reason::Unauthorized,
        Trouble::Forbidden => Reason::Forbidden,
        Trouble::NotUnderstood => Reason::NotTheContract,
        Trouble::Unavailable | Trouble::TooManyRequests | Trouble::HeldBack | Trouble::Stale => {
            Reason::EndpointUnreachable
        }
    };
    (reason, reason.sentence().to_owned())
}
