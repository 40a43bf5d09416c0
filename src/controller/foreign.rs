//! Objects of a newer version: a closure with a field that this program does not know. It is left alone, and says so; whatever
//! else this program stored on it would be without that field.

use super::context::Context;
use super::pass::PassError;
use super::record::StoreError;
use crate::api::conditions::{self, READY, RECONCILING, Stamp, Truth};
use crate::api::{ReleaseClosure, schema};
use crate::closure::reason::Reason;
use kube::Resource as _;
use kube::api::{GetParams, PostParams, Request};
use serde_json::Value;
use std::time::Duration;
use tracing::warn;

/// When to look again at an object that is left alone: its fields may be gone, or the definitions.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What was read.
pub(super) enum Read {
    /// An object of which every field is known; none where it is gone.
    Known(Option<Box<ReleaseClosure>>),
    /// One that is left alone.
    Foreign,
}

/// Reads a closure from the API server, where the definitions know more than this program.
pub(super) async fn read(context: &Context, namespace: &str, name: &str) -> Result<Read, PassError> {
    let path = ReleaseClosure::url_path(&(), Some(namespace));
    let build = |request: Result<_, _>| request.map_err(|error| PassError::Read(kube::Error::BuildRequest(error)));
    let mut raw: Value =
        match context.client.request(build(Request::new(&path).get(name, &GetParams::default()))?).await {
            Ok(raw) => raw,
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(Read::Known(None)),
            Err(error) => return Err(PassError::Read(error)),
        };
    let unreadable = |error| PassError::Read(kube::Error::SerdeError(error));
    let object: ReleaseClosure = serde_json::from_value(raw.clone()).map_err(unreadable)?;
    let known = serde_json::to_value(&object).map_err(unreadable)?;
    let unread = ["spec", "status"]
        .into_iter()
        .find_map(|part| schema::unread(&raw[part], &known[part]).map(|field| format!("{part}.{field}")));
    let status = object.status.clone().unwrap_or_default();
    let Some(field) = unread.filter(|_| status.completion_time.is_none()) else {
        return Ok(Read::Known(Some(Box::new(object))));
    };
    warn!(namespace, name, field, "a closure of a newer version is left alone");
    if context.fence.valid_for().is_zero() {
        return Err(StoreError::Superseded.into());
    }
    let generation = object.metadata.generation.unwrap_or_default();
    let stamp = Stamp { generation, now: context.now() };
    let message = format!("{} It is {field}.", Reason::SchemaNewer.sentence());
    let mut told = status.conditions.clone();
    let reason = Reason::SchemaNewer.as_str();
    conditions::set(&mut told, READY, Truth::False, "ProgressingWithRetry", &message, stamp);
    if status.halt.is_none() {
        conditions::set(&mut told, RECONCILING, Truth::True, reason, &message, stamp);
    }
    if told == status.conditions {
        return Ok(Read::Foreign);
    }
    // Everything else goes back as it came.
    raw["status"]["conditions"] = serde_json::to_value(&told).map_err(unreadable)?;
    let body = serde_json::to_vec(&raw).map_err(unreadable)?;
    let written = Request::new(&path).replace_subresource("status", name, &PostParams::default(), body);
    match context.client.request::<Value>(build(written)?).await {
        Ok(_) => context.metrics.status_written(),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {
            return Err(StoreError::Superseded.into());
        }
        Err(error) => return Err(StoreError::Api(error).into()),
    }
    Ok(Read::Foreign)
}
