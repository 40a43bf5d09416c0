//! A real Prometheus that scrapes one operator after the other, and evaluates the shipped rules.

use crate::stage::PATIENCE;
use crate::support::controlplane::repository;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A Prometheus that runs. Killed when dropped.
pub struct Prometheus {
    process: Child,
    home: PathBuf,
    url: String,
}

impl Prometheus {
    /// Starts one; none where it is not built, which is told by name.
    pub async fn start(home: PathBuf) -> Option<Prometheus> {
        let built = repository(".build/systems/prometheus");
        if !built.join("stamp").is_file() {
            assert!(
                std::env::var("RELEASECLOSURE_SYSTEMS").map_or(true, |value| value != "required"),
                "prometheus is required"
            );
            // On the real stdout, since what a passing test prints is thrown away.
            let told = b"skipped: prometheus: not built; tests/systems/build.sh prometheus does it\n";
            let _ = std::io::stdout().write_all(told);
            return None;
        }
        std::fs::create_dir_all(&home).unwrap();
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [repository("manifests/monitoring/rules.yaml")],
            "scrape_configs": [{"job_name": "releaseclosure", "file_sd_configs": [{"files": [home.join("targets.json")]}]}],
        });
        // JSON is YAML.
        std::fs::write(home.join("prometheus.yml"), config.to_string()).unwrap();
        std::fs::write(home.join("targets.json"), "[]").unwrap();
        let port = crate::operators::free_port();
        let process = Command::new(built.join("bin/prometheus"))
            .arg(format!("--config.file={}", home.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", home.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(home.join("log")).unwrap())
            .spawn()
            .expect("prometheus can be started");
        let prometheus = Prometheus { process, home, url: format!("http://127.0.0.1:{port}") };
        let start = Instant::now();
        while get(&format!("{}/-/ready", prometheus.url)).await.is_none() {
            assert!(start.elapsed() < PATIENCE, "{}", std::fs::read_to_string(prometheus.home.join("log")).unwrap());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Some(prometheus)
    }

    /// Scrapes this operator from now on, and no other.
    pub fn scrape(&self, metrics: &str) {
        let targets = json!([{"targets": [metrics.trim_start_matches("http://")]}]).to_string();
        // In one step: it is watched.
        std::fs::write(self.home.join("targets.new"), targets).unwrap();
        std::fs::rename(self.home.join("targets.new"), self.home.join("targets.json")).unwrap();
    }

    async fn ask(&self, path: &str) -> Value {
        let text = get(&format!("{}{path}", self.url)).await.expect("an answer");
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"));
        assert_eq!(value["status"], "success", "{path}: {value}");
        value["data"].clone()
    }

    /// The values of an expression now, each with its labels.
    pub async fn query(&self, expression: &str) -> Vec<(Value, f64)> {
        let query: String = url::form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let data = self.ask(&format!("/api/v1/query?query={query}")).await;
        let value = |found: &Value| found["value"][1].as_str().unwrap().parse().unwrap();
        data["result"].as_array().unwrap().iter().map(|found| (found["metric"].clone(), value(found))).collect()
    }

    /// The same, once it holds.
    pub async fn becomes(&self, expression: &str, so: impl Fn(&[(Value, f64)]) -> bool) -> Vec<(Value, f64)> {
        let start = Instant::now();
        loop {
            let found = self.query(expression).await;
            if so(&found) {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "{expression}: {found:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Every rule, with its health.
    pub async fn rules(&self) -> Vec<(String, String)> {
        let data = self.ask("/api/v1/rules").await;
        let rules =
            data["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        rules.map(|rule| (text(&rule["name"]), text(&rule["health"]))).collect()
    }
}

/// What is served there; none where nothing is, or not with 200.
#[allow(clippy::disallowed_methods, reason = "it is no system: the operator's own metrics, and who scrapes them")]
pub async fn get(url: &str) -> Option<String> {
    let reply = reqwest::get(url).await.ok().filter(|reply| reply.status() == 200)?;
    reply.text().await.ok()
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// Every query of the shipped dashboard, with what Grafana fills in.
pub fn dashboard() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(repository("manifests/monitoring/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let queries = panels.flat_map(|panel| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().unwrap().clone();
        targets.into_iter().map(move |target| (title.clone(), target["expr"].as_str().unwrap().to_owned()))
    });
    queries.map(|(title, query)| (title, query.replace("$__rate_interval", "5m").replace("$namespace", ".*"))).collect()
}
