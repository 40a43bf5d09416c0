//! `prune`: deletes what is finished and older than its playbook wants it kept.
//!
//! **Invariants:** an object is deleted only if it is still the very one that was judged (its uid and resourceVersion), and only
//! after all of it went out on stdout. Nothing unfinished is deleted, no packet without a resolution that was acted on, and
//! none that holds or may yet be asked for: with Abandon, or of a closure that is under way again.

use super::cluster::{Place, ask};
use super::error::{Error, PRUNER, Tried};
use super::{Ending, clean, tell};
use crate::api::closure_playbook::ClosurePlaybookSpec;
use crate::api::conditions;
use crate::api::release_closure::{PlaybookKind, PlaybookRef};
use crate::api::{ClosurePlaybook, ClusterClosurePlaybook, FollowUpPacket, ReleaseClosure, parse};
use crate::closure::ids::ClosureKey;
use crate::closure::ledger::Decision;
use crate::settings::Prune;
use jiff::Timestamp;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

/// Objects asked for at once: few enough that a page is a few megabytes.
const PAGE: u32 = 500;

/// Deletes what is due, one object after the other.
///
/// # Errors
/// Something may not be listed or deleted, the API server gives no answer, or stdout takes no more. What was deleted before that
/// was printed; another run goes on.
pub async fn prune(prune: &Prune) -> Result<Ending, Error> {
    let place = Place::find(&prune.cluster).await?;
    let run = Run { place: &place, all: prune.all_namespaces, dry: prune.dry_run, now: Timestamp::now() };
    let mut kept = Kept::default();
    run.each::<ClosurePlaybook>("closureplaybooks", async |_, playbook: ClosurePlaybook| {
        kept.learn(&playbook);
        Ok(())
    })
    .await?;
    let shared = run.each::<ClusterClosurePlaybook>("clusterclosureplaybooks", async |_, playbook| {
        kept.learn_shared(&playbook);
        Ok(())
    });
    match shared.await {
        // Whoever may look at one namespace alone keeps what such a playbook is about.
        Err(Error::Forbidden { .. }) if !run.all => {}
        other => other?,
    }
    let (mut unfinished, mut count) = (BTreeSet::new(), [0_u64; 2]);
    if kept.is_everything() {
        tell("no playbook says policy.retention: everything is kept");
        return Ok(Ending::Done);
    }
    run.each("releaseclosures", async |whole, closure: ReleaseClosure| {
        let namespace = closure.namespace().unwrap_or_default();
        kept.meet(&closure);
        if completed(&closure).is_none() {
            unfinished.insert((namespace, key(&closure).as_str().to_owned()));
        } else if kept.is_due(&closure, run.now) {
            count[0] += u64::from(run.delete::<ReleaseClosure>("releaseclosures", &whole).await?);
        }
        Ok(())
    })
    .await?;
    run.each("followuppackets", async |whole, packet: FollowUpPacket| {
        let namespace = packet.namespace().unwrap_or_default();
        let under_way = unfinished.contains(&(namespace.clone(), packet.spec.closure_key.clone()));
        let limit = kept.packets.get(&namespace).copied().flatten();
        if !under_way && limit.is_some_and(|limit| is_older(released(&packet), limit, run.now)) {
            count[1] += u64::from(run.delete::<FollowUpPacket>("followuppackets", &whole).await?);
        }
        Ok(())
    })
    .await?;
    let [closures, packets] = count;
    let done = if run.dry { "would be deleted" } else { "deleted" };
    tell(&format!("{closures} closures and {packets} packets {done}"));
    Ok(Ending::Done)
}

/// What the playbooks say.
#[derive(Default)]
struct Kept {
    /// How long finished closures are kept, by namespace (none for a playbook for many) and name of the playbook; of one
    /// that is not here, for ever.
    closed: BTreeMap<(Option<String>, String), Duration>,
    /// How long released packets are kept, by namespace: the longest that a playbook says, none where one says nothing.
    packets: BTreeMap<String, Option<Duration>>,
    /// The same by name, of the playbooks for many.
    shared_packets: BTreeMap<String, Duration>,
}

impl Kept {
    fn is_everything(&self) -> bool {
        self.closed.is_empty() && self.packets.values().all(Option::is_none) && self.shared_packets.is_empty()
    }

    fn learn(&mut self, playbook: &ClosurePlaybook) {
        let namespace = playbook.namespace().unwrap_or_default();
        let (closed, packets) = limits(&playbook.spec);
        self.closed.extend(closed.map(|limit| ((Some(namespace.clone()), playbook.name_any()), limit)));
        self.counts(namespace, packets);
    }

    fn learn_shared(&mut self, playbook: &ClusterClosurePlaybook) {
        let (closed, packets) = limits(&playbook.spec.playbook);
        self.closed.extend(closed.map(|limit| ((None, playbook.name_any()), limit)));
        self.shared_packets.extend(packets.map(|limit| (playbook.name_any(), limit)));
    }

    /// Of the playbooks for many, those count in a namespace that a closure there names.
    fn meet(&mut self, closure: &ReleaseClosure) {
        let PlaybookRef { kind, name } = &closure.spec.playbook_ref;
        if *kind == PlaybookKind::ClusterClosurePlaybook {
            let limit = self.shared_packets.get(name).copied();
            self.counts(closure.namespace().unwrap_or_default(), limit);
        }
    }

    fn counts(&mut self, namespace: String, packets: Option<Duration>) {
        let longest = self.packets.entry(namespace).or_insert(Some(Duration::ZERO));
        *longest = longest.zip(packets).map(|(one, other)| one.max(other));
    }

    fn is_due(&self, closure: &ReleaseClosure, now: Timestamp) -> bool {
        let PlaybookRef { kind, name } = closure.spec.playbook_ref.clone();
        let home = closure.namespace().filter(|_| kind == PlaybookKind::ClosurePlaybook);
        self.closed.get(&(home, name)).is_some_and(|limit| is_older(completed(closure), *limit, now))
    }
}

/// How long a playbook wants closures and packets kept. What cannot be read keeps.
fn limits(spec: &ClosurePlaybookSpec) -> (Option<Duration>, Option<Duration>) {
    let retention = spec.policy.retention.clone().unwrap_or_default();
    let limit = |text: Option<String>| parse::duration("policy.retention", &text?).ok();
    (limit(retention.closed), limit(retention.packets))
}

fn is_older(since: Option<Timestamp>, limit: Duration, now: Timestamp) -> bool {
    since.is_some_and(|since| Duration::try_from(now.duration_since(since)).is_ok_and(|age| age >= limit))
}

fn completed(closure: &ReleaseClosure) -> Option<Timestamp> {
    closure.status.as_ref()?.completion_time
}

fn key(closure: &ReleaseClosure) -> ClosureKey {
    ClosureKey::new(&closure.spec.release.id, &closure.spec.review.id, &closure.spec.review.version)
}

/// When the packet's halt was released, if it was.
fn released(packet: &FollowUpPacket) -> Option<Timestamp> {
    let resumed = packet.spec.resolution.as_ref()?.decision == Decision::Resume;
    let conditions = &packet.status.as_ref()?.conditions;
    let acted_on = conditions::is_true(conditions, conditions::RESOLVED);
    let resolved = conditions::find(conditions, conditions::RESOLVED)?;
    (resumed && acted_on).then_some(resolved.last_transition_time.0)
}

struct Run<'a> {
    place: &'a Place,
    all: bool,
    dry: bool,
    now: Timestamp,
}

impl Run<'_> {
    fn tried<'a>(&'a self, verb: &'static str, what: &'static str, name: &'a str, namespace: &'a str) -> Tried<'a> {
        let _ = self;
        Tried { verb, what, name, namespace, role: PRUNER }
    }

    /// Every object of a kind, as it is stored and as it is understood. One that is not understood is kept.
    async fn each<K>(
        &self,
        what: &'static str,
        mut meet: impl AsyncFnMut(DynamicObject, K) -> Result<(), Error>,
    ) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + 'static,
        K::Scope: 'static,
    {
        let resource = ApiResource::erase::<K>(&());
        let everywhere = self.all || TypeId::of::<K::Scope>() == TypeId::of::<ClusterResourceScope>();
        let namespace = if everywhere { "" } else { self.place.namespace() };
        let api: Api<DynamicObject> = if everywhere {
            Api::all_with(self.place.client(), &resource)
        } else {
            Api::namespaced_with(self.place.client(), namespace, &resource)
        };
        let tried = self.tried("list", what, "", if everywhere { "(all)" } else { namespace });
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = ask(&tried, api.list(&params)).await?;
            let next = page.metadata.continue_.clone().filter(|token| !token.is_empty());
            for mut whole in page.items {
                whole.metadata.managed_fields = None;
                // Lists leave it out of their items.
                whole.types = Some(kube::core::TypeMeta::resource::<K>());
                let understood = serde_json::to_value(&whole).and_then(serde_json::from_value::<K>);
                match understood {
                    Ok(object) => meet(whole, object).await?,
                    Err(why) => tell(&format!(
                        "{} is kept, as it is not understood: {}",
                        told(what, &whole),
                        clean(&why.to_string())
                    )),
                }
            }
            match next {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(()),
            }
        }
    }

    /// Prints an object and deletes it if it is still this one. Whether it was deleted, or would be.
    async fn delete<K>(&self, what: &'static str, whole: &DynamicObject) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let (told, name) = (told(what, whole), whole.name_any());
        let not_exported = |why: String| Error::NotExported(told.clone(), why);
        let line = serde_json::to_string(whole).map_err(|error| not_exported(error.to_string()))?;
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(|error| not_exported(error.to_string()))?;
        drop(stdout);
        if self.dry {
            tell(&format!("{told} would be deleted"));
            return Ok(true);
        }
        let namespace = whole.namespace().unwrap_or_default();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.place.client(), &namespace, &ApiResource::erase::<K>(&()));
        let still = Preconditions { uid: whole.uid(), resource_version: whole.resource_version() };
        let params = DeleteParams { preconditions: Some(still), ..DeleteParams::background() };
        match ask(&self.tried("delete", what, &name, &namespace), api.delete(&name, &params)).await {
            Ok(_) => {
                tell(&format!("{told} deleted"));
                Ok(true)
            }
            Err(Error::Changed) => {
                tell(&format!("{told} is kept, as it changed meanwhile"));
                Ok(false)
            }
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn told(what: &str, object: &DynamicObject) -> String {
    format!("{} {}/{}", what.trim_end_matches('s'), object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(retention: &Value) -> Value {
        let reference = json!({"connectionRef": {"kind": "ClusterSystemConnection", "name": "c"}});
        let mut spec = json!({"namespaceSelector": {}, "checklist": reference, "queue": reference, "intake": reference,
            "governance": reference, "archive": reference, "tracker": reference, "policy": {"retention": retention}});
        spec["governance"]["acceptedStates"] = json!(["Accepted"]);
        spec["archive"]["requiredArtifacts"] = json!(["sign-off"]);
        spec["tracker"]["approvedState"] = json!("Approved");
        spec["tracker"]["approvableStates"] = json!(["InReview"]);
        spec
    }

    fn playbook<K: DeserializeOwned>(retention: &Value) -> K {
        let object = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec(retention)});
        serde_json::from_value(object).unwrap()
    }

    fn closure(kind: &str) -> ReleaseClosure {
        let release = json!({"id": "r", "service": "s", "version": "1"});
        serde_json::from_value(json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {
            "playbookRef": {"kind": kind, "name": "p"}, "release": release,
            "review": {"id": "r", "version": "1", "acceptedEvent": {"id": "e"}},
            "milestone": {"id": "1", "title": "t"}, "evidence": {"bundle": "b", "digest": "d"}},
            "status": {"observedGeneration": 1, "completionTime": "2026-01-01T00:00:00Z"}}))
        .unwrap()
    }

    #[test]
    fn a_playbook_for_many_says_it_of_the_closures_that_name_it() {
        let now: Timestamp = "2026-01-01T02:00:00Z".parse().unwrap();
        let mut kept = Kept::default();
        assert!(kept.is_everything());
        kept.learn_shared(&playbook(&json!({"closed": "1h", "packets": "3h"})));
        assert!(!kept.is_everything());
        let (own, shared) = (closure("ClosurePlaybook"), closure("ClusterClosurePlaybook"));
        assert!(kept.is_due(&shared, now) && !kept.is_due(&own, now), "the same name is another playbook");
        kept.learn(&playbook(&json!({"closed": "2h", "packets": "1h"})));
        assert!(kept.is_due(&own, now));

        kept.meet(&own);
        assert_eq!(kept.packets["n"], Some(Duration::from_secs(3600)));
        kept.meet(&shared);
        assert_eq!(kept.packets["n"], Some(Duration::from_secs(3 * 3600)), "the longest of those that are used");
        let mut keeps = Kept::default();
        keeps.learn(&playbook(&json!({"packets": "1h"})));
        keeps.learn_shared(&playbook(&json!({"closed": "1h"})));
        keeps.meet(&shared);
        assert_eq!(keeps.packets["n"], None, "one that says nothing keeps them");
    }
}
