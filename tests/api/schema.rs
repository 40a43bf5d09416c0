//! What holds of the schemas whatever server reads them.

use releaseclosure::api::crds;
use serde_json::Value;

/// Visits every node of a schema with its path; the nodes of `metadata` belong to somebody else.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], visit);
    }
    if schema["additionalProperties"].is_object() {
        walk(&format!("{path}{{}}"), &schema["additionalProperties"], visit);
    }
}

fn each_node(mut visit: impl FnMut(&str, &Value)) {
    for definition in crds() {
        let definition = serde_json::to_value(definition).unwrap();
        for version in definition["spec"]["versions"].as_array().unwrap() {
            let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
            walk(kind, &version["schema"]["openAPIV3Schema"], &mut visit);
        }
    }
}

#[test]
fn everything_is_bounded() {
    let mut nodes = 0;
    each_node(|path, schema| {
        nodes += 1;
        match schema["type"].as_str().unwrap_or_else(|| panic!("{path} has no type")) {
            "string" => {
                assert!(schema["enum"].is_array() || schema["maxLength"].is_number(), "{path} has no maxLength");
            }
            "array" => {
                assert!(schema["maxItems"].is_number(), "{path} has no maxItems");
                assert!(schema["x-kubernetes-list-type"].is_string(), "{path} has no list type");
            }
            "object" if schema["additionalProperties"].is_object() => {
                assert!(schema["maxProperties"].is_number(), "{path} has no maxProperties");
            }
            "object" => assert!(schema["properties"].is_object(), "{path} has no properties"),
            "integer" => assert_eq!(schema["format"], "int64", "{path} has a width that no server knows"),
            "boolean" => {}
            other => panic!("{path} is of type {other}"),
        }
        for loose in ["nullable", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "anyOf"] {
            assert!(schema[loose].is_null(), "{path} has {loose}");
        }
    });
    assert!(nodes > 200, "only {nodes} nodes were seen");
}

#[test]
fn every_field_is_described() {
    each_node(|path, schema| {
        if path.ends_with(".metadata") || path.ends_with("[]") || path.ends_with("{}") {
            return;
        }
        let description = schema["description"].as_str().unwrap_or_default();
        assert!(description.len() > 5 && description.ends_with(['.', '!']), "{path}: {description:?}");
    });
}

#[test]
fn every_rule_says_what_is_wrong() {
    let mut rules = 0;
    each_node(|path, schema| {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            rules += 1;
            assert!(rule["message"].as_str().is_some_and(|message| message.len() > 10), "{path}: {rule}");
        }
    });
    assert!(rules > 30, "only {rules} rules were seen");
}

#[test]
fn a_category_is_no_kind() {
    for definition in crds() {
        let names = definition.spec.names;
        for category in names.categories.into_iter().flatten() {
            for other in crds() {
                let other = other.spec.names;
                let mut taken = vec![other.plural, other.singular.unwrap_or_default()];
                taken.extend(other.short_names.unwrap_or_default());
                assert!(!taken.contains(&category), "{category} is a name of {}", other.kind);
            }
        }
    }
}
