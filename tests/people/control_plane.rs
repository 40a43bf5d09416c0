//! A real API server with the project's kinds, for these tests.

use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use releaseclosure::api::crds;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct ControlPlane {
    server: Child,
    pub kubeconfig: PathBuf,
    pub port: u16,
}

impl ControlPlane {
    /// Starts a server, built first where it is missing. It ends with this process, whatever becomes of it, as it holds
    /// the other end of its standard input.
    pub fn start(flags: &[&str]) -> ControlPlane {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let built = Command::new(root.join("tests/controlplane/build.sh")).status().expect("bash is there");
        assert!(built.success());
        let mut server = Command::new(root.join(".build/controlplane/controlplane"))
            .args(["serve", "--stdin-lifeline"])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the control plane starts");
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("piped")).read_line(&mut line).expect("it speaks");
        let field = |name: &str| {
            let rest = line.split_once(name).unwrap_or_else(|| panic!("{name} is not in {line:?}")).1;
            rest.trim_end().to_owned()
        };
        let server_url = field("server=");
        let port = server_url.split([':', ' ']).nth(2).and_then(|port| port.parse().ok()).expect("a port");
        ControlPlane { server, kubeconfig: field("kubeconfig=").into(), port }
    }

    /// Ends the server as a crash would.
    pub fn kill(mut self) {
        self.server.kill().expect("it runs");
        self.server.wait().expect("it ends");
    }

    pub async fn client(&self) -> Client {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        Client::try_from(config.expect("a configuration")).expect("a client")
    }

    /// Makes the four kinds known.
    pub async fn install_kinds(&self) {
        let client = self.client().await;
        let api = Api::all(client.clone());
        for definition in crds() {
            api.create(&PostParams::default(), &definition).await.expect("a definition is accepted");
        }
        let closures: Api<releaseclosure::api::ReleaseClosure> = Api::default_namespaced(client.clone());
        let packets: Api<releaseclosure::api::FollowUpPacket> = Api::default_namespaced(client);
        let deadline = Instant::now() + Duration::from_secs(30);
        while closures.list(&Default::default()).await.is_err() || packets.list(&Default::default()).await.is_err() {
            assert!(Instant::now() < deadline, "the kinds are not served");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
