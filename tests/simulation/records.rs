//! The records of a world's closures as they ought to be, what people do to them, and whether a record as it was shown agrees
//! with what was accepted. That last part is what the checker judges by; it shares nothing with the engine's own checks.

use super::plan::{ClosurePlan, Deed, Plan};
use releaseclosure::api::ReleaseClosureSpec;
use releaseclosure::api::release_closure::{Mode, PlaybookKind, PlaybookRef};
use releaseclosure::closure::accepted::{AcceptedEvent, Evidence, Milestone, Records, Release, Review};
use releaseclosure::sandbox::{Role, Sandbox, Seed};
use serde_json::{Value, json};

/// One closure's records, as they ought to be.
#[derive(Clone, Debug)]
pub struct Truth {
    pub key: String,
    pub plan: ClosurePlan,
    pub records: [(Role, String, Value); 5],
    pub url: String,
}

pub fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

impl Truth {
    pub fn of(index: usize, plan: &ClosurePlan) -> Truth {
        let id = |prefix: &str| format!("{prefix}-{index}");
        let (release, review, bundle) = (id("r"), id("RR"), format!("b/{index}"));
        let url = format!("https://archive.example/b/{index}");
        let full = json!({"id": release, "service": "payments", "version": "1.0"});
        let short = json!({"id": release});
        let milestone = json!({"id": "12", "title": "2026.11"});
        let by_people =
            |step: usize, done: &str, to_do: &str| if plan.done[step] { done.to_owned() } else { to_do.to_owned() };
        let mut links = Vec::new();
        if plan.other_link {
            links.push(json!({"bundle": "other/1", "digest": digest('e'), "url": "https://else.example/1", "closure": null, "by": "Kim"}));
        }
        if plan.done[2] {
            links.push(json!({"bundle": bundle, "digest": digest('a'), "url": url, "closure": null}));
        }
        let records = [
            (
                Role::Governance,
                review.clone(),
                json!({
                    "id": review, "version": "3", "state": "Accepted", "release": full, "milestone": milestone,
                    "evidence": {"bundle": bundle, "digest": digest('a')}, "acceptedEvent": {"id": id("e")},
                }),
            ),
            (
                Role::Archive,
                bundle.clone(),
                json!({
                    "bundle": bundle, "digest": digest('a'), "release": short, "review": {"version": "3"}, "url": url,
                    "artifacts": [{"name": "s", "kind": "sign-off", "digest": digest('b'), "url": "https://archive.example/s"}],
                }),
            ),
            (
                Role::Checklist,
                id("CHK"),
                json!({
                    "id": id("CHK"), "release": short, "review": {"version": "3"}, "state": by_people(0, "Closed", "Open"),
                    "items": [{"id": "one", "title": "One", "done": true}], "closure": null, "notes": "theirs",
                }),
            ),
            (
                Role::Tracker,
                id("REL"),
                json!({
                    "id": id("REL"), "release": full, "state": by_people(1, "Approved", "InReview"), "milestone": milestone,
                    "evidence": links, "closure": null, "notes": "theirs",
                }),
            ),
            (
                Role::Queue,
                id("Q"),
                json!({
                    "id": id("Q"), "release": short, "review": {"version": "3"}, "state": by_people(3, "Cleared", "Pending"),
                    "closure": null, "notes": "theirs",
                }),
            ),
        ];
        let key = format!("{release}@{review}@3");
        Truth { key, plan: plan.clone(), records, url }
    }

    pub fn seed(truths: &[Truth], plan: &Plan) -> Seed {
        let mut seed = Seed::default();
        seed.settings.checklist.markers = plan.markers[0];
        seed.settings.tracker.markers = plan.markers[1];
        seed.settings.queue.markers = plan.markers[2];
        use releaseclosure::closure::decide::Delivery;
        seed.settings.intake.idempotency = plan.delivery == Delivery::IdempotencyKey;
        seed.settings.intake.lookup = plan.delivery != Delivery::None;
        for truth in truths {
            for (role, _, value) in &truth.records {
                seed.records_mut(*role).push(value.clone());
            }
        }
        seed
    }

    pub fn record(&self, role: Role) -> Option<&(Role, String, Value)> {
        self.records.iter().find(|(other, ..)| *other == role)
    }

    pub fn id(&self, role: Role) -> &str {
        self.record(role).map_or(&self.key, |(_, id, _)| id)
    }

    pub fn spec(&self) -> ReleaseClosureSpec {
        let text = |role: Role, path: &str| {
            let value = self.record(role).and_then(|(.., value)| value.pointer(path)).and_then(Value::as_str);
            value.expect("a text of the record").to_owned()
        };
        let of = |path: &str| text(Role::Governance, path);
        let given = |role| self.plan.named.then(|| self.id(role).to_owned());
        ReleaseClosureSpec {
            playbook_ref: PlaybookRef { kind: PlaybookKind::ClosurePlaybook, name: "p".to_owned() },
            release: Release {
                id: of("/release/id"),
                service: of("/release/service"),
                version: of("/release/version"),
            },
            review: Review {
                id: of("/id"),
                version: of("/version"),
                accepted_event: AcceptedEvent { id: of("/acceptedEvent/id"), source: None, time: None },
            },
            milestone: Milestone { id: of("/milestone/id"), title: of("/milestone/title") },
            evidence: Evidence { bundle: of("/evidence/bundle"), digest: of("/evidence/digest") },
            records: Some(Records {
                tracker: given(Role::Tracker),
                checklist: given(Role::Checklist),
                queue_entry: given(Role::Queue),
            }),
            coordinator: self.plan.coordinator.then(|| "#releases".to_owned()),
            mode: Mode::Close,
            suspend: false,
        }
    }

    /// Whether a record as it was shown says what was accepted, whatever is done on it.
    pub fn agrees(&self, role: Role, shown: &Value) -> bool {
        let Some((_, id, ought)) = self.record(role) else { return true };
        let same = |field: &str| shown.get(field) == ought.get(field);
        let all = |fields: &[&str]| fields.iter().all(|field| same(field));
        let word = |words: &[&str]| shown["state"].as_str().is_some_and(|state| words.contains(&state));
        let key_of = |it: &Value| {
            it.get("closure").and_then(|closure| closure.get("key")).and_then(Value::as_str).map(str::to_owned)
        };
        let marker = key_of(shown);
        let ours = marker.is_none_or(|key| key == self.key);
        let own_id = shown.get(role.id_field()).and_then(Value::as_str) == Some(id.as_str());
        own_id
            && match role {
                Role::Governance => all(&["state", "version", "release", "milestone", "evidence", "acceptedEvent"]),
                Role::Archive => all(&["digest", "release", "review", "artifacts", "url"]),
                Role::Checklist => all(&["release", "review"]) && word(&["Open", "Closed"]) && same("items") && ours,
                Role::Tracker => {
                    let links = shown["evidence"].as_array().into_iter().flatten();
                    let bundle = self.id(Role::Archive);
                    let mut of_bundle = links.filter(|link| link["bundle"] == *bundle);
                    let fits = of_bundle.all(|link| {
                        link["digest"] == *digest('a')
                            && link["url"] == *self.url
                            && key_of(link).is_none_or(|key| key == self.key)
                    });
                    all(&["release", "milestone"]) && word(&["InReview", "Approved"]) && fits && ours
                }
                Role::Queue => all(&["release", "review"]) && word(&["Pending", "Cleared"]) && ours,
                Role::Intake | Role::FollowUp => true,
            }
    }

    /// Whether a step shows as done on its record.
    pub fn is_done(&self, step: usize, shown: &Value) -> bool {
        match step {
            0 => shown["state"] == "Closed",
            1 => shown["state"] == "Approved",
            2 => self.link(shown).is_some(),
            _ => shown["state"] == "Cleared",
        }
    }

    pub fn link<'a>(&self, shown: &'a Value) -> Option<&'a Value> {
        let bundle = self.id(Role::Archive);
        let links = shown["evidence"].as_array()?;
        links
            .iter()
            .find(|link| link["bundle"] == *bundle && link["digest"] == *digest('a') && link["url"] == *self.url)
    }

    /// The uid on what a step leaves behind, where it is of this key.
    pub fn marker<'a>(&self, step: usize, shown: &'a Value) -> Option<&'a str> {
        let of = if step == 2 { self.link(shown)?.get("closure")? } else { shown.get("closure")? };
        if of["key"] == *self.key { of["uid"].as_str() } else { None }
    }

    /// Somebody does something to the records. False where there is nothing to do it to.
    pub fn people(&self, sandbox: &Sandbox, deed: Deed) -> bool {
        let edit = |role, patch: Value| sandbox.edit(role, self.id(role), &patch);
        let to_do = |step: u8| match step {
            0 => (Role::Checklist, json!({"state": "Open"})),
            1 => (Role::Tracker, json!({"state": "InReview"})),
            2 => (Role::Tracker, json!({"evidence": []})),
            _ => (Role::Queue, json!({"state": "Pending"})),
        };
        let shown = |role| sandbox.record(role, self.id(role)).map(|version| version.value);
        match deed {
            Deed::Reopen => edit(Role::Governance, json!({"state": "Reopened"})),
            Deed::Reaccept => edit(Role::Governance, json!({"state": "Accepted"})),
            Deed::NewVersion => edit(Role::Governance, json!({"version": "4", "state": "Accepted"})),
            Deed::OtherEvent => {
                edit(Role::Governance, json!({"acceptedEvent": {"id": "e-other"}, "state": "Accepted"}))
            }
            Deed::RenameMilestone => edit(Role::Tracker, json!({"milestone": {"title": "2026.11 LTS"}})),
            Deed::MoveMilestone => edit(Role::Tracker, json!({"milestone": {"id": "13", "title": "2026.12"}})),
            Deed::GovernanceMilestone => edit(Role::Governance, json!({"milestone": {"id": "13", "title": "2026.12"}})),
            Deed::OtherVersion => edit(Role::Tracker, json!({"release": {"version": "1.1"}})),
            Deed::Archived => edit(Role::Archive, json!({"review": {"version": "2"}})),
            Deed::BundleGone => sandbox.remove(Role::Archive, self.id(Role::Archive)),
            Deed::OtherDigest => edit(Role::Archive, json!({"digest": digest('c')})),
            Deed::ArtifactGone => edit(Role::Archive, json!({"artifacts": []})),
            Deed::ItemOpen => edit(Role::Checklist, json!({"items": [{"id": "one", "title": "One", "done": false}]})),
            Deed::OddChecklist => edit(Role::Checklist, json!({"state": "Archived"})),
            Deed::OddTracker => edit(Role::Tracker, json!({"state": "Rejected"})),
            Deed::OddQueue => edit(Role::Queue, json!({"state": "Escalated"})),
            Deed::Foreign(step) => {
                let (role, mut patch) = self.finished(sandbox, step);
                let closure = json!({"key": "r-x@RR-x@1", "uid": "u-x"});
                if step == 2 {
                    let links = patch["evidence"].as_array_mut();
                    if let Some(link) = links.and_then(|links| links.last_mut()) {
                        link["closure"] = closure;
                    }
                } else {
                    patch["closure"] = closure;
                }
                edit(role, patch)
            }
            Deed::Do(step) => {
                let (role, patch) = self.finished(sandbox, step);
                let done = shown(role).is_some_and(|shown| self.is_done(usize::from(step), &shown));
                !done && edit(role, patch)
            }
            Deed::Undo(step) => {
                let (role, patch) = to_do(step);
                let done = shown(role).is_some_and(|shown| self.is_done(usize::from(step), &shown));
                done && edit(role, patch)
            }
            Deed::Second => {
                let (role, id, mut value) = self.records[2].clone();
                if shown(role).is_none() {
                    return false;
                }
                let id = format!("{id}-b");
                value["id"] = json!(id);
                sandbox.put(role, &id, value);
                true
            }
            Deed::Gone(role) => {
                // Else the second one would be the record.
                let second = sandbox.remove(role, &format!("{}-b", self.id(role)));
                sandbox.remove(role, self.id(role)) || second
            }
            Deed::Link => {
                let Some(shown) = shown(Role::Tracker) else { return false };
                let mut links = shown["evidence"].as_array().cloned().unwrap_or_default();
                links.push(json!({"bundle": "other/2", "digest": digest('f'), "url": "https://else.example/2", "closure": null, "by": "Lee"}));
                edit(Role::Tracker, json!({"evidence": links}))
            }
            Deed::Touch(role) => edit(role, json!({"notes": "touched"})),
        }
    }

    /// What a person changes who does a step by hand.
    fn finished(&self, sandbox: &Sandbox, step: u8) -> (Role, Value) {
        match step {
            0 => (Role::Checklist, json!({"state": "Closed", "closure": null})),
            1 => (Role::Tracker, json!({"state": "Approved", "closure": null})),
            2 => {
                let shown = sandbox.record(Role::Tracker, self.id(Role::Tracker)).map(|version| version.value);
                let mut links = shown.and_then(|shown| shown["evidence"].as_array().cloned()).unwrap_or_default();
                let bundle = self.id(Role::Archive);
                links.retain(|link| link["bundle"] != *bundle);
                links.push(json!({"bundle": bundle, "digest": digest('a'), "url": self.url, "closure": null}));
                (Role::Tracker, json!({"evidence": links}))
            }
            _ => (Role::Queue, json!({"state": "Cleared", "closure": null})),
        }
    }

    /// A coordinator puts everything in order: what identifies the records is as accepted, and what was undone is done.
    pub fn repair(&self, sandbox: &Sandbox, redo: &[bool; 4]) {
        sandbox.remove(Role::Checklist, &format!("{}-b", self.id(Role::Checklist)));
        for (role, id, ought) in &self.records {
            let Some(version) = sandbox.record(*role, id) else {
                sandbox.put(*role, id, ought.clone());
                continue;
            };
            if self.agrees(*role, &version.value) {
                continue;
            }
            let mut value = ought.clone();
            let shown = &version.value;
            for kept in ["state", "closure", "evidence", "notes"] {
                let odd =
                    kept == "state" && matches!(shown[kept].as_str(), Some("Archived" | "Rejected" | "Escalated"));
                let foreign = kept == "closure" && shown.pointer("/closure/key").is_some_and(|key| *key != self.key);
                if role.is_written() && !odd && !foreign && shown.get(kept).is_some() {
                    value[kept] = shown[kept].clone();
                }
            }
            if *role == Role::Tracker
                && let Some(links) = value["evidence"].as_array_mut()
            {
                links.retain(|link| {
                    link.pointer("/closure/key").and_then(Value::as_str).is_none_or(|key| key == self.key)
                });
            }
            sandbox.put(*role, id, value);
        }
        for (step, redo) in redo.iter().enumerate() {
            if *redo {
                self.people(sandbox, Deed::Do(step as u8));
            }
        }
    }
}
