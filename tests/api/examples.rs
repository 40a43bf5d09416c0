//! The examples tell the stories that they say they tell.

use crate::support::controlplane::repository;
use releaseclosure::api::{ClosurePlaybook, ReleaseClosure, parse};
use releaseclosure::closure::ids::System;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn read<T: DeserializeOwned>(file: &str) -> T {
    let text = std::fs::read_to_string(repository("manifests/examples").join(file)).expect("an example");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The one record of a list that belongs to this release.
fn record<'a>(seed: &'a Value, list: &str, release: &str) -> &'a Value {
    let records = seed[list].as_array().unwrap_or_else(|| panic!("no {list}"));
    let mut of_release = records.iter().filter(|record| record["release"]["id"] == release);
    let record = of_release.next().unwrap_or_else(|| panic!("{release} has no record in {list}"));
    assert!(of_release.next().is_none(), "{release} has two records in {list}");
    record
}

#[test]
fn each_closure_differs_from_its_systems_in_what_its_story_says() {
    let seed: Value = read("sandbox-seed.yaml");
    let playbook: ClosurePlaybook = read("playbook.yaml");
    let playbook = parse::playbook(&playbook.spec).expect("a valid playbook");
    for (story, expected) in [
        ("clean", None),
        ("tracker-down", None),
        ("checklist-closed", Some("checklists: closed already")),
        ("milestone-renamed", Some("releases: milestone renamed")),
        ("review-reopened", Some("reviews: not accepted")),
    ] {
        let closure: ReleaseClosure = read(&format!("closure-{story}.yaml"));
        let accepted = parse::accepted(&closure.spec).expect("a valid closure");
        assert!(playbook.allows_service(&accepted.release().service), "{story}");
        let release = &accepted.release().id;
        let json = serde_json::to_value(&closure.spec).unwrap();
        let [review, bundle, checklist, tracker, entry] =
            ["reviews", "bundles", "checklists", "releases", "queueEntries"].map(|list| record(&seed, list, release));

        assert_eq!(review["id"], accepted.review().id, "{story}");
        assert_eq!(review["version"], accepted.review().version, "{story}");
        assert_eq!(review["acceptedEvent"]["id"], accepted.review().accepted_event.id, "{story}");
        for field in ["release", "milestone", "evidence"] {
            assert_eq!(review[field], json[field], "{story}: {field}");
        }
        assert_eq!(tracker["release"], json["release"], "{story}");
        assert_eq!(tracker["milestone"]["id"], json["milestone"]["id"], "{story}");
        assert_eq!((&bundle["bundle"], &bundle["digest"]), (&json["evidence"]["bundle"], &json["evidence"]["digest"]));
        let kinds: Vec<&str> =
            bundle["artifacts"].as_array().unwrap().iter().filter_map(|a| a["kind"].as_str()).collect();
        assert_eq!(kinds, playbook.rules.required_artifacts, "{story}");
        for (system, record) in [(System::Checklist, checklist), (System::Tracker, tracker), (System::Queue, entry)] {
            let named = accepted.record(system);
            assert!(named.is_none_or(|named| record["id"] == named), "{story}: {system}");
        }
        for record in [bundle, checklist, entry] {
            assert_eq!(record["review"]["version"], accepted.review().version, "{story}");
        }
        assert!(playbook.rules.approvable_states.iter().any(|state| tracker["state"] == **state), "{story}");
        assert_eq!(entry["state"], "Pending", "{story}");

        let stories = [
            (checklist["state"] != "Open", "checklists: closed already"),
            (tracker["milestone"] != json["milestone"], "releases: milestone renamed"),
            (!playbook.rules.accepted_states.iter().any(|state| review["state"] == **state), "reviews: not accepted"),
        ];
        let told: Vec<&str> = stories.into_iter().filter_map(|(so, what)| so.then_some(what)).collect();
        assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{story}");
    }
}
