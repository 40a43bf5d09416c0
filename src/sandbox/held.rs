//! Requests that wait in the middle until somebody lets them go on.

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::oneshot;

use super::call::Call;
use super::records::Role;

/// A request that is held.
#[derive(Clone, Debug, Serialize)]
pub struct HeldRequest {
    /// Tells requests apart that are held by the same rule.
    pub number: u64,
    /// The rule that holds it.
    pub fault: String,
    /// Whether it has been served: false for `hold`, true for `holdAfter`.
    pub served: bool,
    /// The method.
    pub method: String,
    /// The path as it was sent.
    pub path: String,
    /// The system that was asked.
    pub role: Option<Role>,
    /// The record that was asked for.
    pub record: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// What a held request is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on: be served, or reply.
    Release,
    /// Close the connection; and if it has not been served, it never is.
    Discard,
}

/// All requests that are held.
#[derive(Debug, Default)]
pub(super) struct Held {
    waiting: Vec<(HeldRequest, oneshot::Sender<Verdict>)>,
    count: u64,
}

impl Held {
    /// Adds a request. The verdict comes over the channel; a closed channel means `Discard`.
    pub(super) fn hold(&mut self, fault: &str, call: &Call, served: bool) -> oneshot::Receiver<Verdict> {
        self.count += 1;
        let (tell, verdict) = oneshot::channel();
        let request = HeldRequest {
            number: self.count,
            fault: fault.to_owned(),
            served,
            method: call.method.to_string(),
            path: call.path.clone(),
            role: call.role(),
            record: call.record().map(str::to_owned),
            since: Timestamp::now(),
        };
        self.waiting.push((request, tell));
        verdict
    }

    pub(super) fn list(&self) -> Vec<HeldRequest> {
        self.waiting.iter().map(|(request, _)| request.clone()).collect()
    }

    /// Lets go of the requests that fit, and says how many they were.
    pub(super) fn let_go(&mut self, verdict: Verdict, fits: impl Fn(&HeldRequest) -> bool) -> usize {
        let chosen = self.waiting.extract_if(.., |(request, _)| fits(request));
        // Whoever waits for the verdict does so on a task of its own, until it comes; so it always arrives.
        chosen.filter_map(|(_, tell)| tell.send(verdict).ok()).count()
    }
}
