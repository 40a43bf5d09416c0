//! The whole of what each shipped role may do, and nothing else.

use crate::cluster::{client, cluster, eventually, namespace};
use crate::support::controlplane::repository;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use std::collections::BTreeSet;

const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
const PLURALS: [&str; 7] = [
    "releaseclosures",
    "closureplaybooks",
    "systemconnections",
    "followuppackets",
    "acceptancefeeds",
    "clusterclosureplaybooks",
    "clustersystemconnections",
];

pub const OPERATOR: &str = "system:serviceaccount:releaseclosure-system:releaseclosure-operator";

/// Asks the server whether somebody may do something.
pub async fn may(user: &str, verb: &str, group: &str, resource: &str, namespace: &str, name: Option<&str>) -> bool {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (resource, None),
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.to_owned()),
            groups: user.strip_prefix("system:serviceaccount:").map(|account| {
                let own = account.split(':').next().unwrap_or_default();
                vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{own}")]
            }),
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource,
                namespace: Some(namespace.to_owned()),
                name: name.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(client(None).await);
    let answer = reviews.create(&PostParams::default(), &review).await.expect("the server answers");
    answer.status.is_some_and(|status| status.allowed)
}

/// Everything that somebody may do to our kinds, as `verb resource`.
async fn rights(user: &str, namespace: &str) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for plural in PLURALS {
        for resource in [plural.to_owned(), format!("{plural}/status")] {
            for verb in VERBS {
                if may(user, verb, "releaseclosure.io", &resource, namespace, None).await {
                    rights.insert(format!("{verb} {resource}"));
                }
            }
        }
    }
    rights
}

fn of(rows: &[(&[&str], &[&str])]) -> BTreeSet<String> {
    rows.iter()
        .flat_map(|(verbs, resources)| {
            resources.iter().flat_map(|resource| verbs.iter().map(move |verb| format!("{verb} {resource}")))
        })
        .collect()
}

const READ: [&str; 3] = ["get", "list", "watch"];

#[tokio::test]
async fn each_role_may_do_exactly_what_the_table_says() {
    let namespace = namespace("roles");
    let bind = |role: &str, user: &str| {
        let (clusterrole, user) = (format!("--clusterrole={role}"), format!("--user={user}"));
        cluster().kubectl(&["-n", namespace, "create", "rolebinding", role, &clusterrole, &user]);
    };
    let people = [
        ("releaseclosure-viewer", of(&[(&READ, &PLURALS)])),
        ("releaseclosure-submitter", of(&[(&["create", "patch", "delete"], &["releaseclosures"])])),
        (
            "releaseclosure-coordinator",
            of(&[
                (&READ, &PLURALS),
                (&["update", "patch", "delete"], &["followuppackets"]),
                (&["patch"], &["releaseclosures"]),
            ]),
        ),
        (
            "releaseclosure-admin",
            of(&[(
                &VERBS,
                &[
                    "closureplaybooks",
                    "systemconnections",
                    "acceptancefeeds",
                    "clusterclosureplaybooks",
                    "clustersystemconnections",
                ],
            )]),
        ),
    ];
    for (role, expected) in people {
        bind(role, role);
        eventually(role, async || !rights(role, namespace).await.is_empty()).await;
        assert_eq!(rights(role, namespace).await, expected, "{role}");
        assert_eq!(rights(role, "default").await, BTreeSet::new(), "{role} in a namespace it is not bound in");
    }
    let statuses = PLURALS.map(|plural| format!("{plural}/status"));
    let statuses = statuses.each_ref().map(String::as_str);
    let expected = of(&[
        (&["list", "watch"], &PLURALS),
        (&["get"], &["releaseclosures", "followuppackets", "acceptancefeeds"]),
        (&["update"], &statuses),
        (&["create"], &["followuppackets"]),
    ]);
    assert_eq!(rights(OPERATOR, namespace).await, expected, "the operator");
    // For feeds, one namespace is opened, and no other.
    let role = repository("manifests/components/open-namespace-feeds/role.yaml").display().to_string();
    cluster().kubectl(&["-n", namespace, "apply", "-f", &role]);
    let may = async || may(OPERATOR, "create", "releaseclosure.io", "releaseclosures", namespace, None).await;
    eventually("it is opened", may).await;
    let more = rights(OPERATOR, namespace).await;
    let more: Vec<&String> = more.difference(&expected).collect();
    assert_eq!(more, ["create releaseclosures"]);
    assert_eq!(rights(OPERATOR, "default").await, expected, "elsewhere");
}

#[tokio::test]
async fn the_operator_may_touch_nothing_else() {
    let namespace = namespace("elsewhere");
    let yes = [
        ("create", "events.k8s.io", "events", namespace, None),
        ("create", "coordination.k8s.io", "leases", "releaseclosure-system", None),
        // By their labels, what is given to many namespaces is given to some.
        ("list", "", "namespaces", "", None),
        ("watch", "", "namespaces", "", None),
        ("get", "coordination.k8s.io", "leases", "releaseclosure-system", Some("releaseclosure-operator")),
        ("update", "coordination.k8s.io", "leases", "releaseclosure-system", Some("releaseclosure-operator")),
    ];
    for (verb, group, resource, namespace, name) in yes {
        assert!(may(OPERATOR, verb, group, resource, namespace, name).await, "{verb} {resource} {name:?}");
    }
    assert!(!may(OPERATOR, "update", "coordination.k8s.io", "leases", "releaseclosure-system", Some("other")).await);
    assert!(!may(OPERATOR, "create", "coordination.k8s.io", "leases", namespace, None).await);
    assert!(!may(OPERATOR, "patch", "events.k8s.io", "events", namespace, None).await);
    for verb in VERBS.iter().filter(|verb| !["list", "watch"].contains(verb)) {
        assert!(!may(OPERATOR, verb, "", "namespaces", "", None).await, "{verb} namespaces");
    }
    for verb in VERBS {
        for (group, resource) in [
            ("", "secrets"),
            ("", "configmaps"),
            ("", "pods"),
            ("", "pods/exec"),
            ("", "serviceaccounts/token"),
            ("apps", "deployments"),
            ("apps", "deployments/scale"),
            ("batch", "jobs"),
            ("rbac.authorization.k8s.io", "clusterroles"),
            ("rbac.authorization.k8s.io", "rolebindings"),
            ("apiextensions.k8s.io", "customresourcedefinitions"),
            ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
        ] {
            for namespace in [namespace, "releaseclosure-system", "kube-system"] {
                assert!(
                    !may(OPERATOR, verb, group, resource, namespace, None).await,
                    "{verb} {resource} in {namespace}"
                );
            }
        }
    }
}
