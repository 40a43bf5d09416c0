//! A real Redmine.

use super::http::{Http, Reply};
use super::process::{Launch, Running};
use super::require;
use serde_json::{Value, json};
use std::path::Path;

/// The administrator's key; see `tests/systems/redmine/seed.rb`.
pub const ADMIN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// The key of somebody who is not a member of anything until a project lets her in.
pub const REPORTER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// Ids that a new Redmine has: its default data's, and those of the fields in `seed.rb`.
pub mod ids {
    /// Issue status `New`.
    pub const NEW: i64 = 1;
    /// Issue status `In Progress`.
    pub const IN_PROGRESS: i64 = 2;
    /// Issue status `Closed`.
    pub const CLOSED: i64 = 5;
    /// Role `Reporter`.
    pub const REPORTER_ROLE: i64 = 5;
    /// The version's field `Review version`.
    pub const REVIEW_VERSION: i64 = 1;
    /// The version's field `Evidence bundle`.
    pub const EVIDENCE_BUNDLE: i64 = 2;
    /// The issue's field `Release id`.
    pub const RELEASE_ID: i64 = 3;
    /// The issue's field `Review decision`.
    pub const REVIEW_DECISION: i64 = 4;
    /// The issue's field `Evidence link`.
    pub const EVIDENCE_LINK: i64 = 5;
}

/// A Redmine that runs, with its default data and the fields of `seed.rb`.
pub struct Redmine {
    /// The process.
    pub server: Running,
    /// Everything, as the administrator.
    pub admin: Http,
}

/// What `release.rb` made, by the names that it has there.
pub struct Paperwork(Value);

impl Paperwork {
    /// The id of something.
    pub fn id(&self, kind: &str, name: &str) -> i64 {
        self.0[kind][name].as_i64().unwrap_or_else(|| panic!("no {kind} {name}: {}", self.0))
    }
}

impl Redmine {
    /// Starts one in which a team keeps its releases' paperwork, as `release.rb` makes it.
    pub async fn with_paperwork() -> Option<(Redmine, Paperwork)> {
        let built = require("redmine")?;
        let redmine = Redmine::prepared(&built, true).await;
        let made = std::fs::read_to_string(redmine.server.home().join("data/paperwork.json")).expect("it was made");
        Some((redmine, Paperwork(serde_json::from_str(&made).expect("JSON"))))
    }

    /// Starts one; none where it is not built.
    pub async fn start() -> Option<Redmine> {
        let built = require("redmine")?;
        Some(Redmine::prepared(&built, false).await)
    }

    async fn prepared(built: &Path, paperwork: bool) -> Redmine {
        let mut server = Running::prepare("redmine", 1);
        let data = server.home().join("data");
        copy(&built.join("template"), &data).expect("the template can be copied");
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/redmine");
        for script in ["release.rb", "one_at_a_time.rb"] {
            std::fs::copy(scripts.join(script), data.join(script)).expect("it can be copied");
        }
        if paperwork {
            run(built, server.home(), "/data/release.rb").await;
        }
        let port = server.port(0).to_string();
        let launch = Launch::of(built.join("enter"))
            .arg(built.join("root"))
            .arg(&data)
            .env("LANG", "C.UTF-8")
            .env("RAILS_ENV", "production")
            .env("RUBYOPT", "--yjit -r/data/one_at_a_time.rb")
            .args(["/usr/bin/rackup", "-E", "production", "-o", "127.0.0.1", "-p", &port, "-s", "webrick"]);
        let admin = Http::new(server.url(0)).with("x-redmine-api-key", ADMIN);
        let ready =
            async || admin.try_send("GET", "/users/current.json", "").await.is_ok_and(|reply| reply.status == 200);
        server.launch(launch, ready).await;
        Redmine { server, admin }
    }

    /// Does what no API does: a line of Ruby inside.
    pub async fn run(&self, ruby: &str) {
        let built = require("redmine").expect("it runs");
        run(&built, self.server.home(), ruby).await;
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        self.server.url(0)
    }

    /// A client with this key.
    pub fn with_key(&self, key: &str) -> Http {
        self.admin.with("x-redmine-api-key", key)
    }

    /// A new project with all trackers; gives its id.
    pub async fn project(&self, identifier: &str) -> i64 {
        let project = json!({"project": {"name": identifier, "identifier": identifier, "tracker_ids": [1, 2, 3],
            "enabled_module_names": ["issue_tracking", "wiki"], "is_public": false}});
        id(&self.admin.post("/projects.json", &project).await.expect(201)["project"])
    }

    /// Lets [`REPORTER`] into a project, as a reporter.
    pub async fn let_reporter_in(&self, project: i64) {
        let users = self.admin.get("/users.json?name=rita").await.expect(200);
        let member = json!({"membership": {"user_id": users["users"][0]["id"], "role_ids": [ids::REPORTER_ROLE]}});
        self.admin.post(&format!("/projects/{project}/memberships.json"), &member).await.expect(201);
    }

    /// A new version; gives its id.
    pub async fn version(&self, project: i64, name: &str) -> i64 {
        let version = json!({"version": {"name": name, "status": "open"}});
        id(&self.admin.post(&format!("/projects/{project}/versions.json"), &version).await.expect(201)["version"])
    }

    /// A new issue with these fields besides its project; gives its id.
    pub async fn issue(&self, project: i64, mut fields: Value) -> i64 {
        fields["project_id"] = json!(project);
        id(&self.admin.post("/issues.json", &json!({"issue": fields})).await.expect(201)["issue"])
    }

    /// What is true of an issue, with its journal.
    pub async fn read_issue(&self, issue: i64) -> Value {
        let path = format!("/issues/{issue}.json?include=journals,children");
        self.admin.get(&path).await.expect(200)["issue"].clone()
    }

    /// A change of an issue, whatever comes back.
    pub async fn edit_issue(&self, issue: i64, fields: &Value) -> Reply {
        self.admin.put(&format!("/issues/{issue}.json"), &json!({"issue": fields})).await
    }
}

async fn run(built: &Path, home: &Path, ruby: &str) {
    let inside = Launch::of(built.join("enter")).arg(built.join("root")).arg(home.join("data")).env("LANG", "C.UTF-8");
    let inside = inside.env("RAILS_ENV", "production").env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    inside.args(["/usr/bin/bundle", "exec", "rails", "runner", ruby]).finish(home).await;
}

fn id(made: &Value) -> i64 {
    made["id"].as_i64().unwrap_or_else(|| panic!("no id: {made}"))
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
