//! Issues, and what is around them, as Redmine tells them.

use crate::closure::snapshot::{MilestoneRef, Revision};
use crate::providers::issues::form::{ENTRIES_MAX, cut};
use crate::providers::rest::json::{NotTheContract, parse};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// The project is open.
const OPEN: u32 = 1;

/// Something that has an id and a name.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Named {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) name: String,
}

/// A status of issues.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Status {
    pub(super) id: u64,
    pub(super) name: String,
    /// Whether Redmine counts such an issue as closed.
    pub(super) is_closed: bool,
}

#[derive(Deserialize)]
struct Field {
    id: u32,
    #[serde(default)]
    value: serde_json::Value,
}

/// An entry of an issue's history.
#[derive(Deserialize)]
struct Journal {
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    property: String,
    /// Of a custom field its id.
    name: String,
    #[serde(default)]
    old_value: serde_json::Value,
    #[serde(default)]
    new_value: serde_json::Value,
}

#[derive(Deserialize)]
struct IssueWire {
    id: u64,
    project: Named,
    tracker: Named,
    status: Status,
    #[serde(default)]
    fixed_version: Option<Named>,
    subject: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    custom_fields: Vec<Field>,
    updated_on: String,
    #[serde(default)]
    allowed_statuses: Vec<Status>,
    #[serde(default)]
    journals: Vec<Journal>,
}

/// An issue.
#[derive(Clone, Debug)]
pub(super) struct Issue {
    pub(super) id: u64,
    pub(super) tracker: String,
    pub(super) status: Status,
    pub(super) milestone: MilestoneRef,
    pub(super) subject: String,
    pub(super) description: String,
    /// The custom fields that it shows.
    fields: Vec<(u32, String)>,
    /// Where the key's user may set it to; only right before a change.
    pub(super) allowed: Vec<Status>,
    /// What was changed in custom fields, oldest first: the field, what it held before, and what since.
    history: Vec<(u32, String, String)>,
    /// Of everything that is compared, and of the time of its last change. Redmine has a version of its own for this
    /// (`lock_version`) and tells nobody what it is.
    pub(super) revision: Revision,
    /// Of everything that is compared, whenever that was changed.
    pub(super) content: String,
}

impl Issue {
    /// A field's value, to the letter; none where the issue does not show the field.
    pub(super) fn whole(&self, field: Option<u32>) -> Option<&str> {
        self.fields.iter().find(|(id, _)| Some(*id) == field).map(|(_, value)| value.as_str())
    }

    /// A field's value as it is compared; empty where the issue does not show the field.
    pub(super) fn value(&self, field: Option<u32>) -> String {
        cut(self.whole(field).unwrap_or_default().trim()).to_owned()
    }

    /// What a field held at the very moment in which it was last set to this, to the letter: Redmine writes its history from what it
    /// has under its own lock. None where the history has no such change.
    pub(super) fn replaced(&self, field: u32, by: &str) -> Option<&str> {
        let set = self.history.iter().rfind(|(of, _, new)| *of == field && new == by)?;
        Some(&set.1)
    }
}

fn history(journals: Vec<Journal>) -> Vec<(u32, String, String)> {
    let details = journals.into_iter().flat_map(|journal| journal.details);
    let fields = details.filter(|detail| detail.property == "cf");
    fields
        .filter_map(|Detail { name, old_value, new_value, .. }| {
            Some((name.parse().ok()?, text(old_value), text(new_value)))
        })
        .collect()
}

fn understood(wire: IssueWire) -> Option<Issue> {
    let IssueWire { id, project, tracker, status, fixed_version, subject, description, .. } = wire;
    let milestone = match fixed_version {
        None => MilestoneRef::none(),
        Some(Named { id, name }) => MilestoneRef { id: id.to_string(), title: cut(&name).to_owned() },
    };
    if wire.custom_fields.len() > ENTRIES_MAX {
        return None;
    }
    let fields: Vec<(u32, String)> =
        wire.custom_fields.into_iter().map(|field| (field.id, text(field.value))).collect();
    let description = description.unwrap_or_default();
    let at = (&milestone.id, &milestone.title, &subject, &description);
    let all = serde_json::to_vec(&(project.id, &tracker.name, status.id, &status.name, at, &fields)).ok()?;
    let content = hex::encode(&Sha256::digest(all)[..12]);
    let revision = Revision(format!("{}-{content}", cut(&wire.updated_on)));
    let (tracker, allowed, history) = (tracker.name, wire.allowed_statuses, history(wire.journals));
    Some(Issue { id, tracker, status, milestone, subject, description, fields, allowed, history, revision, content })
}

/// A value as one text: fields of several values are no place for what is compared, and show them all.
fn text(value: serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text,
        serde_json::Value::Null => String::new(),
        serde_json::Value::Array(values) => values.into_iter().map(text).collect::<Vec<_>>().join(" | "),
        other => other.to_string(),
    }
}

/// One issue.
///
/// # Errors
/// The body is none.
pub(super) fn issue(body: &[u8]) -> Result<Issue, NotTheContract> {
    #[derive(Deserialize)]
    struct One {
        issue: IssueWire,
    }
    let One { issue } = parse(body)?;
    understood(issue).ok_or(NotTheContract)
}

/// A page of issues, and how many there are on all of them.
///
/// # Errors
/// The body is none.
pub(super) fn issues(body: &[u8]) -> Result<(Vec<Issue>, u64), NotTheContract> {
    #[derive(Deserialize)]
    struct Page {
        issues: Vec<IssueWire>,
        total_count: u64,
    }
    let Page { issues, total_count } = parse(body)?;
    let issues: Option<Vec<Issue>> = issues.into_iter().map(understood).collect();
    Ok((issues.ok_or(NotTheContract)?, total_count))
}

/// Who the key's user is.
#[derive(Deserialize)]
pub(super) struct User {
    /// Administrators may do anything. Told to themselves alone.
    #[serde(default)]
    pub(super) admin: bool,
    #[serde(default)]
    memberships: Vec<Membership>,
}

#[derive(Deserialize)]
struct Membership {
    project: Named,
    roles: Vec<Named>,
}

impl User {
    /// The ids of the roles that the user has in a project.
    pub(super) fn roles(&self, project: u64) -> impl Iterator<Item = u64> {
        let here = self.memberships.iter().filter(move |membership| membership.project.id == project);
        here.flat_map(|membership| &membership.roles).map(|role| role.id)
    }
}

/// The key's user.
///
/// # Errors
/// The body is none.
pub(super) fn user(body: &[u8]) -> Result<User, NotTheContract> {
    #[derive(Deserialize)]
    struct One {
        user: User,
    }
    parse(body).map(|One { user }| user)
}

/// The project.
#[derive(Deserialize)]
pub(super) struct Project {
    pub(super) id: u64,
    status: u32,
    trackers: Vec<Named>,
}

impl Project {
    /// Whether something can be changed there.
    pub(super) fn is_open(&self) -> bool {
        self.status == OPEN
    }

    /// Whether it shows none at all.
    pub(super) fn has_no_trackers(&self) -> bool {
        self.trackers.is_empty()
    }

    /// The id of a tracker that it has.
    pub(super) fn tracker(&self, name: &str) -> Option<u64> {
        self.trackers.iter().find(|tracker| tracker.name == name).map(|tracker| tracker.id)
    }
}

/// The project.
///
/// # Errors
/// The body is none.
pub(super) fn project(body: &[u8]) -> Result<Project, NotTheContract> {
    #[derive(Deserialize)]
    struct One {
        project: Project,
    }
    parse(body).map(|One { project }| project)
}

/// Whether a role may edit issues.
///
/// # Errors
/// The body is none.
pub(super) fn may_edit(body: &[u8]) -> Result<bool, NotTheContract> {
    #[derive(Deserialize)]
    struct One {
        role: Role,
    }
    #[derive(Deserialize)]
    struct Role {
        permissions: Vec<String>,
    }
    let One { role } = parse(body)?;
    Ok(role.permissions.iter().any(|permission| permission == "edit_issues"))
}

/// All statuses.
///
/// # Errors
/// The body is none.
pub(super) fn statuses(body: &[u8]) -> Result<Vec<Status>, NotTheContract> {
    #[derive(Deserialize)]
    struct All {
        issue_statuses: Vec<Status>,
    }
    parse(body).map(|All { issue_statuses }| issue_statuses)
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

/// Whether a body is one of Redmine's own errors: a list of them, or nothing at all.
pub(super) fn is_own_error(body: &[u8]) -> bool {
    body.trim_ascii().is_empty() || parse::<Errors>(body).is_ok()
}

/// Redmine refuses a change that met another one with a 422 and not a word; whatever else it refuses it says why.
pub(super) fn is_conflict(status: u16, body: &[u8]) -> bool {
    status == 422 && parse::<Errors>(body).is_ok_and(|Errors { errors }| errors.is_empty())
}

#[cfg(test)]
mod tests;
