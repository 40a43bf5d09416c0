//! Issues, remote links, transitions, and what is around them, as Jira tells them.

use super::text;
use crate::closure::snapshot::{MilestoneRef, Revision};
use crate::products::jira::Source;
use crate::providers::issues::form::{ENTRIES_MAX, cut};
use crate::providers::rest::json::{NotTheContract, is_shallow, parse};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// The key of the status category whose issues Jira counts as done.
const DONE: &str = "done";

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct StatusWire {
    name: String,
    #[serde(rename = "statusCategory")]
    category: Category,
}

#[derive(Deserialize)]
struct Category {
    key: String,
}

#[derive(Deserialize)]
struct Version {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Subtask {
    key: String,
    fields: SubtaskFields,
}

#[derive(Deserialize)]
struct SubtaskFields {
    summary: String,
    status: StatusWire,
}

#[derive(Deserialize)]
struct IssueWire {
    key: String,
    fields: FieldsWire,
    #[serde(default)]
    properties: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FieldsWire {
    issuetype: Named,
    status: StatusWire,
    updated: String,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    fix_versions: Vec<Version>,
    #[serde(default)]
    description: Value,
    #[serde(default)]
    subtasks: Vec<Subtask>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// A status.
#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) name: String,
    /// Whether Jira counts such an issue as done.
    pub(super) is_done: bool,
}

impl From<StatusWire> for Status {
    fn from(wire: StatusWire) -> Status {
        Status { name: wire.name, is_done: wire.category.key == DONE }
    }
}

/// An issue.
#[derive(Debug)]
pub(super) struct Issue {
    pub(super) key: String,
    pub(super) issue_type: String,
    pub(super) status: Status,
    pub(super) milestone: MilestoneRef,
    labels: Vec<String>,
    /// The custom fields that it has, filled in or not.
    fields: BTreeMap<String, String>,
    properties: BTreeMap<String, String>,
    /// The description as lines.
    pub(super) description: String,
    /// The subtasks that are not done, by key and summary.
    pub(super) open_subtasks: Vec<String>,
    /// Of everything that is compared, and of the time of its last change. Jira has no version of an issue that a change could name.
    pub(super) revision: Revision,
}

impl Issue {
    /// The value that stands where a setting says, to the letter; none where the issue has no such field.
    pub(super) fn whole(&self, setting: Option<&str>) -> Option<String> {
        match Source::of(setting?)? {
            Source::Field(id) => self.fields.get(id).cloned(),
            Source::Property(key) => Some(self.properties.get(key).cloned().unwrap_or_default()),
            // Of two neither is the one.
            Source::Label(begin) => {
                Some(self.labels.iter().filter_map(|label| label.strip_prefix(begin)).collect::<Vec<_>>().join(" | "))
            }
        }
    }

    /// The same as it is compared; empty where there is none.
    pub(super) fn value(&self, setting: Option<&str>) -> String {
        cut(self.whole(setting).unwrap_or_default().trim()).to_owned()
    }
}

fn understood(wire: IssueWire) -> Option<Issue> {
    let FieldsWire { issuetype, status, updated, labels, fix_versions, description, subtasks, others } = wire.fields;
    if labels.len().max(subtasks.len()).max(fix_versions.len()) > ENTRIES_MAX {
        return None;
    }
    let milestone = match fix_versions.as_slice() {
        [] => MilestoneRef::none(),
        // Of several none is the one: all are shown, and agree with nothing.
        versions => {
            let all = |of: fn(&Version) -> &str| versions.iter().map(of).collect::<Vec<_>>().join(" | ");
            MilestoneRef { id: all(|version| &version.id), title: cut(&all(|version| &version.name)).to_owned() }
        }
    };
    let values = |all: &mut dyn Iterator<Item = (String, Value)>| -> BTreeMap<String, String> {
        all.map(|(name, value)| (name, text::value(&value))).collect()
    };
    let custom = |(name, _): &(String, Value)| Source::number(name).is_some();
    let fields = values(&mut others.into_iter().filter(custom));
    let properties = values(&mut wire.properties.into_iter());
    let description = text::value(&description);
    let open_subtasks: Vec<String> = subtasks
        .into_iter()
        .filter(|task| task.fields.status.category.key != DONE)
        .map(|task| cut(&format!("{} {}", task.key, task.fields.summary)).to_owned())
        .collect();
    let status = Status::from(status);
    let at = (&status.name, status.is_done, &milestone.id, &milestone.title);
    let said = (&labels, &fields, &properties, &description, &open_subtasks);
    let all = serde_json::to_vec(&(&wire.key, &issuetype.name, at, said)).ok()?;
    let revision = Revision(format!("{}-{}", cut(&updated), digest(&all)));
    let (key, issue_type) = (wire.key, issuetype.name);
    Some(Issue { key, issue_type, status, milestone, labels, fields, properties, description, open_subtasks, revision })
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes)[..12])
}

/// One issue.
///
/// # Errors
/// The body is none.
pub(super) fn issue(body: &[u8]) -> Result<Issue, NotTheContract> {
    understood(parse(body)?).ok_or(NotTheContract)
}

/// What is behind a page of issues.
pub(super) enum Behind {
    Nothing,
    /// Another page, of this name.
    Page(String),
    /// So many issues in all, this page and those before it included.
    Total(u64),
}

/// A page of issues. Its second part is what is behind it.
///
/// # Errors
/// The body is none.
pub(super) fn issues(body: &[u8]) -> Result<(Vec<Issue>, Behind), NotTheContract> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        issues: Vec<IssueWire>,
        next_page_token: Option<String>,
        total: Option<u64>,
    }
    let Page { issues, next_page_token, total } = parse(body)?;
    let issues: Option<Vec<Issue>> = issues.into_iter().map(understood).collect();
    let behind = match (next_page_token, total) {
        (Some(page), _) if !page.is_empty() => Behind::Page(page),
        (_, Some(total)) => Behind::Total(total),
        _ => Behind::Nothing,
    };
    Ok((issues.ok_or(NotTheContract)?, behind))
}

/// A remote link.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RemoteLink {
    #[serde(default)]
    pub(super) global_id: Option<String>,
    pub(super) object: Object,
}

/// What a remote link leads to.
#[derive(Debug, Deserialize)]
pub(super) struct Object {
    pub(super) url: String,
    pub(super) title: String,
    #[serde(default)]
    pub(super) summary: Option<String>,
}

/// All remote links of an issue: Jira tells them on one page.
///
/// # Errors
/// The body is no list of them.
pub(super) fn links(body: &[u8]) -> Result<Vec<RemoteLink>, NotTheContract> {
    let links: Vec<RemoteLink> = list(body)?;
    if links.len() > ENTRIES_MAX { Err(NotTheContract) } else { Ok(links) }
}

/// Whether a remote link was added, or was there under its key already.
pub(super) fn added(status: u16, body: &[u8]) -> Option<()> {
    #[derive(Deserialize)]
    struct Made {
        #[serde(rename = "id")]
        _id: u64,
    }
    parse::<Made>(body).ok().filter(|_| matches!(status, 200 | 201)).map(|_| ())
}

/// The revision of an issue with its remote links, which do not change the issue's own.
pub(super) fn with_links(revision: &Revision, links: &[RemoteLink]) -> Revision {
    let all = links.iter().fold(Vec::new(), |mut all, RemoteLink { global_id, object }| {
        for part in [global_id.as_deref(), Some(&object.url), Some(&object.title), object.summary.as_deref()] {
            all.extend_from_slice(part.unwrap_or_default().as_bytes());
            all.push(0);
        }
        all
    });
    Revision(format!("{}-{}", revision.0, digest(&all)))
}

/// A way from an issue's status to another.
#[derive(Debug)]
pub(super) struct Transition {
    pub(super) id: String,
    pub(super) to: String,
    /// The fields on its screen, and whether each must be filled in by whoever goes this way.
    fields: BTreeMap<String, bool>,
}

impl Transition {
    /// Whether it can be gone by filling in this field, or none, and no other.
    pub(super) fn takes(&self, field: Option<&str>) -> bool {
        let asks_for_another = self.fields.iter().any(|(name, required)| *required && Some(name.as_str()) != field);
        !asks_for_another && field.is_none_or(|field| self.fields.contains_key(field))
    }
}

/// The ways that are open to the token's user right now.
///
/// # Errors
/// The body is no list of them.
pub(super) fn transitions(body: &[u8]) -> Result<Vec<Transition>, NotTheContract> {
    #[derive(Deserialize)]
    struct All {
        transitions: Vec<TransitionWire>,
    }
    #[derive(Deserialize)]
    struct TransitionWire {
        id: String,
        to: Named,
        #[serde(default)]
        fields: BTreeMap<String, OnScreen>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct OnScreen {
        #[serde(default)]
        required: bool,
        #[serde(default)]
        has_default_value: bool,
    }
    let All { transitions } = parse(body)?;
    let read = |TransitionWire { id, to, fields }: TransitionWire| {
        let fields = fields.into_iter().map(|(name, field)| (name, field.required && !field.has_default_value));
        Transition { id, to: to.name, fields: fields.collect() }
    };
    Ok(transitions.into_iter().map(read).collect())
}

/// A project.
#[derive(Deserialize)]
pub(super) struct Project {
    pub(super) key: String,
    #[serde(default)]
    pub(super) archived: bool,
}

/// The project.
///
/// # Errors
/// The body is none.
pub(super) fn project(body: &[u8]) -> Result<Project, NotTheContract> {
    parse(body)
}

/// An issue type, and the statuses of its workflow.
#[derive(Deserialize)]
pub(super) struct IssueType {
    pub(super) name: String,
    statuses: Vec<Named>,
}

impl IssueType {
    pub(super) fn has(&self, status: &str) -> bool {
        self.statuses.iter().any(|known| known.name == status)
    }
}

/// A field.
#[derive(Deserialize)]
pub(super) struct Field {
    pub(super) id: String,
    #[serde(default)]
    pub(super) searchable: bool,
    #[serde(default)]
    pub(super) schema: Option<Schema>,
}

/// What a field holds.
#[derive(Deserialize)]
pub(super) struct Schema {
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// Whether Jira lets the token's user do something in the project.
///
/// # Errors
/// The body does not say.
pub(super) fn permitted(body: &[u8]) -> Result<impl Fn(&str) -> bool + Send + use<>, NotTheContract> {
    #[derive(Deserialize)]
    struct All {
        permissions: BTreeMap<String, Permission>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Permission {
        have_permission: bool,
    }
    let All { permissions } = parse(body)?;
    Ok(move |name: &str| permissions.get(name).is_some_and(|permission| permission.have_permission))
}

/// Whether this is Jira Cloud.
///
/// # Errors
/// The body does not say.
pub(super) fn is_cloud(body: &[u8]) -> Result<bool, NotTheContract> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Server {
        deployment_type: String,
    }
    parse::<Server>(body).map(|server| server.deployment_type == "Cloud")
}

/// A list.
///
/// # Errors
/// The body is none.
pub(super) fn list<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, NotTheContract> {
    if !is_shallow(body) {
        return Err(NotTheContract);
    }
    serde_json::from_slice(body).map_err(|_| NotTheContract)
}

/// Whether a body is one of Jira's own errors.
pub(super) fn is_own_error(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Errors {
        error_messages: Option<Vec<String>>,
        errors: Option<Map<String, Value>>,
    }
    // A field that the product leaves empty is left out by its gateway.
    parse::<Errors>(body).is_ok_and(|own| own.error_messages.is_some() || own.errors.is_some())
}
