//! `SystemConnection`: one approved system, and what may be relied on there. Owned by the cluster's administrators.

use super::closure_playbook::within;
use super::conditions::{self, Condition};
use super::parse::DURATION_PATTERN;
use super::{NAME_PATTERN, UNOBSERVED, unobserved};
use crate::closure::decide::Delivery;
use crate::closure::ids::System;
pub use crate::products::{
    CloudEvents, GitHub, Gitea, Http, Jira, Nats, ObjectStore, Oci, Redmine, SecretKeyRef, Slack, Smtp, Sqs,
};
use crate::roles::{Abilities, Concurrency};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

mod rules;

use rules::*;

/// A link for people. The host is a fixed one: no record's id can name another.
const TEMPLATE_PATTERN: &str = r"^https?://[A-Za-z0-9._:\[\]-]+/[!-~]*$";

/// One approved system: where it is, how to get in, and in which roles it may be used.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "releaseclosure.io",
    version = "v1alpha1",
    kind = "SystemConnection",
    plural = "systemconnections",
    singular = "systemconnection",
    shortname = "sysconn",
    namespaced,
    status = "SystemConnectionStatus",
    derive = "PartialEq",
    doc = "One approved system that closures may read or change: where it is, how to get in, and in which roles it may be \
           used. Owned by the cluster's administrators.",
    printcolumn(name = "Provider", type_ = "string", json_path = ".status.provider"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = connection_rules()))]
pub struct SystemConnectionSpec {
    /// The roles in which playbooks may use it.
    #[schemars(
        length(min = 1, max = 6),
        extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = role_rules())
    )]
    pub allowed_roles: Vec<Role>,
    /// A system that speaks the closure HTTP contract. Exactly one product is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// Issues of a repository in Gitea or Forgejo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitea: Option<Gitea>,
    /// Issues of a repository in GitHub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github: Option<GitHub>,
    /// Issues of a project in Redmine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redmine: Option<Redmine>,
    /// Issues of a project in Jira, in the cloud or in a Data Center.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jira: Option<Jira>,
    /// A receiver of CloudEvents over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_events: Option<CloudEvents>,
    /// A channel of a Slack workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<Slack>,
    /// Mail over a submission server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<Smtp>,
    /// A FIFO queue in Amazon SQS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqs: Option<Sqs>,
    /// A bucket with evidence bundles: S3, Google Cloud Storage, Azure Blob Storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = one_store()))]
    pub object_store: Option<ObjectStore>,
    /// A repository with evidence bundles in an OCI registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = oci_rules()))]
    pub oci: Option<Oci>,
    /// NATS JetStream. In builds with the feature nats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = nats_rules()))]
    pub nats: Option<Nats>,
    /// How to know the system, and to be known by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How much of the system this operator may take up, all closures together.
    #[serde(default)]
    pub limits: Limits,
    /// Links for people's eyes in packets. Never fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Links>,
    /// Whether http:// may be used.
    #[serde(default)]
    pub allow_plaintext: bool,
}

impl SystemConnectionSpec {
    /// Everywhere that requests go, as URLs, whatever the product. None where no product is given, or what is given is no place.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        // Every field by its name, so that no product is forgotten.
        let SystemConnectionSpec {
            allowed_roles: _,
            http,
            gitea,
            github,
            redmine,
            jira,
            cloud_events,
            slack,
            smtp,
            sqs,
            object_store,
            oci,
            nats,
            tls: _,
            limits: _,
            links: _,
            allow_plaintext: _,
        } = self;
        let mail = smtp.as_ref().map(|smtp| format!("smtp://{}:{}", smtp.host, smtp.port()));
        let store = object_store.as_ref().and_then(ObjectStore::base);
        let all = [
            http.as_ref().map(|http| http.endpoint.as_str()),
            gitea.as_ref().map(|gitea| gitea.endpoint.as_str()),
            github.as_ref().map(|github| github.endpoint.as_str()),
            redmine.as_ref().map(|redmine| redmine.endpoint.as_str()),
            jira.as_ref().map(|jira| jira.endpoint.as_str()),
            cloud_events.as_ref().map(|events| events.endpoint.as_str()),
            slack.as_ref().map(|slack| slack.endpoint.as_str()),
            sqs.as_ref().and_then(Sqs::endpoint),
            store.as_deref(),
            oci.as_ref().map(|oci| oci.endpoint.as_str()),
            oci.as_ref().and_then(|oci| oci.token_endpoint.as_deref()),
            nats.as_ref().map(|nats| nats.endpoint.as_str()),
            mail.as_deref(),
        ];
        all.into_iter().flatten().map(str::to_owned).collect()
    }

    /// Where the bearer token, or what it is fetched with, is, whatever the product.
    #[must_use]
    pub fn token_secret_ref(&self) -> Option<&SecretKeyRef> {
        let SystemConnectionSpec { http, gitea, github, redmine, jira, cloud_events, slack, smtp, .. } = self;
        let all = [
            http.as_ref().map(|http| &http.token_secret_ref),
            gitea.as_ref().map(|gitea| &gitea.token_secret_ref),
            github.as_ref().and_then(GitHub::secret_ref),
            redmine.as_ref().map(|redmine| &redmine.token_secret_ref),
            jira.as_ref().map(|jira| &jira.token_secret_ref),
            cloud_events.as_ref().and_then(|events| events.token_secret_ref.as_ref()),
            slack.as_ref().map(|slack| &slack.token_secret_ref),
            smtp.as_ref().and_then(|smtp| smtp.password_secret_ref.as_ref()),
        ];
        all.into_iter().flatten().next()
    }

    /// What else of Secrets the product needs, by what each is for.
    #[must_use]
    pub fn secret_refs(&self) -> Vec<(&'static str, &SecretKeyRef)> {
        let SystemConnectionSpec { object_store, oci, nats, sqs, .. } = self;
        let store = object_store.iter().flat_map(ObjectStore::secret_refs);
        let registry = oci.iter().flat_map(Oci::secret_refs);
        let queue = sqs.iter().flat_map(Sqs::secret_refs);
        store.chain(registry).chain(queue).chain(nats.iter().flat_map(Nats::secret_refs)).collect()
    }
}

/// The roles of systems, as they are spelled in objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Role {
    /// Holds the accepted decision. Only read.
    Governance,
    /// Holds the evidence. Only read.
    Archive,
    /// Holds the readiness checklist.
    Checklist,
    /// Holds the tracker record.
    Tracker,
    /// Holds the queue entry.
    Queue,
    /// Takes the handoff.
    Intake,
    /// Takes what people are told of halts. Stands alone: what happens there shall not touch a closure's steps.
    FollowUp,
}

impl Role {
    /// The system of the six whose adapters play it.
    #[must_use]
    pub const fn system(self) -> System {
        match self {
            Role::Governance => System::Governance,
            Role::Archive => System::Archive,
            Role::Checklist => System::Checklist,
            Role::Tracker => System::Tracker,
            Role::Queue => System::Queue,
            // Whatever is able to take a handoff is able to take this.
            Role::Intake | Role::FollowUp => System::Intake,
        }
    }
}

impl From<System> for Role {
    fn from(system: System) -> Role {
        match system {
            System::Governance => Role::Governance,
            System::Archive => Role::Archive,
            System::Checklist => Role::Checklist,
            System::Tracker => Role::Tracker,
            System::Queue => Role::Queue,
            System::Intake => Role::Intake,
        }
    }
}

/// A Secret of type kubernetes.io/tls in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct CertificateRef {
    /// Name of the Secret; its keys are tls.crt and tls.key.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub name: String,
}

/// How to know the system, and to be known by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// The authorities to believe instead of the public ones, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// The certificate to show, and its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_secret_ref: Option<CertificateRef>,
}

/// How much of a system this operator may take up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Requests in one second, 1 to 1000.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 1000))]
    pub requests_per_second: u32,
    /// Requests under way at once, 1 to 64.
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 64))]
    pub concurrency: u32,
    /// How long one request may take, 1s to 12s: a write must end well before the lease of 15s that it is made under.
    #[serde(default = "ten_seconds")]
    #[schemars(
        length(min = 2, max = 16),
        regex(pattern = DURATION_PATTERN),
        extend("x-kubernetes-validations" = within("1s", "12s"))
    )]
    pub timeout: String,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { requests_per_second: twenty(), concurrency: eight(), timeout: ten_seconds() }
    }
}

/// Links for people's eyes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Links {
    /// Where a person finds a record: https, with {id} where its id goes.
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = TEMPLATE_PATTERN),
        extend("x-kubernetes-validations" = template_rules())
    )]
    pub record: String,
}

/// What was found out about the system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = json!({ "observedGeneration": UNOBSERVED })))]
pub struct SystemConnectionStatus {
    /// Generation of the spec that this status answers; -1 before the first answer.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,
    /// The product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub provider: Option<String>,
    /// Ready: it answers, and accepts the credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::schema")]
    pub conditions: Vec<Condition>,
    /// What may be relied on, per role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 6),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["role"])
    )]
    pub roles: Vec<RoleStatus>,
}

impl Default for SystemConnectionStatus {
    fn default() -> Self {
        SystemConnectionStatus {
            observed_generation: UNOBSERVED,
            provider: None,
            conditions: Vec::new(),
            roles: Vec::new(),
        }
    }
}

/// What may be relied on in one role.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleStatus {
    /// The role.
    pub role: Role,
    /// How writes are protected against somebody else's change; ReadVerifyWrite and Serialized leave a race window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// The fields that this protection does not cover, as dotted paths in the contract's record: for these, too, a race window is
    /// left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    pub unguarded: Vec<String>,
    /// Whether records carry a marker, so that who changed them can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<bool>,
    /// The fields its records carry, as dotted paths in the contract's record. Others are not compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    pub carries: Vec<String>,
    /// As intake or follow-up channel: what it does with the same announcement sent twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// As intake: how long it keeps keys; left out: as long as handoffs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = DURATION_PATTERN))]
    pub window: Option<String>,
}

impl RoleStatus {
    /// What an adapter says it is able to do in this role.
    #[must_use]
    pub fn new(role: Role, abilities: &Abilities) -> RoleStatus {
        let Abilities { concurrency, unguarded, marker, carries, delivery, window, can_look_up: _ } = abilities;
        RoleStatus {
            role,
            concurrency: *concurrency,
            unguarded: unguarded.iter().map(|&field| field.to_owned()).collect(),
            marker: *marker,
            carries: carries.iter().map(|&field| field.to_owned()).collect(),
            delivery: *delivery,
            window: window.map(|window| format!("{}s", window.as_secs())),
        }
    }
}

const fn twenty() -> u32 {
    20
}
const fn eight() -> u32 {
    8
}
fn ten_seconds() -> String {
    "10s".to_owned()
}
