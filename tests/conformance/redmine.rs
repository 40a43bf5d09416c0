//! Redmine: issues of a project, with the trackers, statuses, custom fields and roles of `docs/adapters/redmine.md`.

use crate::conformance::cases::Play;
use crate::conformance::front::Front;
use crate::conformance::people::mark_taken;
use crate::conformance::subject::{Adapter, Deed, IN_ISSUES, Made, Part, Place, Release, Server, Truth};
use crate::fault_proxy::Answer;
use crate::systems::http::Http;
use crate::systems::redmine::{Paperwork, Redmine};
use async_trait::async_trait;
use releaseclosure::closure::ids::{Step, System};
use releaseclosure::products;
use releaseclosure::providers::Product;
use releaseclosure::providers::redmine::allow_list;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What people write into a description.
const WORDS: &str = "\r\n\r\nLooked at twice. — Kim <!-- not a mark -->\r\n";
/// What stands in every description from the beginning.
const KEPT: &str = "h3. Ready\r\n\r\n* [x] Rollback rehearsed\r\n* [X] Signed\r\n\r\n* a list  \r\n* with “words”\t.";
/// What stands in the field of evidence links from the beginning: somebody's words, and somebody else's link.
const LINKS: &str = "see also the wiki\r\n- [older/rv1](<https://archive.example.com/older>) `sha256:0b`";
/// What somebody writes below.
const LINE: &str = "\r\nand the minutes";
/// More than one page.
const CROWD: usize = 101;

/// The adapter.
pub struct Project;

#[async_trait(?Send)]
impl Adapter for Project {
    fn product(&self) -> &'static str {
        "redmine"
    }
    fn against(&self) -> &'static str {
        "Redmine 5.0.4 (Debian)"
    }
    /// It answers one request after the other, and slowly: whoever waits behind many would wait too long.
    fn side_by_side(&self) -> usize {
        4
    }
    fn sends(&self) -> Vec<String> {
        allow_list().iter().map(|row| row.to_string()).collect()
    }
    fn systems(&self) -> &'static [System] {
        &IN_ISSUES
    }
    fn own_cases(&self) -> &'static [(&'static str, Play)] {
        &[("the field of our mark holds somebody's words", |cell| Box::pin(mark_taken(cell)))]
    }
    async fn start(&self) -> Option<Box<dyn Server>> {
        Some(Box::new(Running::start().await?))
    }
}

/// One that runs, and what was made in it.
pub struct Running(pub Redmine, pub Arc<Paperwork>);

impl Running {
    /// Starts one.
    pub async fn start() -> Option<Running> {
        let (redmine, made) = Redmine::with_paperwork().await?;
        Some(Running(redmine, Arc::new(made)))
    }
}

#[async_trait]
impl Server for Running {
    async fn place(&self, part: Part, number: usize) -> Arc<dyn Place> {
        Arc::new(self.shop(part, number).await)
    }
}

impl Running {
    /// A project of its own, private, and somebody who may edit its issues.
    pub async fn shop(&self, part: Part, number: usize) -> Shop {
        let Running(redmine, made) = self;
        let name = format!("shop-{number}");
        let trackers = ["review", "checklist", "release", "queue"].map(|tracker| made.id("trackers", tracker));
        let project = json!({"name": name, "identifier": name, "is_public": false, "tracker_ids": trackers,
            "enabled_module_names": ["issue_tracking"]});
        let admin = redmine.admin.clone();
        let project = &set_up(&admin, "POST", "/projects.json", json!({"project": project})).await["project"];
        let person = json!({"login": format!("bot-{number}"), "firstname": "Bot", "lastname": "Closer",
            "mail": format!("bot-{number}@example.test"), "password": "bot-password"});
        let person = &set_up(&admin, "POST", "/users.json", json!({"user": person})).await["user"];
        let (person, key) = (person["id"].clone(), person["api_key"].clone());
        let member = json!({"user_id": person, "role_ids": [made.id("roles", "closer")]});
        let members = format!("/projects/{}/memberships.json", project["id"]);
        let member = set_up(&admin, "POST", &members, json!({"membership": member})).await["membership"]["id"].clone();
        let own = |status| Answer::status(status).body(r#"{"errors":["injected"]}"#);
        let front = Front::before(&redmine.url()).await.with_errors(own).without_bodies();
        let key = key.as_str().expect("a key").to_owned();
        let (made, project, edits) = (made.clone(), project["id"].clone(), AtomicUsize::new(0));
        Shop { front, admin, made, part, name, project, person, member, key, edits }
    }
}

/// A project, and who works there.
pub struct Shop {
    pub front: Front,
    admin: Http,
    pub made: Arc<Paperwork>,
    part: Part,
    pub name: String,
    pub project: Value,
    pub person: Value,
    pub member: Value,
    key: String,
    /// How often somebody wrote words.
    edits: AtomicUsize,
}

/// A request of the administrator's. What a test sets up is tried again: on a busy machine Redmine has answered 500 to that, and done
/// nothing.
async fn set_up(admin: &Http, method: &str, path: &str, body: Value) -> Value {
    let mut reply = admin.json(method, path, &body).await;
    for _ in 0..3 {
        if reply.status != 500 {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        reply = admin.json(method, path, &body).await;
    }
    assert!((200..300).contains(&reply.status), "{method} {path}: {} {}", reply.status, reply.text);
    reply.json()
}

impl Shop {
    /// Somebody else's request.
    pub async fn admin(&self, method: &str, path: &str, body: Value) -> Value {
        set_up(&self.admin, method, path, body).await
    }

    pub async fn edit(&self, made: &Made, change: Value) {
        self.admin("PUT", &format!("/issues/{}.json", made.id), json!({"issue": change})).await;
    }

    pub async fn now(&self, made: &Made) -> Value {
        self.admin("GET", &format!("/issues/{}.json?include=journals", made.id), Value::Null).await["issue"].clone()
    }

    pub fn field(&self, name: &str) -> i64 {
        self.made.id("fields", name)
    }

    fn tracker(&self) -> &'static str {
        match self.part.system {
            System::Governance => "review",
            System::Checklist => "checklist",
            System::Tracker => "release",
            _ => "queue",
        }
    }

    /// The status that the part's step sets.
    fn status(&self) -> i64 {
        let name = match self.part.system {
            System::Checklist => "Closed",
            System::Tracker => "Approved",
            _ => "Cleared",
        };
        self.made.id("statuses", name)
    }

    async fn issue(&self, subject: &str, tracker: &str, release: &Release, version: Option<i64>) -> String {
        let values = [
            ("release", release.id.clone()),
            ("service", release.service.to_owned()),
            ("version", release.version.to_owned()),
            ("reviewVersion", release.review_version.to_owned()),
            ("bundle", release.bundle()),
            ("digest", release.digest.clone()),
            ("acceptedEvent", "evt-1".to_owned()),
            ("evidence", LINKS.to_owned()),
        ];
        // Redmine takes those that the tracker has.
        let fields = values.map(|(name, value)| json!({"id": self.field(name), "value": value}));
        let issue = json!({"project_id": self.project, "tracker_id": self.made.id("trackers", tracker), "subject": subject,
            "description": KEPT, "fixed_version_id": version, "custom_fields": fields});
        self.admin("POST", "/issues.json", json!({"issue": issue})).await["issue"]["id"].to_string()
    }

    /// One issue more; gives its id.
    pub async fn make_entry(&self, release: &Release) -> String {
        self.issue("Release", self.tracker(), release, None).await
    }

    fn line(&self, release: &Release) -> String {
        format!("- [{0}](<https://archive.example.com/{0}>) `{1}`", release.bundle(), release.digest)
    }
}

fn value(issue: &Value, field: i64) -> String {
    let fields = issue["custom_fields"].as_array().cloned().unwrap_or_default();
    let field = fields.iter().find(|shown| shown["id"] == field);
    field.and_then(|field| field["value"].as_str()).unwrap_or_default().to_owned()
}

#[async_trait]
impl Place for Shop {
    fn front(&self) -> &Front {
        &self.front
    }
    fn product(&self) -> Product {
        let names = ["release", "reviewVersion", "service", "version", "bundle", "digest", "acceptedEvent", "evidence", "marker"];
        let fields: serde_json::Map<_, _> = names.map(|name| (name.to_owned(), self.field(name).into())).into_iter().collect();
        let settings = json!({"endpoint": self.front.url(), "project": self.name, "fields": fields,
            "tokenSecretRef": {"name": "x", "key": "token"}, "statuses": {"cleared": "Cleared"}});
        let redmine: products::Redmine = serde_json::from_value(settings).expect("good settings");
        Product::Redmine(Box::new(redmine))
    }
    fn token(&self) -> String {
        self.key.clone()
    }
    fn words(&self) -> (&'static str, &'static str) {
        ("New", "Approved")
    }

    async fn make(&self, release: &Release) -> Made {
        let version = json!({"version": {"name": release.milestone}});
        let version = &self.admin("POST", &format!("/projects/{}/versions.json", self.project), version).await["version"];
        let id = self.issue("Release", self.tracker(), release, version["id"].as_i64()).await;
        let made = Made { id, milestone: Some(version["id"].to_string()) };
        let status = match (self.part.system, self.part.step) {
            (System::Governance, _) => "Accepted",
            (_, Some(Step::AttachEvidence)) => "Approved",
            _ => return made,
        };
        self.edit(&made, json!({"status_id": self.made.id("statuses", status)})).await;
        made
    }

    async fn truth(&self, release: &Release, made: &Made) -> Truth {
        let issue = self.now(made).await;
        let (mark, links) = (value(&issue, self.field("marker")), value(&issue, self.field("evidence")));
        let step = self.part.step.map(Step::as_str).unwrap_or_default();
        let link = self.part.step == Some(Step::AttachEvidence);
        let description = issue["description"].as_str().unwrap_or_default();
        // All the words of the beginning, and whatever somebody has added to them.
        let edits = self.edits.load(Ordering::Relaxed);
        let words = description == format!("{KEPT}{}", WORDS.repeat(edits));
        let lines = format!("{LINKS}{}", LINE.repeat(edits));
        Truth {
            done: if link { links.contains(&self.line(release)) } else { issue["status"]["id"] == self.status() },
            marks: if link {
                links.matches("<!-- releaseclosure:").count()
            } else {
                mark.matches(&format!("{step} key=")).count()
            },
            words: words && (!link || links.starts_with(&lines)),
        }
    }

    async fn person(&self, release: &Release, made: &Made, deed: Deed) -> Result<(), &'static str> {
        let field = |name: &str, value: String| json!([{"id": self.field(name), "value": value}]);
        let version = format!("/versions/{}.json", made.milestone.as_deref().unwrap_or_default());
        let (person, member) = (format!("/users/{}.json", self.person), format!("/memberships/{}.json", self.member));
        match deed {
            Deed::Own("words in the mark's field") => {
                self.edit(made, json!({"custom_fields": field("marker", "Kim, on the phone".to_owned())})).await;
            }
            Deed::Own("the mark's field is emptied") => {
                self.edit(made, json!({"custom_fields": field("marker", String::new())})).await;
            }
            Deed::Own(other) => panic!("{other} is nothing that anybody does here"),
            Deed::Edit => {
                // Each time other words than before: the same again would be no change.
                let edits = self.edits.fetch_add(1, Ordering::Relaxed) + 1;
                let text = format!("{KEPT}{}", WORDS.repeat(edits));
                let mut edit = json!({"subject": "Edited", "description": text, "notes": "Edited."});
                if self.part.step == Some(Step::AttachEvidence) {
                    edit["custom_fields"] = field("evidence", format!("{LINKS}{}", LINE.repeat(edits)));
                }
                self.edit(made, edit).await;
            }
            Deed::DoIt if self.part.step == Some(Step::AttachEvidence) => {
                let links = format!("{LINKS}\r\n{}", self.line(release));
                self.edit(made, json!({"custom_fields": field("evidence", links)})).await;
            }
            Deed::DoIt => self.edit(made, json!({"status_id": self.status()})).await,
            Deed::Rename if matches!(self.part.system, System::Governance | System::Tracker) => {
                self.admin("PUT", &version, json!({"version": {"name": "2026.12"}})).await;
            }
            Deed::Rename => return Err("the record has no milestone"),
            Deed::Duplicate | Deed::Crowd if self.part.step.is_none() => return Err("the record is always named"),
            Deed::Duplicate => {
                self.issue("Twin", self.tracker(), release, None).await;
            }
            Deed::Crowd => {
                let other = if self.part.system == System::Queue { "checklist" } else { "queue" };
                for _ in 0..CROWD {
                    self.issue("Another", other, release, None).await;
                }
            }
            Deed::Remove => {
                // On SQLite, Redmine gives the highest number away again.
                self.issue("Later", "queue", &Release::new("r-later"), None).await;
                self.admin("DELETE", &format!("/issues/{}.json", made.id), Value::Null).await;
            }
            Deed::Move => return Err("a project's identifier is never changed"),
            Deed::Archive => {
                self.admin("PUT", &format!("/projects/{}/close.json", self.project), Value::Null).await;
            }
            // An issue has no lock; a milestone has one.
            Deed::Lock => {
                self.admin("PUT", &version, json!({"version": {"status": "locked"}})).await;
            }
            Deed::WithdrawWriting => {
                let roles = json!({"membership": {"role_ids": [self.made.id("roles", "reader")]}});
                self.admin("PUT", &member, roles).await;
            }
            Deed::WithdrawReading => {
                self.admin("DELETE", &member, Value::Null).await;
            }
            // Its key is nobody's any more.
            Deed::Revoke => {
                self.admin("PUT", &person, json!({"user": {"status": 3}})).await;
            }
        }
        Ok(())
    }

    fn not_allowed(&self) -> Vec<String> {
        self.front.not_on(allow_list(), "")
    }
}
