//! Whether a Jira is as the connection's settings say, found out with its own reads: six a role.
//!
//! What is wrong is named as a setting: Jira itself says 404 to almost everything.

use super::rows;
use super::sources::{Sources, trouble};
use super::wire::{self, Field, IssueType};
use crate::closure::ids::System;
use crate::closure::snapshot::Trouble;
use crate::products::jira::{Deployment, Source};
use crate::providers::rest::client::Success;
use crate::providers::rest::reply::{Came, Fate};
use crate::providers::rest::table::Row;
use crate::roles::{Abilities, Concurrency, Probe, Prober};
use async_trait::async_trait;

const ELSEWHERE: &str = "leads elsewhere: set it to where Jira is now, scheme and path included";
const NO_JIRA: &str = "names no Jira of this `deployment`: set it to where its start page is, without `/jira/` or `/browse/` and \
                       what follows; for a Jira of one's own set `deployment: DataCenter`";
const A_CLOUD: &str = "is DataCenter, and this is Jira Cloud: set it to Cloud, or leave it out";
const A_DATA_CENTER: &str = "is Cloud, and this is a Jira of one's own: set it to DataCenter";
const NO_PROJECT: &str = "names no project that the token's user may see: set it to the letters before the number of its issues' keys, \
                          or give the user the project permission “Browse Projects”";
const RENAMED: &str = "names a project that has another key now: set it to that, and name its records anew";
const ARCHIVED: &str = "names an archived project, in which nothing can be changed: have it restored, or name another";
const NO_BROWSING: &str =
    "is of a user who may not see the project's issues: give the user the project permission “Browse Projects”";
const NO_TRANSITIONS: &str = "is of a user who may not change the status of the project's issues: give the user the project permission \
                              “Transition Issues”";
const NO_LINKING: &str = "is of a user who may not add evidence links to the project's issues: give the user the project permission \
                          “Link Issues”";
const NO_TYPE: &str =
    "names no issue type of the project: name one of those that the project's settings list under “Issue types”";
const NO_STATUS: &str = "names no status of the workflow that issues of this type have, so that no transition leads there: name one of its \
                         statuses, or add it to the workflow";
const NO_FIELD: &str = "is the id of no custom field: set it to `customfield_` and the number at the end of the address at which \
                        an administrator edits the field";
const NO_TEXT: &str = "is no custom field that can be searched by its text: name one of the type “Short text” (in a Data Center “Text \
                       Field (single line)”), or use a label";
const NO_MARK: &str = "is a custom field that takes no short text: name one of the type “Short text” (in a Data Center “Text Field \
                       (single line)”)";
const NOT_SET: &str = "is missing and is needed for this role: set it to the id of a custom field, `customfield_` and its number, or to a \
                       label, `label:` and how it begins";

/// Something does not fit, or nothing was learned.
type Stop = Probe;

fn unfit<T>(setting: &'static str, what: &'static str) -> Result<T, Stop> {
    Err(Probe::Unfit { setting, what })
}

/// What a failed request of a probe comes to, where nothing else is known of it.
fn failed<T>(came: Came<T>) -> Stop {
    match &came {
        Came::Failure(failure) if failure.has_moved() => Probe::Unfit { setting: "jira.endpoint", what: ELSEWHERE },
        _ => Probe::Failed(trouble(came)),
    }
}

/// Whether it is not there, whoever says so.
fn is_not_there<T>(came: &Came<T>) -> bool {
    match came {
        Came::Success(_) => false,
        Came::Problem(status) => *status == 404,
        Came::Failure(failure) => matches!(failure.fate, Fate::Said(404, _)),
    }
}

impl Sources {
    async fn ask<T>(&self, row: &Row, understand: impl FnOnce(Success) -> Option<T>) -> Result<Came<T>, Stop> {
        let request = self.request(row, &[]).ok_or(Probe::Failed(Trouble::NotUnderstood.into()))?;
        Ok(self.reader.probe(request, understand).await)
    }

    async fn all_fits(&self, system: System) -> Result<(), Stop> {
        self.all_is_set(system)?;
        // First, since everything else may be answered to nobody as well.
        match self.ask(&rows::MYSELF, |_| Some(())).await? {
            Came::Success(()) => {}
            came if is_not_there(&came) => return unfit("jira.endpoint", NO_JIRA),
            came => return Err(failed(came)),
        }
        match (self.ask(&rows::SERVER, |reply| wire::is_cloud(&reply.body).ok()).await?, self.jira.deployment) {
            (Came::Success(true), Deployment::DataCenter) => return unfit("jira.deployment", A_CLOUD),
            (Came::Success(false), Deployment::Cloud) => return unfit("jira.deployment", A_DATA_CENTER),
            (Came::Success(_), _) => {}
            (came, _) => return Err(failed(came)),
        }
        match self.ask(&rows::PROJECT, |reply| wire::project(&reply.body).ok()).await? {
            Came::Success(project) if project.key != self.jira.project => return unfit("jira.project", RENAMED),
            Came::Success(project) if project.archived && system != System::Governance => {
                return unfit("jira.project", ARCHIVED);
            }
            Came::Success(_) => {}
            Came::Problem(404) => return unfit("jira.project", NO_PROJECT),
            came => return Err(failed(came)),
        }
        self.may(system).await?;
        self.types(system).await?;
        self.fields().await
    }

    fn all_is_set(&self, system: System) -> Result<(), Stop> {
        let fields = &self.jira.fields;
        let service = ("jira.fields.service", fields.service.as_ref());
        let version = ("jira.fields.version", fields.version.as_ref());
        let needed = match system {
            System::Governance => {
                let (bundle, digest) = (fields.bundle.as_ref(), fields.digest.as_ref());
                vec![service, version, ("jira.fields.bundle", bundle), ("jira.fields.digest", digest)]
            }
            System::Tracker => vec![service, version],
            _ => Vec::new(),
        };
        needed.iter().find(|(_, set)| set.is_none()).map_or(Ok(()), |(setting, _)| unfit(setting, NOT_SET))
    }

    async fn may(&self, system: System) -> Result<(), Stop> {
        let may = match self.ask(&rows::PERMITTED, |reply| wire::permitted(&reply.body).ok()).await? {
            Came::Success(may) => may,
            came => return Err(failed(came)),
        };
        let needed = [
            ("BROWSE_PROJECTS", NO_BROWSING, true),
            ("TRANSITION_ISSUES", NO_TRANSITIONS, system != System::Governance),
            ("LINK_ISSUES", NO_LINKING, system == System::Tracker),
        ];
        match needed.iter().find(|(permission, _, needed)| *needed && !may(permission)) {
            Some((_, what, _)) => unfit("jira.tokenSecretRef", what),
            None => Ok(()),
        }
    }

    async fn types(&self, system: System) -> Result<(), Stop> {
        let (types, statuses) = (&self.jira.issue_types, &self.jira.statuses);
        let (setting, name, status) = match system {
            System::Governance => ("jira.issueTypes.review", &types.review, None),
            System::Checklist => {
                ("jira.issueTypes.checklist", &types.checklist, Some(("jira.statuses.closed", &statuses.closed)))
            }
            System::Tracker => {
                ("jira.issueTypes.release", &types.release, Some(("jira.statuses.approved", &statuses.approved)))
            }
            _ => ("jira.issueTypes.queue", &types.queue, Some(("jira.statuses.cleared", &statuses.cleared))),
        };
        let known: Vec<IssueType> = match self.ask(&rows::STATUSES, |reply| wire::list(&reply.body).ok()).await? {
            Came::Success(known) => known,
            came => return Err(failed(came)),
        };
        let Some(found) = known.iter().find(|known| known.name == *name) else { return unfit(setting, NO_TYPE) };
        match status {
            Some((setting, status)) if !found.has(status) => unfit(setting, NO_STATUS),
            _ => Ok(()),
        }
    }

    /// Every custom field that is named, whatever the role: they are asked for together.
    async fn fields(&self) -> Result<(), Stop> {
        let known: Vec<Field> = match self.ask(&rows::FIELDS, |reply| wire::list(&reply.body).ok()).await? {
            Came::Success(known) => known,
            came => return Err(failed(came)),
        };
        for (setting, source) in self.jira.fields.given() {
            let Some(Source::Field(id)) = Source::of(source) else { continue };
            let Some(field) = known.iter().find(|known| known.id == id) else { return unfit(setting, NO_FIELD) };
            let is_text = field.schema.as_ref().is_some_and(|schema| schema.kind == "string");
            match setting {
                "jira.fields.release" if !is_text || !field.searchable => return unfit(setting, NO_TEXT),
                "jira.fields.marker" if !is_text => return unfit(setting, NO_MARK),
                _ => {}
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Prober for Sources {
    async fn probe(&self, system: System) -> Probe {
        match self.all_fits(system).await {
            Ok(()) => Probe::Ready,
            Err(stop) => stop,
        }
    }

    fn abilities(&self, system: System) -> Option<Abilities> {
        let fields = &self.jira.fields;
        let concurrency = match system {
            System::Archive | System::Intake => return None,
            System::Governance => None,
            // One transition at a time, which the cloud alone says; and remote links are not transitions.
            System::Checklist | System::Queue if self.jira.deployment == Deployment::Cloud => {
                Some(Concurrency::Serialized)
            }
            System::Checklist | System::Queue | System::Tracker => Some(Concurrency::ReadVerifyWrite),
        };
        let written = concurrency.is_some();
        let marked = fields.marker.is_some();
        let lacks_one = if written { !marked } else { fields.accepted_event.is_none() };
        // Evidence links have their mark below them; the other changes have it in its field, or nowhere.
        let carries = if lacks_one { Abilities::fields_but_the_last(system) } else { Abilities::all_fields(system) };
        Some(Abilities { concurrency, marker: written.then_some(marked), carries, ..Abilities::NONE })
    }
}
