//! Whether a Redmine is as the connection's settings say, found out with its own reads: up to seven a role.
//!
//! What is wrong is named as a setting: Redmine itself says 403 to almost everything, and to the rest nothing.

use super::rows;
use super::wire::{self, Project, Status, User};
use super::{Sources, trouble};
use crate::closure::ids::System;
use crate::closure::snapshot::Trouble;
use crate::products::redmine::Fields;
use crate::providers::rest::client::Success;
use crate::providers::rest::reply::{Came, Fate};
use crate::providers::rest::table::{Fill, Request, Row};
use crate::roles::{Abilities, Concurrency, Probe, Prober};
use async_trait::async_trait;

/// Most roles of one user in one project that are looked at.
const ROLES_MAX: usize = 4;
/// What no release has.
const NO_RELEASE: &str = "no release at all: this is a probe";

const REST_OFF: &str = "names a Redmine that takes no API keys: turn on “Enable REST web service” there (Administration, \
                        Settings, API); where it is on, the key's user must log in once and change the password";
const ELSEWHERE: &str = "leads elsewhere: set it to where Redmine is now, scheme and path included";
const NO_REDMINE: &str = "names no Redmine: set it to where its start page is, without `/projects` and what follows";
const NO_PROJECT: &str = "names no project: set it to the identifier in the project's address";
const NOT_LET_IN: &str = "names a project that the key's user may not see, or that is archived: make the user a member, or \
                          have the project unarchived";
const CLOSED: &str = "names a closed project, in which nothing can be changed: have it reopened, or name another";
const NO_ISSUES: &str = "names a project whose issues the key's user may not see: turn on its module “Issue tracking”, and \
                         give the user's role the permission “View Issues”";
const NO_EDITING: &str = "is of a user who may not edit the project's issues: give one of the user's roles in the project the \
                          permission “Edit issues”";
const NO_TRACKER: &str = "names no tracker of the project: name one of those that the project's settings list under “Issue \
                          tracking”, and let the user's role see it";
const NO_STATUS: &str = "names no issue status: name one of those under Administration, Issue statuses";
const NOT_CLOSING: &str = "names a status that Redmine does not count as closed, so that it would let a checklist go with open \
                           subtasks: name one that has “Issue closed” ticked, or tick it";
const NOT_SHOWN: &str = "is the id of no custom field that issues of this tracker show to the key's user: set it to the number in \
                         the address of the field's page; there, tick the tracker, the project and “to any users” or the user's \
                         role";
const NOT_SET: &str = "is missing and is needed for this role: set it to the number in the address of the field's page";
const NO_FILTER: &str = "is a custom field that cannot be searched by: tick “Used as a filter” on the field's page";

/// Something does not fit, or nothing was learned.
type Stop = Probe;

fn unfit<T>(setting: &'static str, what: &'static str) -> Result<T, Stop> {
    Err(Probe::Unfit { setting, what })
}

/// What a failed request of a probe comes to, where nothing else is known of it.
fn failed<T>(came: Came<T>) -> Stop {
    match &came {
        Came::Failure(failure) if matches!(failure.fate, Fate::Said(300..=399, _)) => {
            Probe::Unfit { setting: "redmine.endpoint", what: ELSEWHERE }
        }
        _ => Probe::Failed(trouble(came)),
    }
}

/// Whether the answer has this status, whoever gave it.
fn said<T>(came: &Came<T>, status: u16) -> bool {
    match came {
        Came::Success(_) => false,
        Came::Problem(said) => *said == status,
        Came::Failure(failure) => matches!(failure.fate, Fate::Said(said, _) if said == status),
    }
}

/// A setting's field, and the setting's name.
type Wanted = (&'static str, Option<u32>);

/// The fields that a role's records must have, and those that they may have.
fn fields(system: System, fields: &Fields) -> (Vec<Wanted>, Vec<Wanted>) {
    let release = ("redmine.fields.release", Some(fields.release));
    let review_version = ("redmine.fields.reviewVersion", Some(fields.review_version));
    let service = ("redmine.fields.service", fields.service);
    let version = ("redmine.fields.version", fields.version);
    let marker = ("redmine.fields.marker", fields.marker);
    match system {
        System::Governance => {
            let bundle = ("redmine.fields.bundle", fields.bundle);
            let digest = ("redmine.fields.digest", fields.digest);
            let event = ("redmine.fields.acceptedEvent", fields.accepted_event);
            (vec![release, review_version, service, version, bundle, digest], vec![event])
        }
        System::Tracker => {
            (vec![release, service, version, ("redmine.fields.evidence", fields.evidence)], vec![marker])
        }
        _ => (vec![release, review_version], vec![marker]),
    }
}

impl Sources {
    async fn ask<T>(
        &self,
        row: &Row,
        fills: &[(&str, Fill<'_>)],
        understand: impl FnOnce(Success) -> Option<T>,
    ) -> Result<Came<T>, Stop> {
        let request: Option<Request> = self.request(row, fills);
        let request = request.ok_or(Probe::Failed(Trouble::NotUnderstood.into()))?;
        Ok(self.reader.probe(request, understand).await)
    }

    async fn all_fits(&self, system: System) -> Result<(), Stop> {
        let written = system != System::Governance;
        let (needed, optional) = fields(system, &self.redmine.fields);
        if let Some((setting, _)) = needed.iter().find(|(_, field)| field.is_none()) {
            return unfit(setting, NOT_SET);
        }
        let user = self.user().await?;
        let project = self.project(written).await?;
        let tracker = self.tracker(system, &project)?;
        if written {
            self.may_edit(&user, &project).await?;
            self.statuses(system).await?;
        }
        self.fields_are_shown(tracker, needed.into_iter().chain(optional)).await?;
        if written { self.is_searched_by().await } else { Ok(()) }
    }

    async fn user(&self) -> Result<User, Stop> {
        match self.ask(&rows::USER, &[], |reply| wire::user(&reply.body).ok()).await? {
            Came::Success(user) => Ok(user),
            // It shows everybody who comes with a good key who they are.
            came if said(&came, 403) => unfit("redmine.endpoint", REST_OFF),
            came if said(&came, 404) => unfit("redmine.endpoint", NO_REDMINE),
            came => Err(failed(came)),
        }
    }

    async fn project(&self, written: bool) -> Result<Project, Stop> {
        match self.ask(&rows::PROJECT, &[], |reply| wire::project(&reply.body).ok()).await? {
            Came::Success(project) if written && !project.is_open() => unfit("redmine.project", CLOSED),
            // Whose issues one may not see, of that one does not see the trackers either.
            Came::Success(project) if project.has_no_trackers() => unfit("redmine.project", NO_ISSUES),
            Came::Success(project) => Ok(project),
            Came::Problem(404) => unfit("redmine.project", NO_PROJECT),
            came if said(&came, 403) => unfit("redmine.project", NOT_LET_IN),
            came => Err(failed(came)),
        }
    }

    fn tracker(&self, system: System, project: &Project) -> Result<u64, Stop> {
        let trackers = &self.redmine.trackers;
        let (setting, name) = match system {
            System::Governance => ("redmine.trackers.review", &trackers.review),
            System::Checklist => ("redmine.trackers.checklist", &trackers.checklist),
            System::Tracker => ("redmine.trackers.release", &trackers.release),
            _ => ("redmine.trackers.queue", &trackers.queue),
        };
        project.tracker(name).map_or_else(|| unfit(setting, NO_TRACKER), Ok)
    }

    async fn may_edit(&self, user: &User, project: &Project) -> Result<(), Stop> {
        if user.admin {
            return Ok(());
        }
        for role in user.roles(project.id).take(ROLES_MAX) {
            let role = [("role", Fill::Number(role))];
            match self.ask(&rows::ROLE, &role, |reply| wire::may_edit(&reply.body).ok()).await? {
                Came::Success(true) => return Ok(()),
                Came::Success(false) => {}
                came => return Err(failed(came)),
            }
        }
        unfit("redmine.tokenSecretRef", NO_EDITING)
    }

    async fn statuses(&self, system: System) -> Result<(), Stop> {
        let words = &self.redmine.statuses;
        let (setting, word) = match system {
            System::Checklist => ("redmine.statuses.closed", &words.closed),
            System::Tracker => ("redmine.statuses.approved", &words.approved),
            _ => ("redmine.statuses.cleared", &words.cleared),
        };
        let statuses = match self.ask(&rows::STATUSES, &[], |reply| wire::statuses(&reply.body).ok()).await? {
            Came::Success(statuses) => statuses,
            came => return Err(failed(came)),
        };
        match statuses.iter().find(|status| status.name == *word) {
            None => unfit(setting, NO_STATUS),
            Some(Status { is_closed: false, .. }) if system == System::Checklist => unfit(setting, NOT_CLOSING),
            Some(_) => Ok(()),
        }
    }

    /// As far as an issue of the tracker can tell: where there is none yet, nothing can be said.
    async fn fields_are_shown(&self, tracker: u64, fields: impl Iterator<Item = Wanted>) -> Result<(), Stop> {
        let fills = [("tracker", Fill::Number(tracker)), ("offset", Fill::Number(0))];
        let issues = match self.ask(&rows::SAMPLE, &fills, |reply| wire::issues(&reply.body).ok()).await? {
            Came::Success((issues, _)) => issues,
            came if said(&came, 403) => return unfit("redmine.project", NO_ISSUES),
            came => return Err(failed(came)),
        };
        // The latest: fields come and go, and the next record will be as that one is.
        let Some(issue) = issues.last() else { return Ok(()) };
        for (setting, field) in fields.filter(|(_, field)| field.is_some()) {
            if issue.whole(field).is_none() {
                return unfit(setting, NOT_SHOWN);
            }
        }
        Ok(())
    }

    /// Whatever cannot be searched by is passed over, so that a look-up for nothing finds everything.
    async fn is_searched_by(&self) -> Result<(), Stop> {
        let field = Fill::Number(self.redmine.fields.release.into());
        let fills = [("value", Fill::Text(NO_RELEASE)), ("field", field), ("offset", Fill::Number(0))];
        match self.ask(&rows::FILTERED, &fills, |reply| wire::issues(&reply.body).ok()).await? {
            Came::Success((_, 0)) => Ok(()),
            Came::Success(_) => unfit("redmine.fields.release", NO_FILTER),
            came => Err(failed(came)),
        }
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
        if matches!(system, System::Archive | System::Intake) {
            return None;
        }
        let written = system != System::Governance;
        let marked = self.redmine.fields.marker.is_some();
        let lacks_one = if written { !marked } else { self.redmine.fields.accepted_event.is_none() };
        // Evidence links have their mark on their line; the other changes have it in its field, or nowhere.
        let carries = if lacks_one { Abilities::fields_but_the_last(system) } else { Abilities::all_fields(system) };
        Some(Abilities {
            concurrency: written.then_some(Concurrency::ReadVerifyWrite),
            marker: written.then_some(marked),
            carries,
            ..Abilities::NONE
        })
    }
}
