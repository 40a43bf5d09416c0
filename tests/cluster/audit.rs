//! What an account asked an API server, by that server's own audit log.

use serde_json::Value;
use std::path::Path;

/// One request of an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// As roles name it.
    pub verb: String,
    /// `resource.group` or `resource/subresource.group`; `.` where it is about no object.
    pub what: String,
    /// Empty where it is about all of them.
    pub namespace: String,
    /// Empty where it is about no object, or about one that is to be made.
    pub name: String,
    /// Of the reply.
    pub status: u64,
}

/// Every request of an account so far. A watch has two entries, of which the first counts.
pub fn read(log: &Path, account: &str) -> Vec<Asked> {
    let log = std::fs::read_to_string(log).expect("the audit log can be read");
    let named = log.lines().filter(|line| line.contains(account));
    let entries = named.map(|line| serde_json::from_str::<Value>(line).expect("an entry is JSON"));
    let own = entries.filter(|entry| entry["user"]["username"] == account);
    own.filter(|entry| entry["verb"] != "watch" || entry["stage"] == "ResponseStarted")
        .map(|entry| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let object = &entry["objectRef"];
            let (group, resource) = (text(&object["apiGroup"]), text(&object["resource"]));
            let what = match object["subresource"].as_str() {
                Some(subresource) => format!("{resource}/{subresource}.{group}"),
                None => format!("{resource}.{group}"),
            };
            Asked {
                verb: text(&entry["verb"]),
                what,
                namespace: text(&object["namespace"]),
                name: text(&object["name"]),
                status: entry["responseStatus"]["code"].as_u64().unwrap_or_default(),
            }
        })
        .collect()
}
