//! Jira Cloud: issues of a project with the issue types, statuses and custom fields of `docs/adapters/jira.md`. The vendor's own
//! description stands in front of an emulation that keeps state; a Data Center is in `jira_data_center.rs`.

use crate::conformance::cases::{Play, UNWRITTEN, ensure, finish, untouched};
use crate::conformance::cell::{Cell, Outcome, Saw, Verdict, Wrote};
use crate::conformance::front::{Fault, Front, On};
use crate::conformance::people::mark_taken;
use crate::conformance::subject::{Adapter, Deed, IN_ISSUES, Made, Part, Place, Release, Server, Truth};
use crate::fault_proxy::{Answer, Gate};
use crate::systems::http::Http;
use crate::systems::jira::{CLOSER, Jira, deed};
use async_trait::async_trait;
use releaseclosure::closure::ids::{Step, System};
use releaseclosure::closure::snapshot::Trouble;
use releaseclosure::products;
use releaseclosure::providers::Product;
use releaseclosure::providers::jira::allow_list;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What people write into a description.
const WORDS: &str = "\nLooked at twice. — Kim <!-- not a mark -->";
/// What stands in every description from the beginning.
const KEPT: &str = "Ready\n- [x] Rollback rehearsed\n- [X] Signed\n* a list  \nwith “words”\t.";
/// More than one page of fifty, the record itself included.
const CROWD: usize = 60;

/// The custom fields of the emulation, by the settings' names.
pub const FIELDS: [(&str, u32); 8] = [
    ("release", 10101),
    ("reviewVersion", 10102),
    ("service", 10103),
    ("version", 10104),
    ("bundle", 10105),
    ("digest", 10106),
    ("acceptedEvent", 10107),
    ("marker", 10108),
];

/// The adapter.
pub struct Work;

#[async_trait(?Send)]
impl Adapter for Work {
    fn product(&self) -> &'static str {
        "jira"
    }
    fn against(&self) -> &'static str {
        "an emulation of Jira Cloud of our own, behind the vendor's own description of its API"
    }
    fn sends(&self) -> Vec<String> {
        allow_list().iter().map(|row| row.to_string()).collect()
    }
    fn systems(&self) -> &'static [System] {
        &IN_ISSUES
    }
    fn own_cases(&self) -> &'static [(&'static str, Play)] {
        &[
            ("the issue is moved to another project", |cell| Box::pin(another_project(cell))),
            ("the issue itself is archived", |cell| Box::pin(archived(cell))),
            ("no transition leads there", |cell| Box::pin(no_way(cell))),
            ("the mark is not on the transition's screen", |cell| Box::pin(no_screen(cell))),
            ("the field of our mark holds somebody's words", |cell| Box::pin(mark_taken(cell))),
            ("the looks before the change take too long together", |cell| Box::pin(slow_looks(cell))),
        ]
    }
    async fn start(&self) -> Option<Box<dyn Server>> {
        Some(Box::new(Running(Jira::cloud().await?)))
    }
}

/// One that runs.
pub struct Running(pub Jira);

#[async_trait]
impl Server for Running {
    async fn place(&self, part: Part, number: usize) -> Arc<dyn Place> {
        Arc::new(self.shop(part, number).await)
    }
}

impl Running {
    /// A project of its own.
    pub async fn shop(&self, part: Part, number: usize) -> Shop {
        let (key, token, user) =
            (format!("SHOP{number}"), format!("token-{number}"), format!("bot-{number}@example.test"));
        self.0.project(&key, &token, &user).await;
        let own = |status| Answer::status(status).body(r#"{"errorMessages":["injected"],"errors":{}}"#);
        let mut front = Front::before(&self.0.url()).await.with_errors(own);
        if part.system == System::Tracker {
            front = front.with_reads_of(2);
        }
        if part.step != Some(Step::AttachEvidence) {
            front = front.without_bodies();
        }
        let (people, edits) = (self.0.people.clone(), AtomicUsize::new(0));
        Shop { front, people, part, key, token, user, deployment: "Cloud", edits }
    }
}

/// A project, and who works there.
pub struct Shop {
    pub front: Front,
    pub people: Http,
    pub part: Part,
    pub key: String,
    pub token: String,
    pub user: String,
    pub deployment: &'static str,
    /// How often somebody wrote words.
    pub edits: AtomicUsize,
}

impl Shop {
    /// What somebody does.
    pub async fn deed(&self, method: &str, what: &str, body: Value) -> Value {
        deed(&self.people, method, what, body).await
    }

    pub async fn edit(&self, made: &Made, change: Value) {
        self.deed("PATCH", &format!("issues/{}", made.id), change).await;
    }

    pub async fn now(&self, made: &Made) -> Value {
        self.deed("GET", &format!("issues/{}", made.id), Value::Null).await
    }

    /// What the token's user may do from now on.
    pub async fn let_do(&self, permissions: &[&str]) {
        let project = self.deed("PATCH", &format!("projects/{}", self.key), json!({})).await;
        let id = project["id"].as_str().expect("an id").to_owned();
        self.deed("PATCH", &format!("tokens/{}", self.token), json!({"may": {id: permissions}})).await;
    }

    fn issue_type(&self) -> &'static str {
        match self.part.system {
            System::Governance => "Release review",
            System::Checklist => "Readiness checklist",
            System::Tracker => "Release",
            _ => "Review queue",
        }
    }

    /// The status that the part's step sets.
    fn status(&self) -> &'static str {
        match self.part.system {
            System::Governance => "Accepted",
            System::Checklist => "Closed",
            System::Tracker => "Approved",
            _ => "Cleared",
        }
    }

    /// One issue more; gives its key.
    pub async fn issue(&self, release: &Release, more: &Value) -> String {
        let values = [
            release.id.clone(),
            release.review_version.to_owned(),
            release.service.to_owned(),
            release.version.to_owned(),
            release.bundle(),
            release.digest.clone(),
            "evt-1".to_owned(),
        ];
        let fields: Value = FIELDS.iter().zip(values).map(|((_, id), value)| (format!("customfield_{id}"), json!(value))).collect();
        let mut issue = json!({"project": self.key, "type": self.issue_type(), "summary": "Release", "description": KEPT,
            "fields": fields, "labels": ["theirs"], "links": [their_link()]});
        for (name, value) in more.as_object().into_iter().flatten() {
            issue[name] = value.clone();
        }
        self.deed("POST", "issues", issue).await["key"].as_str().expect("a key").to_owned()
    }

    /// The evidence link as people make it by hand: a web link with a text.
    fn by_hand(&self, release: &Release) -> Value {
        let title = format!("{} {}", release.bundle(), release.digest);
        json!({"id": 7, "self": "http://jira.example.com/7", "object": {"url": format!("https://archive.example.com/{}", release.bundle()), "title": title}})
    }

    async fn add_link(&self, made: &Made, link: Value) {
        let mut links = self.now(made).await["links"].clone();
        links.as_array_mut().expect("links").push(link);
        // A link does not change the time of the issue's last change.
        self.edit(made, json!({"links": links, "touch": false})).await;
    }
}

/// A link that was there before, with more than is read of it.
fn their_link() -> Value {
    json!({"id": 5, "self": "http://jira.example.com/5", "globalId": "wiki=1", "relationship": "mentioned in",
        "object": {"url": "https://wiki.example.com/1", "title": "The wiki", "status": {"resolved": true}}})
}

/// What somebody adds, another one each time.
fn minutes(number: usize) -> Value {
    let id = 100 + number;
    json!({"id": id, "self": format!("http://jira.example.com/{id}"), "object": {"url": format!("https://wiki.example.com/{id}"), "title": "The minutes"}})
}

#[async_trait]
impl Place for Shop {
    fn front(&self) -> &Front {
        &self.front
    }
    fn product(&self) -> Product {
        let fields: Value = FIELDS.iter().map(|(name, id)| ((*name).to_owned(), json!(format!("customfield_{id}")))).collect();
        let mut settings = json!({"endpoint": self.front.url(), "deployment": self.deployment, "project": self.key, "fields": fields,
            "tokenSecretRef": {"name": "x", "key": "token"}});
        if self.deployment == "Cloud" {
            settings["user"] = json!(self.user);
        }
        let jira: products::Jira = serde_json::from_value(settings).expect("good settings");
        Product::Jira(Box::new(jira))
    }
    fn token(&self) -> String {
        self.token.clone()
    }
    fn words(&self) -> (&'static str, &'static str) {
        ("In Review", "Approved")
    }

    async fn make(&self, release: &Release) -> Made {
        let version = self.deed("POST", "versions", json!({"name": release.milestone})).await["id"].clone();
        let mut more = json!({"fixVersions": [version]});
        if self.part.system == System::Governance || self.part.step == Some(Step::AttachEvidence) {
            more["status"] = json!(self.status());
        }
        let id = self.issue(release, &more).await;
        Made { id, milestone: version.as_str().map(str::to_owned) }
    }

    async fn truth(&self, release: &Release, made: &Made) -> Truth {
        let issue = self.now(made).await;
        let links: Vec<&Value> = issue["links"].as_array().into_iter().flatten().collect();
        let (title, digest) = (release.bundle(), &release.digest);
        let is_evidence = |link: &&&Value| {
            let (object, by_hand) = (&link["object"], self.by_hand(release));
            let summary = object["summary"].as_str().unwrap_or_default();
            (object["title"] == *title && summary.starts_with(digest)) || object["title"] == by_hand["object"]["title"]
        };
        let key = |link: &&&Value| link["globalId"].as_str().is_some_and(|id| id.starts_with("releaseclosure="));
        let (done, marks) = if self.part.step == Some(Step::AttachEvidence) {
            (links.iter().any(|link| is_evidence(&link)), links.iter().filter(key).count())
        } else {
            let mark = issue["fields"]["customfield_10108"].as_str().unwrap_or_default();
            let step = self.part.step.map(Step::as_str).unwrap_or_default();
            let history = issue["history"].as_array().into_iter().flatten();
            let ours = history.filter(|change| change["by"] == *self.user && change["to"] == self.status()).count();
            (issue["status"] == self.status(), if mark.starts_with(&format!("{step} key=")) { ours } else { 0 })
        };
        let edits = self.edits.load(Ordering::Relaxed);
        let text = format!("{KEPT}{}", WORDS.repeat(edits));
        let theirs = links.contains(&&their_link()) && (0..edits).all(|number| links.contains(&&minutes(number)));
        Truth { done, marks, words: issue["description"] == *text && theirs && issue["labels"] == json!(["theirs"]) }
    }

    async fn person(&self, release: &Release, made: &Made, deed: Deed) -> Result<(), &'static str> {
        let project = format!("projects/{}", self.key);
        match deed {
            Deed::Own("another project") => {
                let key = format!("OTHER{}", self.key);
                self.deed("POST", "projects", json!({"key": key})).await;
                self.edit(made, json!({"moveTo": key})).await;
                let other = self.deed("PATCH", &format!("projects/{key}"), json!({})).await["id"].clone();
                let here = self.deed("PATCH", &project, json!({})).await["id"].clone();
                let id = |value: &Value| value.as_str().expect("an id").to_owned();
                let may = json!({id(&other): CLOSER, id(&here): CLOSER});
                self.deed("PATCH", &format!("tokens/{}", self.token), json!({"may": may})).await;
            }
            Deed::Own("archived") => self.edit(made, json!({"archived": true, "touch": false})).await,
            Deed::Own("stuck") => {
                self.deed("PATCH", &project, json!({"stuck": true})).await;
            }
            Deed::Own("no screens") => {
                self.deed("PATCH", &project, json!({"screens": false})).await;
            }
            Deed::Own("words in the mark's field") => {
                self.edit(made, json!({"fields": {"customfield_10108": "Kim, on the phone"}})).await;
            }
            Deed::Own("the mark's field is emptied") => {
                self.edit(made, json!({"fields": {"customfield_10108": null}})).await;
            }
            Deed::Own(other) => panic!("{other} is nothing that anybody does here"),
            Deed::Edit => {
                let edits = self.edits.fetch_add(1, Ordering::Relaxed);
                self.add_link(made, minutes(edits)).await;
                let text = format!("{KEPT}{}", WORDS.repeat(edits + 1));
                self.edit(made, json!({"summary": "Edited", "description": text})).await;
            }
            Deed::DoIt if self.part.step == Some(Step::AttachEvidence) => {
                self.add_link(made, self.by_hand(release)).await;
            }
            Deed::DoIt => self.edit(made, json!({"status": self.status()})).await,
            Deed::Rename if matches!(self.part.system, System::Governance | System::Tracker) => {
                let version = format!("versions/{}", made.milestone.as_deref().unwrap_or_default());
                self.deed("PATCH", &version, json!({"name": "2026.12"})).await;
            }
            Deed::Rename => return Err("the record has no milestone"),
            Deed::Duplicate | Deed::Crowd if self.part.step.is_none() => return Err("the record is always named"),
            Deed::Duplicate => {
                self.issue(release, &json!({"summary": "Twin"})).await;
            }
            // Whoever searches for the release's id finds them, too.
            Deed::Crowd => {
                for number in 0..CROWD {
                    let other = Release { id: format!("{} draft {number}", release.id), ..release.clone() };
                    self.issue(&other, &json!({})).await;
                }
            }
            Deed::Remove => {
                self.deed("DELETE", &format!("issues/{}", made.id), Value::Null).await;
            }
            // Jira leads on from the keys that its issues had.
            Deed::Move => {
                self.deed("PATCH", &project, json!({"key": format!("STORE{}", self.key)})).await;
            }
            Deed::Archive => {
                self.deed("PATCH", &project, json!({"archived": true})).await;
            }
            Deed::Lock => return Err("an issue has no lock; a workflow lets nobody out of a status instead"),
            Deed::WithdrawWriting => self.let_do(&CLOSER[..1]).await,
            Deed::WithdrawReading => self.let_do(&[]).await,
            // The cloud takes it for nobody's from now on, and says so to nobody.
            Deed::Revoke => {
                self.deed("PATCH", &format!("tokens/{}", self.token), json!({"revoked": true})).await;
            }
        }
        Ok(())
    }

    fn not_allowed(&self) -> Vec<String> {
        self.front.not_on(allow_list(), "")
    }
}

/// Jira leads on to where it is now. It is not there any more.
async fn another_project(cell: &mut Cell) -> Outcome {
    let look = cell.must_read().await?;
    let order = if cell.writes() { Some(cell.order(&look)?) } else { None };
    cell.person(Deed::Own("another project")).await?;
    let read = cell.read().await;
    ensure!(read == Saw::Missing, read);
    if let Some(order) = order {
        let wrote = cell.write(order).await;
        ensure!(wrote == Wrote::Conflict && cell.front().changes() == 0, wrote);
    }
    Ok(Verdict::Passes)
}

/// It can be read by its key, no search finds it, and nothing is changed there.
async fn archived(cell: &mut Cell) -> Outcome {
    let look = cell.must_read().await?;
    cell.person(Deed::Own("archived")).await?;
    let read = cell.read().await;
    ensure!(read == Saw::Found(Box::new(look.clone())), read);
    if !cell.writes() {
        return Ok(Verdict::Passes);
    }
    let found = cell.find().await;
    ensure!(found == Saw::Missing, found);
    let wrote = cell.write(cell.order(&look)?).await;
    not_sent(cell, &wrote).await
}

/// All that a write asks is over within one timeout, however it is spread: each look comes in time, and both do not.
async fn slow_looks(cell: &mut Cell) -> Outcome {
    if !cell.writes() {
        return Ok(Verdict::NoSuchThing(UNWRITTEN.to_owned()));
    }
    let look = cell.must_read().await?;
    let order = cell.order(&look)?;
    cell.again(&cell.place.token(), Duration::from_secs(3))?;
    let link = cell.part.step == Some(Step::AttachEvidence);
    let looks = if link { ["?fields=", "/remotelink"] } else { ["/transitions?", "?fields="] };
    let gates = looks.map(|look| {
        let gate = Gate::default();
        cell.front().on(On::Path(look), Fault::Slow(gate.clone()));
        gate
    });
    let opened = async {
        for gate in &gates {
            tokio::time::sleep(Duration::from_secs(2)).await;
            gate.open();
        }
    };
    let (wrote, ()) = futures::join!(cell.write(order), opened);
    ensure!(matches!(&wrote, Wrote::NotApplied(why) if why.trouble == Trouble::Unavailable), wrote);
    let truth = cell.truth().await;
    ensure!(untouched(&truth) && cell.front().changes() == 0, truth);
    cell.again(&cell.place.token(), Duration::from_secs(60))?;
    finish(cell).await?;
    Ok(Verdict::Passes)
}

const NO_TRANSITION: &str = "no status is changed";

/// Where the workflow has none, nothing is sent.
async fn no_way(cell: &mut Cell) -> Outcome {
    if !cell.writes() || cell.part.step == Some(Step::AttachEvidence) {
        return Ok(Verdict::NoSuchThing(NO_TRANSITION.to_owned()));
    }
    let look = cell.must_read().await?;
    let order = cell.order(&look)?;
    cell.person(Deed::Own("stuck")).await?;
    let wrote = cell.write(order).await;
    not_sent(cell, &wrote).await
}

/// Half of the change is not made.
async fn no_screen(cell: &mut Cell) -> Outcome {
    if !cell.writes() || cell.part.step == Some(Step::AttachEvidence) {
        return Ok(Verdict::NoSuchThing(NO_TRANSITION.to_owned()));
    }
    cell.person(Deed::Own("no screens")).await?;
    let look = cell.must_read().await?;
    let wrote = cell.write(cell.order(&look)?).await;
    not_sent(cell, &wrote).await
}

async fn not_sent(cell: &Cell, wrote: &Wrote) -> Outcome {
    ensure!(matches!(wrote, Wrote::NotApplied(why) if why.trouble == Trouble::Forbidden), wrote);
    let truth = cell.truth().await;
    ensure!(untouched(&truth) && cell.front().changes() == 0, truth);
    Ok(Verdict::Passes)
}
