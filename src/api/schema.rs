//! What a cluster's definitions lack of what this program was built with, and the other way round.
//!
//! An API server drops a field that its definition does not know, without a word, and refuses a value that the definition does not
//! list. So what counts is not a version that somebody wrote on a definition, but the schema that is in force.

use super::{VERSION, crds};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;
use std::collections::BTreeSet;

/// Differences that are told at most; what is left out is counted.
const TOLD_MAX: usize = 5;

/// How a cluster's definitions stand to this program's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// What they lack: a field, a value or the room for it, each as `kind.path`.
    pub lacking: Vec<String>,
    /// What they have that this program does not know.
    pub unknown: Vec<String>,
}

impl Compared {
    /// In a sentence what is lacking, where something is.
    #[must_use]
    pub fn outdated(&self) -> Option<String> {
        let (first, rest) = self.lacking.split_at(self.lacking.len().min(TOLD_MAX));
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        (!first.is_empty()).then(|| {
            format!(
                "The cluster's definitions lack {}{more}: apply those of this version (releaseclosure crds).",
                first.join(", ")
            )
        })
    }
}

/// The names of the definitions.
#[must_use]
pub fn names() -> Vec<String> {
    crds().into_iter().filter_map(|definition| definition.metadata.name).collect()
}

/// Compares the definitions of a cluster with those of this program. One that is not there lacks everything.
#[must_use]
pub fn compare(of_cluster: &[CustomResourceDefinition]) -> Compared {
    let mut compared = Compared::default();
    for ours in crds() {
        let kind = ours.spec.names.kind.clone();
        let theirs = of_cluster.iter().find(|theirs| theirs.metadata.name == ours.metadata.name);
        let Some(theirs) = theirs.and_then(schema) else {
            compared.lacking.push(kind);
            continue;
        };
        let Some(ours) = schema(&ours) else { continue };
        lacks(&kind, &ours, &theirs, &mut compared.lacking);
        lacks(&kind, &theirs, &ours, &mut compared.unknown);
    }
    compared
}

fn schema(definition: &CustomResourceDefinition) -> Option<Value> {
    let version = definition.spec.versions.iter().find(|version| version.name == VERSION && version.served)?;
    serde_json::to_value(version.schema.as_ref()?.open_api_v3_schema.as_ref()?).ok()
}

/// What `wanted` lets in and `there` drops or refuses.
fn lacks(at: &str, wanted: &Value, there: &Value, told: &mut Vec<String>) {
    if there["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    for (name, wanted) in wanted["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match &there["properties"][name] {
            Value::Null => told.push(at),
            there => lacks(&at, wanted, there, told),
        }
    }
    if let Some(values) = there["enum"].as_array() {
        let known: BTreeSet<String> = values.iter().map(Value::to_string).collect();
        let wanted = wanted["enum"].as_array().into_iter().flatten();
        told.extend(wanted.filter(|value| !known.contains(&value.to_string())).map(|value| format!("{at}={value}")));
    }
    for most in ["maxLength", "maxItems", "maxProperties", "maximum"] {
        if let Some(there) = there[most].as_f64()
            && wanted[most].as_f64().is_none_or(|wanted| wanted > there)
        {
            told.push(format!("{at} ({most})"));
        }
    }
    for (word, shown) in [("items", "[]"), ("additionalProperties", "{}")] {
        if wanted[word].is_object() && there[word].is_object() {
            lacks(&format!("{at}{shown}"), &wanted[word], &there[word], told);
        }
    }
}

/// The first field of `read`, as it came from the API server, that is not in `known`, which is all that this program made of it.
#[must_use]
pub fn unread(read: &Value, known: &Value) -> Option<String> {
    match (read, known) {
        (Value::Object(read), Value::Object(known)) => read.iter().find_map(|(name, value)| match known.get(name) {
            None if value.is_null() => None,
            None => Some(name.clone()),
            Some(known) => unread(value, known).map(|rest| format!("{name}.{rest}")),
        }),
        (Value::Array(read), Value::Array(known)) => {
            read.iter().zip(known).find_map(|(value, known)| unread(value, known))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn its_own_definitions_lack_nothing() {
        assert_eq!(compare(&crds()), Compared::default());
        assert_eq!(names().len(), 7);
    }

    #[test]
    fn what_is_dropped_or_refused_is_lacking_and_what_is_let_in_is_not() {
        let ours = json!({"properties": {"status": {"properties": {
            "word": {"type": "string", "maxLength": 10, "enum": ["a", "b"]},
            "list": {"type": "array", "items": {"properties": {"id": {}, "at": {}}}},
        }}}});
        let with = |path: &str, value: Value| {
            let mut there = ours.clone();
            *there.pointer_mut(path).unwrap() = value;
            let mut told = Vec::new();
            lacks("K", &ours, &there, &mut told);
            told
        };
        let status = "/properties/status/properties";
        for (path, value, told) in [
            ("/word/maxLength", json!(9), "K.status.word (maxLength)"),
            ("/word/enum", json!(["a"]), "K.status.word=\"b\""),
            ("/list/items/properties", json!({"id": {}}), "K.status.list[].at"),
            ("/list", Value::Null, "K.status.list"),
        ] {
            assert_eq!(with(&format!("{status}{path}"), value), [told]);
        }
        assert_eq!(with(&format!("{status}/word/maxLength"), json!(11)), Vec::<String>::new());
        assert_eq!(with(&format!("{status}/word/enum"), json!(["a", "b", "c"])), Vec::<String>::new());
        assert_eq!(
            with("/properties/status", json!({"x-kubernetes-preserve-unknown-fields": true})),
            Vec::<String>::new()
        );
    }

    #[test]
    fn the_first_field_that_was_not_read_is_named() {
        let known = json!({"a": 1, "list": [{"b": 1}, {"b": 2}]});
        assert_eq!(unread(&known, &known), None);
        assert_eq!(unread(&json!({"a": 1, "list": [{"b": 1}, {"b": 2, "c": 3}]}), &known).unwrap(), "list.c");
        assert_eq!(unread(&json!({"a": 1, "d": null}), &known), None);
    }
}
