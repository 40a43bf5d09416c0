//! A real Gitea.

use super::http::Http;
use super::process::{Launch, Running};
use super::require;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The administrator's name.
pub const ADMIN: &str = "robin";
/// Everybody's password.
pub const PASSWORD: &str = "Correct-horse-7";

/// A Gitea that runs, with an administrator.
pub struct Gitea {
    /// The process.
    pub server: Running,
    /// Everything, as the administrator.
    pub admin: Http,
    /// The administrator's token, of all scopes.
    pub token: String,
}

impl Gitea {
    /// Starts one with an empty database; none where it is not built.
    pub async fn start() -> Option<Gitea> {
        let built = require("gitea")?;
        let server = Running::prepare("gitea", 1);
        let home = server.home().to_owned();
        std::fs::write(home.join("app.ini"), settings(&home, &built, &server.url(0))).expect("writable");

        let cli = || gitea(&built, &home);
        cli().args(["migrate"]).finish(&home).await;
        let create = ["admin", "user", "create", "--admin", "--must-change-password=false", "--username", ADMIN];
        cli().args(create).args(["--password", PASSWORD, "--email", "robin@example.test"]).finish(&home).await;
        let scopes = ["admin", "user", "generate-access-token", "--raw", "--token-name", "all", "--scopes", "all"];
        let printed = cli().args(scopes).args(["--username", ADMIN]).finish(&home).await;
        // A warning may stand before it or behind it.
        let is_token = |line: &&str| line.len() == 40 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let token = printed.lines().map(str::trim).find(is_token).expect("a token").to_owned();

        let admin = Http::new(server.url(0)).with("authorization", &format!("token {token}"));
        let mut gitea = Gitea { server, admin, token };
        let probe = Http::new(gitea.url());
        gitea.server.launch(cli().args(["web"]), async || healthy(&probe).await).await;
        Some(gitea)
    }

    /// Its base URL; the API is below `/api/v1`.
    pub fn url(&self) -> String {
        self.server.url(0)
    }

    /// Kills it and starts it again with what it has stored.
    pub async fn crash(&mut self) {
        let probe = Http::new(self.url());
        self.server.start_again(async || healthy(&probe).await).await;
    }

    /// A client with this token.
    pub fn with_token(&self, token: &str) -> Http {
        self.admin.with("authorization", &format!("token {token}"))
    }

    /// A new person, and a token of these scopes, such as `write:issue` or `read:repository`.
    pub async fn person(&self, name: &str, scopes: &[&str]) -> String {
        let email = format!("{name}@example.test");
        let user = json!({"username": name, "password": PASSWORD, "email": email, "must_change_password": false});
        self.admin.post("/api/v1/admin/users", &user).await.expect(201);
        self.another_token(name, scopes).await
    }

    /// One more token for a person.
    pub async fn another_token(&self, name: &str, scopes: &[&str]) -> String {
        let basic = reqwest::Client::builder().no_proxy().build().expect("a client");
        let body = json!({"name": format!("for {}", scopes.join(" ")), "scopes": scopes});
        let url = format!("{}/api/v1/users/{name}/tokens", self.url());
        let request = basic.post(url).basic_auth(name, Some(PASSWORD)).header("content-type", "application/json");
        let reply = request.body(body.to_string()).send().await.expect("a reply");
        let reply: Value = serde_json::from_str(&reply.text().await.expect("a body")).expect("JSON");
        reply["sha1"].as_str().unwrap_or_else(|| panic!("no token: {reply}")).to_owned()
    }

    /// A new, empty repository of the administrator; gives the beginning of its paths.
    pub async fn repository(&self, name: &str) -> Repository<'_> {
        self.admin.post("/api/v1/user/repos", &json!({"name": name})).await.expect(201);
        Repository::of(self, name)
    }
}

/// One repository: seeds it and says what is true in it.
pub struct Repository<'a> {
    gitea: &'a Gitea,
    /// `/api/v1/repos/OWNER/NAME`.
    pub path: String,
}

impl<'a> Repository<'a> {
    /// One that is there.
    pub fn of(gitea: &'a Gitea, name: &str) -> Repository<'a> {
        Repository { gitea, path: format!("/api/v1/repos/{ADMIN}/{name}") }
    }

    fn admin(&self) -> &Http {
        &self.gitea.admin
    }

    /// Lets somebody `read`, `write` or administer (`admin`) it.
    pub async fn let_in(&self, person: &str, permission: &str) {
        let path = format!("{}/collaborators/{person}", self.path);
        self.admin().put(&path, &json!({"permission": permission})).await.expect(204);
    }

    /// A new label; gives its id.
    pub async fn label(&self, name: &str, exclusive: bool) -> i64 {
        let label = json!({"name": name, "color": "#00aabb", "exclusive": exclusive});
        id(&self.admin().post(&format!("{}/labels", self.path), &label).await.expect(201))
    }

    /// A new milestone; gives its id.
    pub async fn milestone(&self, title: &str) -> i64 {
        id(&self.admin().post(&format!("{}/milestones", self.path), &json!({"title": title})).await.expect(201))
    }

    /// A new issue, with what its body says more than a title; gives its number.
    pub async fn issue(&self, issue: &Value) -> i64 {
        let made = self.admin().post(&format!("{}/issues", self.path), issue).await.expect(201);
        made["number"].as_i64().expect("a number")
    }

    /// What is true of a path below the repository, such as `issues/1` or `milestones/2`.
    pub async fn get(&self, below: &str) -> Value {
        self.admin().get(&format!("{}/{below}", self.path)).await.expect(200)
    }

    /// A person's own change.
    pub async fn edit(&self, below: &str, change: &Value) -> Value {
        let reply = self.admin().patch(&format!("{}/{below}", self.path), change).await;
        assert!((200..300).contains(&reply.status), "{}: {}", reply.status, reply.text);
        reply.json()
    }

    /// An issue's own history: everything that was ever done to it.
    pub async fn history(&self, number: i64) -> Vec<Value> {
        let all = self.get(&format!("issues/{number}/timeline")).await;
        all.as_array().cloned().unwrap_or_default()
    }
}

fn id(made: &Value) -> i64 {
    made["id"].as_i64().expect("an id")
}

async fn healthy(probe: &Http) -> bool {
    probe.try_send("GET", "/api/healthz", "").await.is_ok_and(|reply| reply.status == 200)
}

/// It refuses to run as root unless it is told that this is meant; where a test's caller is root, it is.
fn gitea(built: &Path, home: &Path) -> Launch {
    Launch::of(built.join("bin/gitea"))
        .env("GITEA_WORK_DIR", home)
        .env("GITEA_I_AM_BEING_UNSAFE_RUNNING_AS_ROOT", "true")
        // A seventh less to do, for memory.
        .env("GOGC", "400")
        .args(["--config"])
        .arg(home.join("app.ini"))
}

fn settings(home: &Path, built: &Path, url: &str) -> String {
    let port = url.rsplit(':').next().unwrap_or_default();
    let home = home.display();
    let statics: PathBuf = built.join("static");
    // The index of texts is for searches by words, which no adapter makes; without it there is a sixth less to do.
    format!(
        "[server]\nHTTP_ADDR = 127.0.0.1\nHTTP_PORT = {port}\nROOT_URL = {url}/\nDISABLE_SSH = true\nOFFLINE_MODE = true\n\
         STATIC_ROOT_PATH = {statics}\nAPP_DATA_PATH = {home}/data\n\
         [database]\nDB_TYPE = sqlite3\nPATH = {home}/data/gitea.db\nSQLITE_JOURNAL_MODE = WAL\n\
         [security]\nINSTALL_LOCK = true\nPASSWORD_HASH_ALGO = pbkdf2_v1\n\
         [webhook]\nALLOWED_HOST_LIST = loopback\n[actions]\nENABLED = false\n[indexer]\nISSUE_INDEXER_TYPE = db\n[log]\nLEVEL = Warn\n\
         [cron.update_checker]\nENABLED = false\n[repository]\nROOT = {home}/data/repositories\nDEFAULT_BRANCH = main\n",
        statics = statics.display(),
    )
}
