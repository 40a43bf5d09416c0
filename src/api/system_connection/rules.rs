//! The rules that hold between fields of a connection.

use crate::api::rule;
use serde_json::{Value, json};

/// The products there are settings for, by their field.
const PRODUCTS: [&str; 12] =
    ["http", "gitea", "github", "redmine", "jira", "objectStore", "oci", "nats", "cloudEvents", "slack", "smtp", "sqs"];
/// Where each of them has an endpoint by HTTP.
const ENDPOINTS: [&[&str]; 11] = [
    &["http"],
    &["gitea"],
    &["github"],
    &["redmine"],
    &["jira"],
    &["objectStore", "s3"],
    &["objectStore", "gcs"],
    &["objectStore", "azure"],
    &["oci"],
    &["cloudEvents"],
    &["slack"],
];

pub(super) fn connection_rules() -> Value {
    let given = PRODUCTS.map(|product| format!("(has(self.{product}) ? 1 : 0)")).join(" + ");
    let mut rules = vec![rule(
        &format!("{given} == 1"),
        &format!("exactly one product must be given; this release knows {}", PRODUCTS.join(", ")),
        None,
    )];
    for holder in ENDPOINTS {
        let paths = (1..=holder.len()).map(|length| holder[..length].join("."));
        let absent: String = paths.map(|path| format!("!has(self.{path}) || ")).collect();
        let path = holder.join(".");
        rules.push(rule(
            &format!("{absent}self.{path}.endpoint.startsWith('https://') || self.allowPlaintext"),
            "http:// sends the token in the clear; where that is meant, set allowPlaintext: true",
            Some(&format!(".{path}.endpoint")),
        ));
    }
    rules.push(rule(
        "!has(self.smtp) || !has(self.smtp.encryption) || self.smtp.encryption != 'None' || self.allowPlaintext",
        "None sends the password and the mail in the clear; where that is meant, set allowPlaintext: true",
        Some(".smtp.encryption"),
    ));
    rules.push(rule(
        "!has(self.nats) || self.nats.endpoint.startsWith('tls://') || self.allowPlaintext",
        "nats:// sends the credentials in the clear; where that is meant, set allowPlaintext: true",
        Some(".nats.endpoint"),
    ));
    rules.push(rule(
        "!has(self.oci) || !has(self.oci.tokenEndpoint) || self.oci.tokenEndpoint.startsWith('https://') || self.allowPlaintext",
        "http:// sends the password in the clear; where that is meant, set allowPlaintext: true",
        Some(".oci.tokenEndpoint"),
    ));
    rules.push(rule(
        "!has(self.sqs) || self.sqs.queueUrl.startsWith('https://') || self.allowPlaintext",
        "http:// sends the handoff in the clear; where that is meant, set allowPlaintext: true",
        Some(".sqs.queueUrl"),
    ));
    rules.push(rule(
        "!has(self.links) || self.links.record.startsWith('https://') || self.allowPlaintext",
        "must be https",
        Some(".links.record"),
    ));
    Value::Array(rules)
}

pub(super) fn one_store() -> Value {
    let given = "(has(self.s3) ? 1 : 0) + (has(self.gcs) ? 1 : 0) + (has(self.azure) ? 1 : 0)";
    json!([rule(&format!("{given} == 1"), "exactly one of s3, gcs and azure must be given", None)])
}

pub(super) fn oci_rules() -> Value {
    json!([rule(
        "has(self.usernameSecretRef) == has(self.passwordSecretRef)",
        "usernameSecretRef and passwordSecretRef go together",
        None
    )])
}

pub(super) fn nats_rules() -> Value {
    let ways =
        "(has(self.userSecretRef) ? 1 : 0) + (has(self.tokenSecretRef) ? 1 : 0) + (has(self.credsSecretRef) ? 1 : 0)";
    json!([
        rule(
            "has(self.intake) || has(self.queue) || has(self.events)",
            "at least one of intake, queue and events must be given",
            None
        ),
        rule(
            "has(self.userSecretRef) == has(self.passwordSecretRef)",
            "userSecretRef and passwordSecretRef go together",
            None
        ),
        rule(&format!("{ways} <= 1"), "at most one of userSecretRef, tokenSecretRef and credsSecretRef", None),
    ])
}

pub(super) fn role_rules() -> Value {
    json!([rule(
        "!('FollowUp' in self) || size(self) == 1",
        "FollowUp stands alone: a channel of its own, whose limits no closure shares",
        None
    )])
}

pub(super) fn template_rules() -> Value {
    json!([rule("self.contains('{id}')", "must contain {id}, where the record's id goes", None)])
}
