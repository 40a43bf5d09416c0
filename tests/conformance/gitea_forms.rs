//! The issue forms of `docs/adapters/gitea.md`, filled in as a person does it in the browser.

use super::gitea::{Repository, Running};
use crate::conformance::cases::clean;
use crate::conformance::cell::{Cell, Verdict};
use crate::conformance::subject::{Adapter, Release};
use crate::systems::gitea::{ADMIN, Gitea, PASSWORD};
use crate::systems::http::Http;
use base64::Engine as _;
use regex::Regex;
use releaseclosure::api::system_connection::SystemConnection;
use releaseclosure::closure::ids::{Step, System};
use releaseclosure::providers::Product;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

const DOCUMENT: &str = include_str!("../../docs/adapters/gitea.md");

/// Somebody who is logged in.
pub struct Browser(Http);

impl Browser {
    /// Logs in.
    pub async fn of(gitea: &Gitea) -> Browser {
        let plain = Http::new(gitea.url()).with("content-type", "application/x-www-form-urlencoded");
        let login = plain.send("POST", "/user/login", format!("user_name={ADMIN}&password={PASSWORD}")).await;
        let set = login.headers.get_all("set-cookie").iter();
        let set = set.filter_map(|cookie| cookie.to_str().ok()?.split(';').next()?.split_once('='));
        // A cookie that is set twice has the later value.
        let cookies: BTreeMap<&str, &str> = set.collect();
        let cookies: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Browser(plain.with("cookie", &cookies.join("; ")))
    }

    /// Fills in the part's form and sends it; gives the issue's number.
    pub async fn fill_in(&self, place: &Repository, release: &Release, milestone: Option<i64>) -> String {
        let Release { id, service, version, review_version, digest, .. } = release;
        let bundle = release.bundle();
        let of = [("release", id.as_str()), ("service", service), ("version", version)];
        let approved = if place.part.step == Some(Step::AttachEvidence) { "1" } else { "0" };
        let (form, labelled, fields): (_, _, Vec<(&str, &str)>) = match place.part.system {
            System::Governance => {
                let more = [("review-version", *review_version), ("bundle", &bundle), ("digest", digest), ("decision", "1")];
                ("release-review", false, [of.as_slice(), &more].concat())
            }
            System::Tracker => ("release", true, [of.as_slice(), &[("status", approved), ("evidence", "")]].concat()),
            System::Checklist => {
                let items = [("ready-0", "on"), ("ready-1", "on"), ("ready-2", "on")];
                ("readiness-checklist", true, [[of[0], ("review-version", review_version)].as_slice(), &items].concat())
            }
            _ => ("review-queue", true, vec![of[0], ("review-version", review_version)]),
        };
        let file = format!(".gitea/ISSUE_TEMPLATE/{form}.yaml");
        let labels = place.admin("GET", "labels", json!(null)).await;
        let label = if labelled { labels[0]["id"].to_string() } else { String::new() };
        let milestone = milestone.map(|id| id.to_string()).unwrap_or_default();
        let body = {
            let mut body = url::form_urlencoded::Serializer::new(String::new());
            body.append_pair("title", form).append_pair("template-file", &file);
            body.append_pair("label_ids", &label).append_pair("milestone_id", &milestone);
            for (field, value) in fields {
                body.append_pair(&format!("form-field-{field}"), value);
            }
            body.finish()
        };
        let sent = self.0.send("POST", &format!("/{ADMIN}/{}/issues/new", place.name), body).await;
        let sent = sent.expect(200);
        let place = sent["redirect"].as_str().unwrap_or_else(|| panic!("no issue was made: {sent}"));
        place.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

/// Every block of the document that is a file below `.gitea/`.
fn files() -> Vec<(&'static str, &'static str)> {
    let block = Regex::new(r"(?s)```yaml\n# (\.gitea/\S+)\n(.*?)```").expect("a pattern");
    block.captures_iter(DOCUMENT).map(|found| found.extract()).map(|(_, [path, text])| (path, text)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gitea_forms() {
    let Some(gitea) = Gitea::start().await else { return };
    assert_eq!(files().len(), 4, "the forms of the document");
    let running = Running(gitea);
    for (number, part) in super::gitea::Issues.parts().into_iter().enumerate() {
        let mut place = running.repository(part, number).await;
        for (path, text) in files() {
            let content = base64::engine::general_purpose::STANDARD.encode(text);
            place.admin("POST", &format!("contents/{path}"), json!({"content": content, "message": path})).await;
        }
        let errors = place.admin("GET", "issue_templates", json!(null)).await;
        assert_eq!(errors.as_array().map(Vec::len), Some(4), "Gitea takes all of them for forms: {errors}");
        place.forms = Some(Browser::of(&running.0).await);
        place.kept = "### Release\n\nr-2026.11.3\n\n###";
        let mut cell = Cell::new(part, Arc::new(place)).await.expect("a cell");
        assert_eq!(clean(&mut cell).await, Ok(Verdict::Passes), "{}", part.title());
    }
}

#[test]
fn the_connections_of_the_document_are_some() {
    let block = Regex::new(r"(?s)```yaml\n(apiVersion.*?)```").expect("a pattern");
    let manifests = block.captures_iter(DOCUMENT).flat_map(|found| found.extract::<1>().1[0].split("---\n"));
    let mut roles = Vec::new();
    for manifest in manifests {
        let connection: SystemConnection = serde_saphyr::from_str(manifest).expect("a connection");
        let spec = serde_json::to_value(&connection.spec).expect("JSON");
        assert!(matches!(Product::of_spec(&spec), Some(Product::Gitea(_))), "{manifest}");
        roles.extend(connection.spec.allowed_roles.iter().map(|role| role.system()));
    }
    let mut parts: Vec<System> = super::gitea::Issues.parts().iter().map(|part| part.system).collect();
    parts.dedup();
    assert_eq!(roles, parts);
}
