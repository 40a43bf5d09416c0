//! Made-up releases, consistent over all six systems, for load tests.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::seed::Seed;

/// How many releases to make up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Generate {
    /// How many.
    pub count: usize,
    /// What the releases' ids begin with.
    #[serde(default = "load")]
    pub prefix: String,
    /// The first one's number.
    #[serde(default = "one")]
    pub first: usize,
}

fn load() -> String {
    "load".to_owned()
}

fn one() -> usize {
    1
}

/// `count` releases from `load-00001` on, ready to be closed.
pub fn generate(count: usize) -> Seed {
    releases(&Generate { count, prefix: load(), first: one() })
}

/// The releases that are wished for. Ids other than the release's, the review's and the bundle's are made of the number
/// alone, so two wishes with overlapping numbers do not go together, whatever their prefixes.
pub(super) fn releases(wish: &Generate) -> Seed {
    let Generate { count, prefix, first } = wish;
    let mut seed = Seed::default();
    for number in (*first..).take(*count) {
        add(&mut seed, prefix, number);
    }
    seed
}

fn add(seed: &mut Seed, prefix: &str, number: usize) {
    let id = format!("{prefix}-{number:05}");
    let release = json!({"id": id, "service": prefix, "version": format!("1.0.{number}")});
    let milestone = json!({"id": format!("m-{number:05}"), "title": format!("M {number:05}")});
    let bundle = format!("{prefix}/{number:05}/rv1");
    let url = format!("https://archive.example.com/{bundle}");
    let artifact = |kind: &str| {
        json!({"name": format!("{kind}.pdf"), "kind": kind, "digest": digest(&format!("{bundle}/{kind}")),
            "url": format!("{url}/{kind}.pdf")})
    };
    seed.reviews.push(json!({
        "id": format!("RR-{id}"), "version": "1", "state": "Accepted", "release": release, "milestone": milestone,
        "evidence": {"bundle": bundle, "digest": digest(&bundle)}, "acceptedEvent": {"id": format!("evt-{number:05}")},
    }));
    seed.bundles.push(json!({
        "bundle": bundle, "digest": digest(&bundle), "release": {"id": id}, "review": {"version": "1"}, "url": url,
        "artifacts": [artifact("rollback-notes"), artifact("sign-off"), artifact("review-packet")],
    }));
    seed.checklists.push(json!({
        "id": format!("CHK-{number:05}"), "release": {"id": id}, "review": {"version": "1"}, "state": "Open", "closure": null,
        "items": [
            {"id": "rollback", "title": "Rollback rehearsed", "done": true},
            {"id": "sign-off", "title": "Sign-off collected", "done": true},
        ],
    }));
    seed.releases.push(json!({
        "id": format!("REL-{number:05}"), "release": release, "state": "InReview", "milestone": milestone, "evidence": [],
        "closure": null,
    }));
    seed.queue_entries.push(json!({
        "id": format!("Q-{number:05}"), "release": {"id": id}, "review": {"version": "1"}, "state": "Pending", "closure": null,
    }));
}

/// A digest in the form that the archive gives: of the name, there being no content.
fn digest(name: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(name.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_releases_are_good_seeds_and_agree_with_each_other() {
        let seed = generate(3).complete().expect("good records");
        assert_eq!(seed.reviews.len(), 3);
        assert_eq!(seed.reviews[0]["id"], "RR-load-00001");
        assert_eq!(seed.reviews[0]["evidence"]["digest"], seed.bundles[0]["digest"]);
        assert_eq!(seed.bundles[0]["bundle"], "load/00001/rv1");
        assert_eq!(seed.releases[2]["id"], "REL-00003");
        assert_eq!(seed.releases[2]["milestone"], seed.reviews[2]["milestone"]);
    }

    #[test]
    fn releases_beside_others_have_other_numbers() {
        let yaml = "generate: {count: 2, prefix: soak, first: 9}";
        let seed = Seed::from_yaml(yaml).and_then(Seed::complete).expect("good records");
        assert_eq!(seed.checklists[1]["release"]["id"], "soak-00010");
    }
}
