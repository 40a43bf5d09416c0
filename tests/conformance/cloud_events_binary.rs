//! The same with what the standard says in headers, before a receiver that takes an event as often as it comes.

use super::cloud_events::{Events, Receivers};
use crate::conformance::subject::{Adapter, Server};
use async_trait::async_trait;
use releaseclosure::closure::ids::System;

/// The adapter.
pub struct Binary;

#[async_trait(?Send)]
impl Adapter for Binary {
    fn product(&self) -> &'static str {
        "cloudEvents, binary"
    }
    fn against(&self) -> &'static str {
        "a receiver that reads with the standard's own library, and keeps whatever it is sent: `duplicates: Delivered`"
    }
    fn systems(&self) -> &'static [System] {
        Events.systems()
    }
    fn sends(&self) -> Vec<String> {
        Events.sends()
    }
    async fn start(&self) -> Option<Box<dyn Server>> {
        Some(Box::new(Receivers { mode: "Binary", duplicates: "Delivered" }))
    }
}
