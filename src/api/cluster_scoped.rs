//! `ClusterSystemConnection` and `ClusterClosurePlaybook`: what an administrator gives to the namespaces of many teams at
//! once. Each is its namespaced kind and a selector of namespaces; a team that is not selected can use neither.

use super::closure_playbook::{ClosurePlaybookSpec, ClosurePlaybookStatus};
use super::system_connection::{SystemConnectionSpec, SystemConnectionStatus};
use super::{LABEL_PATTERN, LABEL_VALUE_PATTERN, rule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::CustomResource;
use kube::core::{Selector, SelectorExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One approved system for the namespaces that are selected. Its Secrets are in the operator's own namespace.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "releaseclosure.io",
    version = "v1alpha1",
    kind = "ClusterSystemConnection",
    plural = "clustersystemconnections",
    singular = "clustersystemconnection",
    shortname = "csysconn",
    status = "SystemConnectionStatus",
    derive = "PartialEq",
    doc = "One approved system that closures of the selected namespaces may read or change. Its Secrets are in the \
           operator's own namespace. Owned by the cluster's administrators.",
    printcolumn(name = "Provider", type_ = "string", json_path = ".status.provider"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSystemConnectionSpec {
    /// The namespaces whose playbooks and closures may use it; {} selects all of them.
    pub namespace_selector: NamespaceSelector,
    /// As of a `SystemConnection`.
    #[serde(flatten)]
    pub connection: SystemConnectionSpec,
}

/// Rules for the closures of the namespaces that are selected. It names cluster connections alone.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "releaseclosure.io",
    version = "v1alpha1",
    kind = "ClusterClosurePlaybook",
    plural = "clusterclosureplaybooks",
    singular = "clusterclosureplaybook",
    shortname = "ccpb",
    status = "ClosurePlaybookStatus",
    derive = "PartialEq",
    doc = "The approved systems that closures of the selected namespaces may touch, and the rules they are closed by. Owned \
           by the cluster's administrators.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cluster_connections_alone()))]
pub struct ClusterClosurePlaybookSpec {
    /// The namespaces whose closures and feeds may use it; {} selects all of them.
    pub namespace_selector: NamespaceSelector,
    /// As of a `ClosurePlaybook`.
    #[serde(flatten)]
    pub playbook: ClosurePlaybookSpec,
}

/// Namespaces by their labels. All that is given must hold; where nothing is given, every namespace is selected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels with exactly these values. The API server gives every namespace kubernetes.io/metadata.name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        length(max = 16),
        extend("maxProperties" = 16, "x-kubernetes-validations" = label_keys(), "additionalProperties" = {
            "type": "string",
            "maxLength": 63,
            "pattern": LABEL_VALUE_PATTERN,
        })
    )]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements on labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<NamespaceRequirement>,
}

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = operator_rules()))]
pub struct NamespaceRequirement {
    /// The label's key.
    #[schemars(length(min = 1, max = 317), regex(pattern = LABEL_PATTERN))]
    pub key: String,
    /// How its value stands to `values`.
    pub operator: NamespaceOperator,
    /// The values; given with In and NotIn, and with these alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 63), regex(pattern = LABEL_VALUE_PATTERN)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub values: Vec<String>,
}

/// How a label's value stands to values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum NamespaceOperator {
    /// It is one of them.
    In,
    /// It is none of them, or there is no such label.
    NotIn,
    /// There is such a label.
    Exists,
    /// There is none.
    DoesNotExist,
}

impl NamespaceSelector {
    /// Whether a namespace with these labels is selected. A selector that cannot be understood selects none.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let requirement = |requirement: &NamespaceRequirement| LabelSelectorRequirement {
            key: requirement.key.clone(),
            operator: format!("{:?}", requirement.operator),
            values: Some(requirement.values.clone()),
        };
        let selector = LabelSelector {
            match_labels: Some(self.match_labels.clone()),
            match_expressions: Some(self.match_expressions.iter().map(requirement).collect()),
        };
        Selector::try_from(selector).is_ok_and(|selector| selector.matches(labels))
    }
}

fn label_keys() -> Value {
    json!([rule(
        &format!("self.all(key, size(key) <= 317 && key.matches('{LABEL_PATTERN}'))"),
        "each key must be a label's: a name, or a domain, a slash and a name",
        None,
    )])
}

fn operator_rules() -> Value {
    json!([rule(
        "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
        "values are given with In and NotIn, and with these alone",
        Some(".values"),
    )])
}

fn cluster_connections_alone() -> Value {
    let of = |role: &str| format!("self.{role}.connectionRef.kind == 'ClusterSystemConnection'");
    let six = ["governance", "archive", "checklist", "tracker", "queue", "intake"].map(of).join(" && ");
    json!([rule(
        &format!("{six} && (!has(self.followUp) || {})", of("followUp")),
        "a playbook for many namespaces names connections of kind ClusterSystemConnection alone",
        None,
    )])
}
