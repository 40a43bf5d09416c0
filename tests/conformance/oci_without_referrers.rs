//! The same before a registry without referrers, which keeps them in a tag.

use super::oci::{Registries, distribution};
use crate::conformance::subject::{Adapter, Server};
use async_trait::async_trait;
use releaseclosure::closure::ids::System;

/// The adapter.
pub struct Tags;

#[async_trait(?Send)]
impl Adapter for Tags {
    fn product(&self) -> &'static str {
        "oci, without referrers"
    }
    fn against(&self) -> &'static str {
        "distribution 3.1.2, with users of its own; referrers are in a tag"
    }
    fn systems(&self) -> &'static [System] {
        Registries.systems()
    }
    fn sends(&self) -> Vec<String> {
        Registries.sends()
    }
    async fn start(&self) -> Option<Box<dyn Server>> {
        distribution().await
    }
}
