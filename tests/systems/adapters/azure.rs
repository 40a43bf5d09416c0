//! Evidence in Azure Blob Storage, as emulated here.

use super::azure_server::{Azure, CONTAINER, SAS};
use super::settings::{product, settings};
use releaseclosure::closure::ids::System;
use releaseclosure::closure::snapshot::{BundleRecord, Observation};
use releaseclosure::providers::connect;
use releaseclosure::roles::{Connected, Probe, Subject};
use serde_json::json;
use sha2::{Digest, Sha256};

fn connected(azure: &Azure, container: &str, sas: &str) -> Connected {
    let spec = json!({"objectStore": {"azure": {"endpoint": azure.url(), "container": container,
        "sasSecretRef": {"name": "azure", "key": "sas"}}}});
    connect(&settings(product(spec), &[("sas", sas)])).expect("settings")
}

async fn look(connected: &Connected, bundle: &str) -> Observation<BundleRecord> {
    let subject = Subject { record: Some(bundle), release: "r-1", review_version: "3" };
    connected.archive.as_ref().expect("the role").bundle(subject, None).await
}

fn sha256(content: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

#[tokio::test]
async fn a_bundle_is_read_with_a_shared_access_signature() {
    let azure = Azure::start().await;
    let text = json!({"bundle": "shop/1.4", "release": {"id": "r-1"}, "review": {"version": "3"},
        "artifacts": [{"name": "a+b.txt", "kind": "sign-off", "digest": sha256("signed"), "size": 6}],
        "url": "https://evidence.example.com/shop/1.4"})
    .to_string();
    azure.put("shop/1.4/manifest.json", &text);
    azure.put("shop/1.4/a+b.txt", "signed");
    for sas in [SAS.to_owned(), format!("?{SAS}\n")] {
        let connected = connected(&azure, CONTAINER, &sas);
        assert_eq!(connected.prober.probe(System::Archive).await, Probe::Ready);
        let Observation::Found(record, revision) = look(&connected, "shop/1.4").await else { panic!("it is there") };
        assert_eq!((record.digest, record.artifacts.len()), (sha256(&text), 1));
        assert_eq!(revision.0, "\"0x1\" 2026-11-22T10:00:01.0000000Z");
        assert_eq!(look(&connected, "shop/1.5").await, Observation::Missing);
    }
    let connected = connected(&azure, CONTAINER, SAS);
    azure.put("shop/1.4/a+b.txt", "signed, and more");
    let Observation::Found(record, _) = look(&connected, "shop/1.4").await else { panic!("it is there") };
    assert_eq!(record.artifacts, []);
    azure.delete("shop/1.4/a+b.txt");
    let Observation::Found(record, _) = look(&connected, "shop/1.4").await else { panic!("it is there") };
    assert_eq!(record.artifacts, []);
}

#[tokio::test]
async fn a_wrong_setting_is_named() {
    let azure = Azure::start().await;
    for (container, sas, wrong) in [
        ("elsewhere", SAS.to_owned(), "objectStore.azure.container"),
        (CONTAINER, SAS.replace("sig=c2", "sig=d3"), "objectStore.azure.sasSecretRef"),
        (CONTAINER, SAS.replace("sp=rl", "sp=l"), "objectStore.azure.sasSecretRef"),
    ] {
        let found = connected(&azure, container, &sas).prober.probe(System::Archive).await;
        assert!(matches!(&found, Probe::Unfit { setting, .. } if *setting == wrong), "{wrong}: {found:?}");
    }
}
