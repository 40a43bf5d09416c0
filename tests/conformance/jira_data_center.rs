//! The same before a Data Center: version 2, its search, a bearer token, texts as typed, a refusal where a token is revoked, and no word
//! of two transitions at once.

use super::jira::{Running, Shop, Work};
use crate::conformance::cases::Play;
use crate::conformance::subject::{Adapter, Part, Place, Server};
use crate::systems::jira::Jira;
use async_trait::async_trait;
use releaseclosure::closure::ids::System;
use std::sync::Arc;

/// The adapter.
pub struct Center;

#[async_trait(?Send)]
impl Adapter for Center {
    fn product(&self) -> &'static str {
        "jira, Data Center"
    }
    fn against(&self) -> &'static str {
        "an emulation of a Jira Data Center of our own; no description of its API stands before it"
    }
    fn systems(&self) -> &'static [System] {
        Work.systems()
    }
    fn sends(&self) -> Vec<String> {
        Work.sends()
    }
    fn own_cases(&self) -> &'static [(&'static str, Play)] {
        Work.own_cases()
    }
    async fn start(&self) -> Option<Box<dyn Server>> {
        Some(Box::new(Centers(Running(Jira::data_center().await?))))
    }
}

struct Centers(Running);

#[async_trait]
impl Server for Centers {
    async fn place(&self, part: Part, number: usize) -> Arc<dyn Place> {
        Arc::new(Shop { deployment: "DataCenter", ..self.0.shop(part, number).await })
    }
}
