//! Made-up releases of which no two share an identifier, a version or a title: a value of another release shows.

use crate::stage::Stage;
use releaseclosure::sandbox::{self, Entry, Role, Seed};
use serde_json::{Value, json};
use std::sync::Arc;

/// One of the releases of [`seed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release(pub usize);

/// One thing that people did.
pub enum Edit {
    /// A merge patch on the release's own record.
    Patch(Role, Value),
    /// A field at the top of the release's own record; null stays null, which no patch can say.
    Set(Role, &'static str, Value),
    /// The release's own record is gone.
    Remove(Role),
    /// There is a second record like it, with this id.
    Copy(Role, &'static str),
}

/// A digest that nothing has.
pub const OTHER_DIGEST: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000ff";
/// `count` releases from number 1 on, ready to be closed.
pub fn seed(count: usize) -> Seed {
    let mut seed = sandbox::generate(count);
    for role in [Role::Governance, Role::Archive, Role::Checklist, Role::Tracker, Role::Queue] {
        for (index, record) in seed.records_mut(role).iter_mut().enumerate() {
            let release = Release(index + 1);
            for path in ["/version", "/review/version"] {
                if let Some(version) = record.pointer_mut(path) {
                    *version = json!(release.review_version());
                }
            }
            if let Some(service) = record.pointer_mut("/release/service") {
                *service = json!(release.service());
            }
        }
    }
    seed
}

impl Release {
    fn review_version(self) -> String {
        (100 + self.0).to_string()
    }

    fn service(self) -> String {
        format!("service-{:05}", self.0)
    }

    /// The name of its closure.
    pub fn name(self) -> String {
        format!("load-{:05}-rv1", self.0)
    }

    /// Its closure key.
    pub fn key(self) -> String {
        self.fill("{key}")
    }

    /// Its record in a system; its handoff's key at the intake.
    pub fn record(self, role: Role) -> String {
        self.fill(match role {
            Role::Governance => "RR-load-{n}",
            Role::Archive => "load/{n}/rv1",
            Role::Checklist => "CHK-{n}",
            Role::Tracker => "REL-{n}",
            Role::Queue => "Q-{n}",
            Role::Intake | Role::FollowUp => "{key}",
        })
    }

    /// A text with what is this release's own in the place of `{n}` (five digits), `{i}` (the number), `{v}` (the review
    /// version), `{key}`, `{digest}` and `{url}` (of the bundle) and `{service}`.
    pub fn fill(self, template: &str) -> String {
        let n = format!("{:05}", self.0);
        let digest = || {
            let seed = sandbox::generate(self.0);
            seed.bundles[self.0 - 1]["digest"].as_str().expect("a digest").to_owned()
        };
        let mut text = template
            .replace("{key}", "load-{n}@RR-load-{n}@{v}")
            .replace("{url}", "https://archive.example.com/load/{n}/rv1")
            .replace("{service}", &self.service())
            .replace("{n}", &n)
            .replace("{i}", &self.0.to_string())
            .replace("{v}", &self.review_version());
        if text.contains("{digest}") {
            text = text.replace("{digest}", &digest());
        }
        text
    }

    /// The same in every text of a value.
    pub fn fill_in(self, template: &Value) -> Value {
        serde_json::from_str(&self.fill(&template.to_string())).expect("JSON as before")
    }

    /// Does to its records what people did.
    pub fn apply(self, stage: &Stage, edit: &Edit) {
        let sandbox = stage.sandbox();
        let done = match edit {
            Edit::Patch(role, patch) => sandbox.edit(*role, &self.record(*role), &self.fill_in(patch)),
            Edit::Set(role, field, value) => {
                let mut record = stage.record(*role, &self.record(*role));
                record[*field] = self.fill_in(value);
                sandbox.put(*role, &self.record(*role), record);
                true
            }
            Edit::Remove(role) => sandbox.remove(*role, &self.record(*role)),
            Edit::Copy(role, id) => {
                let mut copy = stage.record(*role, &self.record(*role));
                let id = self.fill(id);
                copy["id"] = json!(id);
                sandbox.put(*role, &id, copy);
                true
            }
        };
        assert!(done, "{self:?}: there is no such record to edit");
    }

    /// Its closure, of a stage on which its review is as it was seeded.
    pub fn closure(self, stage: &Stage) -> Value {
        let mut closure = stage.closure(self.0);
        closure["spec"]["coordinator"] = json!(format!("coordinators-{:05}", self.0));
        closure
    }

    /// The requests for this release alone, look-ups included.
    pub fn requests(self, stage: &Stage) -> Vec<Arc<Entry>> {
        let look_up = format!("release=load-{:05}", self.0);
        let mut all = stage.sandbox().requests(0);
        all.retain(|entry| match (entry.role, entry.record.as_deref()) {
            (Some(role), Some(record)) => record == self.record(role),
            _ => entry.query.as_deref().is_some_and(|query| query.split('&').any(|part| part == look_up)),
        });
        all
    }

    /// The changes for this release that took effect, in their order, by what they changed.
    pub fn changes(self, stage: &Stage) -> Vec<&'static str> {
        let applied = self.requests(stage).into_iter().filter(|entry| entry.applied);
        applied
            .map(|entry| match entry.role {
                Some(Role::Checklist) => "CloseChecklist",
                Some(Role::Tracker) if body(&entry).get("state").is_some() => "ApproveTracker",
                Some(Role::Tracker) => "AttachEvidence",
                Some(Role::Queue) => "ClearQueueEntry",
                Some(Role::Intake) => "NotifyCoordinator",
                _ => "a change that must never be",
            })
            .collect()
    }

    /// How many handoffs of this release took effect.
    pub fn deliveries(self, stage: &Stage) -> usize {
        let key = self.key();
        stage.sandbox().deliveries().iter().filter(|delivery| delivery.key == key).count()
    }
}

/// The body of a request.
pub fn body(entry: &Entry) -> Value {
    serde_json::from_slice(&entry.body).unwrap_or_default()
}
