//! What admins load into their Prometheus and Grafana: the rules, by promtool itself, and that each alert has a page and a test.
//! That every query of the dashboard finds something is shown on a real run, in `tests/cluster/week.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn rules() -> Vec<Value> {
    yaml("manifests/monitoring/rules.yaml")["groups"][0]["rules"].as_array().expect("rules").clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Runs promtool to its end; none where it is not built, which is told.
fn promtool(arguments: &[&str]) -> Option<String> {
    let program = repository(".build/systems/prometheus/bin/promtool");
    if !program.is_file() {
        assert!(
            std::env::var("RELEASECLOSURE_SYSTEMS").map_or(true, |value| value != "required"),
            "promtool is required"
        );
        println!("skipped: prometheus: not built; tests/systems/build.sh prometheus does it");
        return None;
    }
    let ran = Command::new(program).args(arguments).current_dir(repository("")).output().expect("promtool can be run");
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "promtool {arguments:?}:\n{said}");
    Some(said)
}

#[test]
fn promtool_takes_the_rules_and_their_tests() {
    let Some(said) = promtool(&["check", "rules", "--lint=all", "--lint-fatal", "manifests/monitoring/rules.yaml"])
    else {
        return;
    };
    assert!(said.contains(&format!("SUCCESS: {} rules found", rules().len())), "{said}");
    let said = promtool(&["test", "rules", "tests/monitoring/rules_test.yaml"]).expect("it was there a moment ago");
    assert!(said.contains("SUCCESS"), "{said}");
}

#[test]
fn every_alert_is_tested_when_it_is_quiet_and_when_it_fires() {
    let cases = yaml("tests/monitoring/rules_test.yaml")["tests"].as_array().expect("tests").clone();
    let cases: Vec<Value> =
        cases.iter().flat_map(|case| case["alert_rule_test"].as_array().expect("cases").clone()).collect();
    for rule in rules() {
        let name = text(&rule["alert"]);
        let fires =
            |case: &&Value| case["alertname"] == name && !case["exp_alerts"].as_array().expect("alerts").is_empty();
        let quiet =
            |case: &&Value| case["alertname"] == name && case["exp_alerts"].as_array().expect("alerts").is_empty();
        assert!(cases.iter().any(|case| fires(&case)) && cases.iter().any(|case| quiet(&case)), "{name}");
    }
}

#[test]
fn every_alert_has_its_page_and_every_page_its_alert() {
    let mut pages = BTreeSet::new();
    for rule in rules() {
        let (name, page) = (text(&rule["alert"]), text(&rule["annotations"]["runbook"]));
        assert!(read(&page).contains(&format!("`{name}`")), "{page} does not name {name}");
        assert!(matches!(text(&rule["labels"]["severity"]).as_str(), "warning" | "critical"), "{name}");
        assert!(pages.insert(page), "{name} has the page of another");
    }
    let folder = std::fs::read_dir(repository("docs/runbooks")).expect("the folder of runbooks");
    let there: BTreeSet<String> =
        folder.map(|file| format!("docs/runbooks/{}", file.unwrap().file_name().to_string_lossy())).collect();
    assert_eq!(pages, there);
}

#[test]
fn the_rules_are_printed_with_links_to_where_the_pages_can_be_read() {
    let print = |url: &[&str]| Command::new(repository("hack/rules")).args(url).output().expect("it can be run");
    let printed = print(&["https://git.example.com/releaseclosure/src/tag/v1/"]);
    let linked: Value = serde_saphyr::from_str(&String::from_utf8_lossy(&printed.stdout)).expect("rules");
    let mut expected = rules();
    for rule in &mut expected {
        let annotations = rule["annotations"].as_object_mut().expect("annotations");
        let page = text(&annotations.remove("runbook").expect("a page"));
        let link = format!("https://git.example.com/releaseclosure/src/tag/v1/{page}");
        annotations.insert("runbook_url".to_owned(), link.into());
    }
    assert_eq!(linked["groups"][0]["rules"].as_array(), Some(&expected));
    for bad in [&[][..], &["docs"], &["https://"], &["https://a|b"], &["https://a b"], &["https://a&b"]] {
        let refused = print(bad);
        assert!(refused.status.code() == Some(2) && refused.stdout.is_empty(), "{bad:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("usage: hack/rules URL"), "{bad:?}");
    }
}

/// A name that no series has would make an alert that never fires, and a panel that is always empty.
#[test]
fn rules_and_dashboard_ask_for_nothing_that_is_not_told() {
    let page = read("docs/metrics.md");
    let told: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let name = regex::Regex::new("releaseclosure_[a-z_]+").expect("a pattern");
    let (rules, dashboard) = (read("manifests/monitoring/rules.yaml"), read("manifests/monitoring/dashboard.json"));
    let mut asked = 0;
    for found in name.find_iter(&rules).chain(name.find_iter(&dashboard)) {
        let found = found.as_str();
        let family = ["_total", "_bucket", "_info"].iter().find_map(|end| found.strip_suffix(end)).unwrap_or(found);
        assert!(told.contains(family), "{found} is not in docs/metrics.md");
        asked += 1;
    }
    assert!(asked > 30, "{asked}");
}
