//! `prune`: deletes what is finished and older than its playbook wants it kept.
//!
//! **Invariants:** an object is deleted only if it is still the very one that was judged (its uid and resourceVersion), and only
//! after all of it went out on stdout. Nothing unfinished is deleted, no packet without a resolution that was acted on, and
//! none that holds or may yet be asked for: with Abandon, or of a closure that is under way again.

use super::cluster::{Place, ask};
use super::error::{Error, PRUNER, Tried};
use super::{Ending, clean, tell};
use crate::api::conditions;
use crate::api::{ClosurePlaybook, FollowUpPacket, ReleaseClosure, parse};
use crate::closure::ids::ClosureKey;
use crate::closure::ledger::Decision;
use crate::settings::Prune;
use jiff::Timestamp;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
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
    let (mut unfinished, mut count) = (BTreeSet::new(), [0_u64; 2]);
    if kept.closed.is_empty() && kept.packets.values().all(Option::is_none) {
        tell("no playbook says policy.retention: everything is kept");
        return Ok(Ending::Done);
    }
    run.each("releaseclosures", async |whole, closure: ReleaseClosure| {
        let namespace = closure.namespace().unwrap_or_default();
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
    /// How long finished closures are kept, by namespace and name of the playbook; of one that is not here, for ever.
    closed: BTreeMap<(String, String), Duration>,
    /// How long released packets are kept, by namespace: the longest that a playbook says, none where one says nothing.
    packets: BTreeMap<String, Option<Duration>>,
}

impl Kept {
    fn learn(&mut self, playbook: &ClosurePlaybook) {
        let (namespace, name) = (playbook.namespace().unwrap_or_default(), playbook.name_any());
        let retention = playbook.spec.policy.retention.clone().unwrap_or_default();
        // What cannot be read keeps.
        let limit = |text: Option<String>| parse::duration("policy.retention", &text?).ok();
        let packets = limit(retention.packets);
        if let Some(closed) = limit(retention.closed) {
            self.closed.insert((namespace.clone(), name), closed);
        }
        let longest = self.packets.entry(namespace).or_insert(Some(Duration::ZERO));
        *longest = longest.zip(packets).map(|(one, other)| one.max(other));
    }

    fn is_due(&self, closure: &ReleaseClosure, now: Timestamp) -> bool {
        let playbook = (closure.namespace().unwrap_or_default(), closure.spec.playbook_ref.name.clone());
        self.closed.get(&playbook).is_some_and(|limit| is_older(completed(closure), *limit, now))
    }
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
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
    {
        let resource = ApiResource::erase::<K>(&());
        let namespace = if self.all { "" } else { self.place.namespace() };
        let api: Api<DynamicObject> = if self.all {
            Api::all_with(self.place.client(), &resource)
        } else {
            Api::namespaced_with(self.place.client(), namespace, &resource)
        };
        let tried = self.tried("list", what, "", if self.all { "(all)" } else { namespace });
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
