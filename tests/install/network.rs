//! The list of what the operator may reach, made from the connections of a cluster.

use crate::chart::Helm;
use crate::rendered::objects;
use crate::support::controlplane::{ControlPlane, repository};
use serde_json::{Value, json};
use std::collections::BTreeMap;
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
        connection("bundles", "Archive", "oci", json!({"endpoint": "https://registry.example.com:5000", "repository": "a/b",
            "tokenEndpoint": "https://auth.example.com:5001/token"})),
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

/// The policies of the operator's namespace, by name.
fn policies(plane: &ControlPlane) -> BTreeMap<String, Value> {
    let all = plane.kubectl(&["-n", "releaseclosure-system", "get", "networkpolicies", "-o", "json"]);
    let all: Value = serde_json::from_str(&all).unwrap();
    let all = all["items"].as_array().unwrap().iter();
    all.map(|policy| (policy["metadata"]["name"].as_str().unwrap().to_owned(), policy["spec"].clone())).collect()
}

#[test]
fn the_policy_is_made_from_the_connections_and_an_upgrade_leaves_it_as_it_is() {
    let plane = connected();
    let first = policies(&plane);
    assert_eq!(
        first.keys().collect::<Vec<_>>(),
        ["releaseclosure-default-deny", "releaseclosure-metrics", "releaseclosure-starter-egress"]
    );
    let yaml = printed(&plane, &[]);
    plane.kubectl_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &yaml);
    let starter = ["-n", "releaseclosure-system", "delete", "networkpolicy", "releaseclosure-starter-egress"];
    plane.kubectl(&starter);
    let narrowed = policies(&plane);
    assert_eq!(
        narrowed.keys().collect::<Vec<_>>(),
        ["releaseclosure-default-deny", "releaseclosure-metrics", "releaseclosure-operator"]
    );
    let live = &narrowed["releaseclosure-operator"];
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
        {"to": anybody, "ports": tcp(5001)},
        {"to": [block("192.0.2.7/32")], "ports": tcp(6443)},
        {"to": [block("192.0.2.1/32")], "ports": tcp(8443)},
        {"to": anybody, "ports": tcp(8444)},
        {"to": anybody, "ports": tcp(9443)},
    ]);
    assert_eq!(live["egress"], expected);
    assert_eq!((&live["policyTypes"], &live["ingress"]), (&json!(["Egress"]), &Value::Null));
    assert_eq!(live["podSelector"], first["releaseclosure-starter-egress"]["podSelector"]);

    // As the guide upgrades, and as it downgrades: the second alone.
    plane.kubectl(&["apply", "--server-side", "-f", &repository("crds").display().to_string()]);
    let base = repository("manifests/base").display().to_string();
    let applied = plane.kubectl(&["apply", "--server-side", "-k", &base]);
    assert!(!applied.contains("customresourcedefinition") && applied.contains("deployment"), "{applied}");
    assert_eq!(policies(&plane), narrowed);

    // One that names the addresses says so.
    let json: Value = serde_json::from_str(&printed(&plane, &["--api-server=[2001:db8::1]:6443", "-ojson"])).unwrap();
    assert!(json.to_string().contains("2001:db8::1/128") && !json.to_string().contains("192.0.2.7"), "{json}");

    // Names are looked up where that is said, and nowhere else.
    let args = ["--dns=169.254.20.10", "--dns=openshift-dns:5353", "-ojson"];
    let json: Value = serde_json::from_str(&printed(&plane, &args)).unwrap();
    let both = |port: u16| json!([{"protocol": "UDP", "port": port}, {"protocol": "TCP", "port": port}]);
    assert_eq!(json["spec"]["egress"][0], json!({"to": [block("169.254.20.10/32")], "ports": both(53)}));
    assert_eq!(json["spec"]["egress"][1], json!({"to": [namespace("openshift-dns")], "ports": both(5353)}));
    assert!(!json.to_string().contains("kube-system"), "{json}");
    let refused = run(&plane, &["--dns=10.0.0.1/24"]);
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && complaint.contains("--dns") && complaint.contains("10.96.0.0/28"),
        "{complaint}"
    );
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

    // A bucket is at a name of its own.
    plane.kubectl(&["delete", "systemconnection", "nowhere"]);
    let key = json!({"name": "keys", "key": "key"});
    let bucket = json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "SystemConnection",
        "metadata": {"name": "archive", "namespace": "default"},
        "spec": {"allowedRoles": ["Archive"], "objectStore": {"s3": {"endpoint": "https://s3.invalid", "region": "a",
            "bucket": "evidence", "accessKeySecretRef": key, "secretKeySecretRef": key}}}});
    plane.kubectl_with(&["apply", "-f", "-"], &bucket.to_string());
    let complaint = String::from_utf8_lossy(&run(&plane, &args).stderr).into_owned();
    assert!(complaint.contains("evidence.s3.invalid has no address"), "{complaint}");
}

#[test]
fn the_list_becomes_the_charts_as_its_notes_say() {
    let Some(helm) = Helm::find() else { return };
    let plane = connected();
    let list = printed(&plane, &[]);
    let path = r#"jsonpath={"networkPolicy: {egress: "}{.spec.egress}{"}"}"#;
    for page in ["charts/releaseclosure/templates/NOTES.txt", "docs/install.md"] {
        let page = std::fs::read_to_string(repository(page)).unwrap();
        assert!(page.contains(&format!("kubectl create --dry-run=client -f - -o '{path}' >egress.yaml")));
    }
    let values = plane.kubectl_with(&["create", "--dry-run=client", "-f", "-", "-o", path], &list);
    let file = plane.kubeconfig().with_file_name("egress.yaml");
    std::fs::write(&file, values).unwrap();
    let made = objects(&helm.text(&["-f", &file.display().to_string()]).unwrap());
    let named = |name: &str| ("NetworkPolicy".to_owned(), "releaseclosure-system".to_owned(), name.to_owned());
    let list: Value = serde_saphyr::from_str(&list).unwrap();
    assert_eq!(made[&named("releaseclosure-operator")]["spec"], list["spec"]);
    assert!(!made.contains_key(&named("releaseclosure-starter-egress")));
}
