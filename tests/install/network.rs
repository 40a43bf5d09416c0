//! The list of what the operator may reach, made from the connections of a cluster.

use crate::support::controlplane::{ControlPlane, repository};
use serde_json::{Value, json};
use std::process::{Command, Output};

/// A cluster with connections of several kinds, and with an API server that has an address.
fn connected() -> ControlPlane {
    let plane = ControlPlane::start();
    plane.install_crds();
    plane.kubectl(&["apply", "--server-side", "-k", &repository(".").display().to_string()]);
    let token = json!({"name": "token", "key": "token"});
    let connection = |name: &str, role: &str, product: &str, settings: Value| {
        json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "SystemConnection",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"allowedRoles": [role], "allowPlaintext": true, product: settings}})
    };
    let http = |endpoint: &str| json!({"endpoint": endpoint, "tokenSecretRef": token});
    let mail = json!({"host": "mail.example.com", "from": "a@example.com", "to": ["b@example.com"]});
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "endpoints": [{"addresses": ["192.0.2.7"]}], "ports": [{"name": "https", "port": 6443}]});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        connection("outside", "Tracker", "http", http("https://tracker.example.com/closure/v1")),
        connection("inside", "Checklist", "http", http("http://checklists.tools.svc.cluster.local:8080")),
        connection("address", "Queue", "http", http("https://192.0.2.1:8443")),
        connection("mail", "Intake", "smtp", mail),
        connection("hub", "Governance", "github", json!({"repository": "team/releases", "tokenSecretRef": token})),
        connection("issues", "Checklist", "jira", json!({"endpoint": "https://jira.example.com:8444", "project": "REL",
            "tokenSecretRef": token, "fields": {"release": "customfield_10010", "reviewVersion": "customfield_10011"}})),
        connection("bundles", "Archive", "oci", json!({"endpoint": "https://registry.example.com:5000", "repository": "a/b"})),
        connection("handoffs", "Intake", "sqs", json!({"queueUrl": "https://sqs.eu-central-1.amazonaws.com:4443/123456789012/h.fifo",
            "region": "eu-central-1", "accessKeySecretRef": token, "secretKeySecretRef": token})),
        json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "ClusterSystemConnection",
            "metadata": {"name": "for-many"}, "spec": {"namespaceSelector": {}, "allowedRoles": ["Tracker"],
                "http": http("https://tracker.example.com:9443/closure/v1")}}),
        slice,
    ]});
    plane.kubectl_with(&["apply", "-f", "-"], &list.to_string());
    plane
}

fn run(plane: &ControlPlane, args: &[&str]) -> Output {
    let binary = env!("CARGO_BIN_EXE_releaseclosure");
    let mut command = Command::new(binary);
    command.arg("network-policy").args(args).arg("--kubeconfig").arg(plane.kubeconfig()).env_remove("KUBECONFIG");
    command.output().expect("it can be started")
}

fn printed(plane: &ControlPlane, args: &[&str]) -> String {
    let ran = run(plane, args);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn the_policy_is_made_from_the_connections_and_takes_the_place_of_the_shipped_one() {
    let plane = connected();
    let yaml = printed(&plane, &[]);
    plane.kubectl_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &yaml);
    let live = plane.kubectl(&[
        "-n",
        "releaseclosure-system",
        "get",
        "networkpolicy",
        "releaseclosure-operator",
        "-o",
        "json",
    ]);
    let live: Value = serde_json::from_str(&live).unwrap();
    let tcp = |port: u16| json!([{"protocol": "TCP", "port": port}]);
    let block = |cidr: &str| json!({"ipBlock": {"cidr": cidr}});
    let anybody = json!([
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
        {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10"]}},
    ]);
    let namespace = |name: &str| json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}});
    let service = plane.kubectl(&["get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"]);
    let mut at_443 = vec![block(&format!("{service}/32"))];
    at_443.extend(anybody.as_array().unwrap().clone());
    let expected = json!([
        {"to": [namespace("kube-system")], "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
        {"to": [namespace("tools")]},
        {"to": at_443, "ports": tcp(443)},
        {"to": anybody, "ports": tcp(465)},
        {"to": anybody, "ports": tcp(4443)},
        {"to": anybody, "ports": tcp(5000)},
        {"to": [block("192.0.2.7/32")], "ports": tcp(6443)},
        {"to": [block("192.0.2.1/32")], "ports": tcp(8443)},
        {"to": anybody, "ports": tcp(8444)},
        {"to": anybody, "ports": tcp(9443)},
    ]);
    assert_eq!(live["spec"]["egress"], expected);
    // The rest is as it was shipped, and everything else is denied still.
    let shipped = plane.kubectl(&["kustomize", &repository("manifests/base").display().to_string()]);
    let shipped: Vec<Value> = serde_saphyr::from_multiple(&shipped).unwrap();
    let shipped = shipped
        .iter()
        .find(|object| object["kind"] == "NetworkPolicy" && object["metadata"]["name"] == "releaseclosure-operator");
    for field in ["podSelector", "policyTypes", "ingress"] {
        assert_eq!(live["spec"][field], shipped.unwrap()["spec"][field], "{field}");
    }
    plane.kubectl(&["-n", "releaseclosure-system", "get", "networkpolicy", "releaseclosure-default-deny"]);

    // One that names the addresses says so.
    let json: Value = serde_json::from_str(&printed(&plane, &["--api-server=[2001:db8::1]:6443", "-ojson"])).unwrap();
    assert!(json.to_string().contains("2001:db8::1/128") && !json.to_string().contains("192.0.2.7"), "{json}");
}

#[test]
fn names_are_replaced_by_their_addresses_where_that_is_wanted_and_one_that_has_none_is_told() {
    let plane = ControlPlane::start();
    plane.install_crds();
    let connect = |name: &str, host: &str| {
        let connection = json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "SystemConnection",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"allowedRoles": ["Tracker"], "http": {"endpoint": format!("https://{host}:8099/closure/v1"),
                "tokenSecretRef": {"name": "token", "key": "token"}}}});
        plane.kubectl_with(&["apply", "-f", "-"], &connection.to_string());
    };
    connect("here", "localhost");
    let args = ["--resolve", "--api-server=192.0.2.7:6443", "-ojson"];
    let policy: Value = serde_json::from_str(&printed(&plane, &args)).unwrap();
    let peers = policy["spec"]["egress"].as_array().unwrap().iter().find(|way| way["ports"][0]["port"] == 8099);
    let peers = peers.expect("a way to the connection")["to"].as_array().unwrap();
    assert!(peers.contains(&json!({"ipBlock": {"cidr": "127.0.0.1/32"}})), "{policy}");
    assert!(peers.iter().all(|peer| peer["ipBlock"]["except"].is_null()), "nobody else: {policy}");

    connect("nowhere", "nowhere.invalid");
    let ran = run(&plane, &args);
    let complaint = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!ran.status.success() && ran.stdout.is_empty());
    for part in ["nowhere", "nowhere.invalid has no address"] {
        assert!(complaint.contains(part), "{complaint}");
    }
}
