//! Whatever an API server hands over as one of our kinds: it goes through the door checked, or not at all.

use super::parse::{self, DURATION_MAX, REQUESTED_AT_MAX};
use super::{
    AcceptanceFeed, ClosurePlaybook, ClusterClosurePlaybook, ClusterSystemConnection, FollowUpPacket, REQUESTED_AT,
    ReleaseClosure, ReleaseClosureStatus, SystemConnection,
};
use crate::closure::ids::{ID_MAX, Step, System, is_address, is_bundle, is_digest, is_id, is_title};
use crate::closure::{halt, trace};
use crate::fuzz::fuzz;
use kube::ResourceExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The same every time, and the same again after it was written.
fn reads<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let object: T = serde_json::from_slice(bytes).ok()?;
    let again: T = serde_json::from_slice(&serde_json::to_vec(&object).unwrap()).unwrap();
    assert_eq!(again, object);
    Some(object)
}

fn closure(bytes: &[u8]) -> bool {
    let Some(closure) = reads::<ReleaseClosure>(bytes) else { return false };
    let token = parse::requested_at(&closure);
    let annotated = closure.annotations().get(REQUESTED_AT);
    assert_eq!(token.is_some(), annotated.is_some());
    if let (Some(token), Some(whole)) = (token, annotated) {
        assert!(whole.starts_with(&token) && token.chars().count() == whole.chars().count().min(REQUESTED_AT_MAX));
    }
    let status = closure.status.clone().unwrap_or_default();
    let (envelope, ledger) = status.clone().split();
    let mut whole = ReleaseClosureStatus::assemble(envelope, ledger.clone());
    whole.progress.clone_from(&status.progress);
    assert_eq!(whole, status, "nothing of a status is lost");
    let ledger = ledger.checked();
    if let Ok(ledger) = &ledger {
        for step in Step::ALL {
            assert!(ledger.step(step).name == step && ledger.step(step).system == step.system());
        }
        for system in System::ALL {
            assert!(ledger.found_record(system).is_none_or(is_id), "it goes into a path");
        }
        assert!(ledger.settled() <= 5 && halt::id("u", ledger.episode).len() == 22);
    }
    let Ok(accepted) = parse::accepted(&closure.spec) else { return false };
    let (release, review, evidence) = (accepted.release(), accepted.review(), accepted.evidence());
    let ids = [&release.id, &release.service, &release.version, &review.id, &review.version, &review.accepted_event.id];
    assert!(ids.iter().all(|id| is_id(id)) && is_id(&accepted.milestone().id) && is_title(&accepted.milestone().title));
    assert!(is_bundle(&evidence.bundle) && is_digest(&evidence.digest));
    assert!(accepted.coordinator().is_none_or(is_address));
    for system in [System::Checklist, System::Tracker, System::Queue] {
        assert!(accepted.record(system).is_none_or(is_id));
    }
    let key = accepted.key().as_str();
    assert!(key.len() <= 3 * ID_MAX + 2 && key.split('@').eq([&release.id, &review.id, &review.version]));
    if let Ok(ledger) = ledger {
        assert_eq!(trace::head(&accepted, "u", &ledger), trace::head(&accepted, "u", &ledger));
    }
    true
}

fn playbook(bytes: &[u8]) -> bool {
    let Some(object) = reads::<ClosurePlaybook>(bytes) else { return false };
    let Ok(playbook) = parse::playbook(&object.spec) else { return false };
    let rules = &playbook.rules;
    for list in [&rules.accepted_states, &rules.required_artifacts, &rules.approvable_states] {
        assert!(!list.is_empty() && list.iter().all(|entry| !entry.is_empty()));
    }
    let hour = Duration::from_secs(3600);
    assert!(!rules.approved_state.is_empty() && rules.missing_grace <= 24 * hour);
    assert!(Duration::from_millis(100) <= playbook.retry.initial && playbook.retry.initial <= playbook.retry.max);
    assert!(playbook.retry.max <= hour);
    assert!(playbook.allows_service("payments") || object.spec.services.iter().all(|service| is_id(service)));
    true
}

fn connection(bytes: &[u8]) -> bool {
    let Some(object) = reads::<SystemConnection>(bytes) else { return false };
    if let Some(http) = &object.spec.http {
        let allowed = crate::providers::guard::Allowed { plaintext: object.spec.allow_plaintext, loopback: true };
        if let Ok(endpoint) = crate::providers::guard::Endpoint::parse(&http.endpoint, allowed) {
            let url = url::Url::parse(&format!("{}/reviews/x", endpoint.base())).unwrap();
            assert!(url.path().ends_with("/reviews/x") && url.host().is_some(), "paths can follow it");
            assert!(url.username().is_empty() && url.password().is_none());
            assert!(url.query().is_none() && url.fragment().is_none());
            assert_eq!(url.scheme() == "https", endpoint.is_encrypted());
            assert!(object.spec.allow_plaintext || endpoint.is_encrypted());
        }
    }
    let Ok(limits) = parse::limits(&object.spec.limits) else { return false };
    assert!((1..=1000).contains(&limits.requests_per_second) && (1..=64).contains(&limits.concurrency));
    assert!(Duration::from_secs(1) <= limits.timeout && limits.timeout <= Duration::from_secs(12));
    true
}

fn cluster_playbook(bytes: &[u8]) -> bool {
    reads::<ClusterClosurePlaybook>(bytes).is_some_and(|object| parse::playbook(&object.spec.playbook).is_ok())
}

fn cluster_connection(bytes: &[u8]) -> bool {
    reads::<ClusterSystemConnection>(bytes).is_some_and(|object| parse::limits(&object.spec.connection.limits).is_ok())
}

fn feed(bytes: &[u8]) -> bool {
    reads::<AcceptanceFeed>(bytes).is_some()
}

fn packet(bytes: &[u8]) -> bool {
    reads::<FollowUpPacket>(bytes).is_some()
}

/// A text as a duration, against a reading that counts in floating point.
fn duration(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(read) = parse::duration("field", text) else { return false };
    assert!(!text.is_empty() && text.len() <= DURATION_MAX);
    assert!(text.chars().all(|c| c.is_ascii_digit() || ".msh".contains(c)) && text.ends_with(['s', 'm', 'h']));
    let mut seconds = 0.0;
    for piece in text.replace("ms", "l").split_inclusive(['l', 's', 'm', 'h']) {
        let (number, unit) = piece.split_at(piece.len() - 1);
        let factor = match unit {
            "l" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            _ => 3600.0,
        };
        seconds += number.parse::<f64>().unwrap() * factor;
    }
    assert!((read.as_secs_f64() - seconds).abs() <= seconds * 1e-9 + 1e-8, "{text}: {read:?}");
    true
}

fuzz!(closures, "closure", 1000, closure);
fuzz!(playbooks, "playbook", 1000, playbook);
fuzz!(connections, "connection", 1000, connection);
fuzz!(packets, "packet", 1000, packet);
fuzz!(feeds, "feed", 500, feed);
fuzz!(cluster_playbooks, "cluster-playbook", 500, cluster_playbook);
fuzz!(cluster_connections, "cluster-connection", 500, cluster_connection);
fuzz!(durations, "duration", 10000, duration);
