//! What is read of Jira. Has no way to write.

use super::records::Record;
use super::rows;
use super::wire::{self, Behind, Issue, RemoteLink};
use crate::closure::snapshot::{Observation, ReviewRecord, Revision, Trouble, Unreachable};
use crate::products::Jira;
use crate::products::jira::{Deployment, Source};
use crate::providers::limits::Entered;
use crate::providers::rest::client::Reader;
use crate::providers::rest::reply::Came;
use crate::providers::rest::table::{Fill, Request, Row};
use crate::roles::{Governance, Permit, Subject};
use async_trait::async_trait;

/// Most pages of a look-up, of fifty issues each.
const PAGES_MAX: u64 = 40;
/// What is read of every issue, besides the custom fields.
const FIELDS: &str = "issuetype,status,updated,labels,fixVersions,description,subtasks";
/// The property that is asked for where none is named: the request has a place for one.
const NO_PROPERTY: &str = "releaseclosure";

/// One project.
pub(super) struct Sources {
    pub(super) reader: Reader,
    pub(super) jira: Jira,
    /// What is asked of every issue: fields, and properties.
    asked: (String, String),
}

/// A record that was read.
pub(super) struct Seen<R> {
    pub(super) record: R,
    pub(super) revision: Revision,
    /// Its remote links, where they are a part of it.
    pub(super) links: Vec<RemoteLink>,
    /// What the field of our mark holds, where there is one.
    pub(super) mark: String,
}

/// Why there is no record.
pub(super) enum Missed {
    Missing,
    Ambiguous(usize),
    Unreachable(Unreachable),
}

impl From<Trouble> for Missed {
    fn from(trouble: Trouble) -> Missed {
        Missed::Unreachable(trouble.into())
    }
}

/// What a failed read comes to, for what is not about one record.
pub(super) fn trouble<T>(came: Came<T>) -> Unreachable {
    match came {
        Came::Failure(failure) => failure.why,
        Came::Success(_) | Came::Problem(_) => Trouble::NotUnderstood.into(),
    }
}

#[async_trait]
impl Governance for Sources {
    async fn review(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<ReviewRecord> {
        self.observe(subject, held).await
    }
}

impl Sources {
    pub(super) fn new(reader: Reader, jira: Jira) -> Sources {
        let (mut fields, mut properties) = (FIELDS.to_owned(), Vec::new());
        for (_, setting) in jira.fields.given() {
            match Source::of(setting) {
                Some(Source::Field(id)) => fields.extend([",", id]),
                Some(Source::Property(key)) => properties.push(key),
                Some(Source::Label(_)) | None => {}
            }
        }
        let properties = if properties.is_empty() { NO_PROPERTY.to_owned() } else { properties.join(",") };
        Sources { reader, jira, asked: (fields, properties) }
    }

    /// A row's request. The first fill names the record.
    pub(super) fn request(&self, row: &Row, fills: &[(&str, Fill<'_>)]) -> Option<Request> {
        let api = match self.jira.deployment {
            Deployment::Cloud => 3,
            Deployment::DataCenter => 2,
        };
        let (asked, properties) = &self.asked;
        let mut fills = fills.to_vec();
        fills.push(("project", Fill::Text(&self.jira.project)));
        fills.push(("api", Fill::Number(api)));
        fills.push(("fields", Fill::Text(asked)));
        fills.push(("properties", Fill::Text(properties)));
        row.request(&fills)
    }

    /// Whether this is the key of an issue of the project.
    pub(super) fn is_key(&self, id: &str) -> bool {
        let number = id.strip_prefix(&self.jira.project).and_then(|rest| rest.strip_prefix('-'));
        // No leading zero, no sign: one record has one key.
        number.is_some_and(|text| text.parse::<u64>().is_ok_and(|number| number > 0 && number.to_string() == text))
    }

    /// Reads a record by its key, or looks for it by its release.
    pub(super) async fn observe<R: Record>(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<R> {
        let read = async {
            let mut entered = self.reader.enter(held).await.map_err(Missed::Unreachable)?;
            match subject.record {
                Some(id) => self.read(&mut entered, id).await,
                None => {
                    let issue = self.find::<R>(&mut entered, subject).await?;
                    self.seen(&mut entered, issue).await
                }
            }
        };
        match read.await {
            Ok(Seen { record, revision, .. }) => Observation::Found(record, revision),
            Err(Missed::Missing) => Observation::Missing,
            Err(Missed::Ambiguous(count)) => Observation::Ambiguous(count),
            Err(Missed::Unreachable(why)) => Observation::Unreachable(why),
        }
    }

    /// Reads a record by its key.
    pub(super) async fn read<R: Record>(&self, entered: &mut Entered<'_>, id: &str) -> Result<Seen<R>, Missed> {
        // What is no key of the project is no issue's there.
        if !self.is_key(id) {
            return Err(Missed::Missing);
        }
        let request = self.request(R::ROWS.by_id, &[("id", Fill::Text(id))]).ok_or(Trouble::NotUnderstood)?;
        let issue = match self.reader.get(entered, request, |reply| wire::issue(&reply.body).ok()).await {
            Came::Success(issue) if issue.key == id => issue,
            // Jira leads on from the key that an issue had to the one that it has now.
            Came::Success(_) => return Err(self.elsewhere(entered).await),
            Came::Problem(404 | 410) => return Err(self.missing(entered).await),
            other => return Err(Missed::Unreachable(trouble(other))),
        };
        if issue.issue_type != *R::issue_type(&self.jira.issue_types) {
            return Err(Missed::Missing);
        }
        self.seen(entered, issue).await
    }

    /// The record that an issue is, with its remote links where they are a part of it.
    async fn seen<R: Record>(&self, entered: &mut Entered<'_>, issue: Issue) -> Result<Seen<R>, Missed> {
        let mark = issue.whole(self.jira.fields.marker.as_deref()).unwrap_or_default();
        let Some(row) = R::ROWS.links else {
            let record = R::of(&issue, &[], &self.jira);
            return Ok(Seen { record, revision: issue.revision, links: Vec::new(), mark });
        };
        let request = self.request(row, &[("id", Fill::Text(&issue.key))]).ok_or(Trouble::NotUnderstood)?;
        match self.reader.get(entered, request, |reply| wire::links(&reply.body).ok()).await {
            Came::Success(links) => {
                let revision = wire::with_links(&issue.revision, &links);
                Ok(Seen { record: R::of(&issue, &links, &self.jira), revision, links, mark })
            }
            // The issue was there a moment ago.
            other => Err(Missed::Unreachable(trouble(other))),
        }
    }

    /// The project, as whoever the token says sees it: by itself it is shown to nobody, too, where everybody may see it.
    async fn project(&self, entered: &mut Entered<'_>) -> Result<wire::Project, Missed> {
        let request = self.request(&rows::MYSELF, &[]).ok_or(Trouble::NotUnderstood)?;
        match self.reader.get(entered, request, |_| Some(())).await {
            Came::Success(()) => {}
            other => return Err(Missed::Unreachable(trouble(other))),
        }
        let request = self.request(&rows::PROJECT, &[]).ok_or(Trouble::NotUnderstood)?;
        match self.reader.get(entered, request, |reply| wire::project(&reply.body).ok()).await {
            Came::Success(project) => Ok(project),
            Came::Problem(404) => Err(Trouble::Forbidden.into()),
            other => Err(Missed::Unreachable(trouble(other))),
        }
    }

    /// What it comes to that something was not found: Jira says so of what may not be seen, too.
    pub(super) async fn missing(&self, entered: &mut Entered<'_>) -> Missed {
        match self.project(entered).await {
            // Its issues are left out of every search.
            Ok(project) if project.archived => Trouble::Forbidden.into(),
            Ok(project) if project.key != self.jira.project => Trouble::NotUnderstood.into(),
            Ok(_) => Missed::Missing,
            Err(missed) => missed,
        }
    }

    /// What it comes to that an issue has another key now: it was moved to another project, or the project has another key.
    async fn elsewhere(&self, entered: &mut Entered<'_>) -> Missed {
        match self.project(entered).await {
            Ok(project) if project.key == self.jira.project => Missed::Missing,
            Ok(_) => Trouble::NotUnderstood.into(),
            Err(missed) => missed,
        }
    }

    /// Looks for the one issue of the type that is of the release.
    async fn find<R: Record>(&self, entered: &mut Entered<'_>, subject: Subject<'_>) -> Result<Issue, Missed> {
        let Some([first, next, page]) = R::ROWS.pages else { return Err(Trouble::NotUnderstood.into()) };
        let (fields, issue_type) = (&self.jira.fields, R::issue_type(&self.jira.issue_types));
        let jql = self.jql(issue_type, subject.release);
        let mut found: Vec<Issue> = Vec::new();
        let (mut behind, mut seen) = (Behind::Nothing, 0);
        for _ in 0..PAGES_MAX {
            let fills = [("jql", Fill::Text(&jql)), ("offset", Fill::Number(seen))];
            let request = match (&behind, self.jira.deployment) {
                (Behind::Page(token), Deployment::Cloud) => {
                    self.request(next, &[&fills[..], &[("page", Fill::Text(token))]].concat())
                }
                (_, Deployment::Cloud) => self.request(first, &fills),
                (_, Deployment::DataCenter) => self.request(page, &fills),
            };
            let request = request.ok_or(Trouble::NotUnderstood)?;
            let issues;
            (issues, behind) = match self.reader.get(entered, request, |reply| wire::issues(&reply.body).ok()).await {
                Came::Success(page) => page,
                // A project that may not be seen is none, and so is an issue type that there is not.
                Came::Problem(400 | 404) => {
                    return Err(match self.missing(entered).await {
                        Missed::Missing => Trouble::NotUnderstood.into(),
                        other => other,
                    });
                }
                other => return Err(Missed::Unreachable(trouble(other))),
            };
            let is_empty = issues.is_empty();
            seen += issues.len() as u64;
            // A text is searched by its words: what has more of them is found as well.
            found.extend(issues.into_iter().filter(|issue| {
                issue.issue_type == *issue_type
                    && issue.value(Some(&fields.release)) == subject.release
                    && (!R::VERSIONED || issue.value(Some(&fields.review_version)) == subject.review_version)
            }));
            let over = match &behind {
                Behind::Nothing => true,
                Behind::Page(_) => false,
                Behind::Total(total) => is_empty || seen >= *total,
            };
            if over {
                return self.one_of(entered, found).await;
            }
        }
        // More than can be looked through: nobody can say that there is one and no other.
        Err(Trouble::NotUnderstood.into())
    }

    async fn one_of(&self, entered: &mut Entered<'_>, mut found: Vec<Issue>) -> Result<Issue, Missed> {
        // An issue that moved from one page to another is still one.
        found.sort_by(|one, other| one.key.cmp(&other.key));
        found.dedup_by(|one, other| one.key == other.key);
        let count = found.len();
        match found.pop() {
            None => Err(self.missing(entered).await),
            // The project has another key now, under which nobody knows its records here.
            Some(issue) if !self.is_key(&issue.key) => Err(Trouble::NotUnderstood.into()),
            Some(issue) if count == 1 => Ok(issue),
            Some(_) => Err(Missed::Ambiguous(count)),
        }
    }

    /// What is searched for. A property can be searched by only where an app says so: all issues of the type are looked at then.
    fn jql(&self, issue_type: &str, release: &str) -> String {
        let of = format!("project = {} AND issuetype = {}", quoted(&self.jira.project), quoted(issue_type));
        let and = match Source::of(&self.jira.fields.release) {
            Some(Source::Field(field)) => {
                let number = Source::number(field).unwrap_or_default();
                format!(" AND cf[{number}] ~ {}", quoted(&quoted(release)))
            }
            Some(Source::Label(begin)) => format!(" AND labels = {}", quoted(&format!("{begin}{release}"))),
            Some(Source::Property(_)) | None => String::new(),
        };
        format!("{of}{and} ORDER BY key ASC")
    }
}

/// A text in quotation marks: in JQL, and, once more, as a phrase of a text search.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn whatever_a_release_is_called_it_stays_a_text() {
        assert_eq!(quoted("r-1"), r#""r-1""#);
        assert_eq!(quoted(&quoted("r-1")), r#""\"r-1\"""#);
        assert_eq!(quoted(r#"" OR project = "X"#), r#""\" OR project = \"X""#);
        assert_eq!(quoted(r"\"), r#""\\""#);
    }
}
