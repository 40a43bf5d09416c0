//! Settings of connections to servers on this machine.

use releaseclosure::providers::meter::Meter;
use releaseclosure::providers::{LimitSettings, Product, Secrets, Settings};
use std::sync::Arc;
use std::time::Duration;

/// Settings with limits that do not matter.
pub fn settings(product: Product, secrets: &[(&'static str, &str)]) -> Settings {
    let mut kept = Secrets::default();
    for (what, secret) in secrets {
        kept.insert(what, (*secret).into());
    }
    Settings {
        product,
        token: None,
        ca_pem: None,
        client_certificate_pem: None,
        secrets: kept,
        limits: LimitSettings { requests_per_second: 10_000.0, concurrency: 8, timeout: Duration::from_secs(20) },
        allow_plaintext: true,
        allow_loopback: true,
        meter: Arc::new(Meter::default()),
    }
}

/// A product as it stands in a connection's spec.
pub fn product(spec: serde_json::Value) -> Product {
    Product::of_spec(&spec).expect("a product that this build knows")
}
