//! Every intake as a channel for follow-ups, against the same servers: what is told arrives, what is told again arrives as often
//! as the connection's status says, and what is known of a telling's fate is said.

use crate::conformance::front::{Fault, On};
use crate::conformance::subject::{Adapter, Made, Part, Place, Release, Server, settings};
use releaseclosure::closure::decide::Delivery;
use releaseclosure::closure::ids::{Step, System};
use releaseclosure::closure::reason::Reason;
use releaseclosure::providers;
use releaseclosure::roles::{AnnounceReply, Connected, HaltNotice, Probe};
use std::sync::Arc;
use std::time::Duration;

const PART: Part = Part { system: System::Intake, step: Some(Step::NotifyCoordinator) };

/// A halt whose texts are as unpleasant as they may be.
fn notice() -> HaltNotice {
    HaltNotice {
        halt_id: format!("h-{}", "0123456789".repeat(2)),
        closure_key: "r-2026.11.3&<!channel>@RR-1@3".to_owned(),
        packet: format!("h-{}", "0123456789".repeat(2)),
        namespace: "payments".to_owned(),
        coordinator: Some("release-coordinators".to_owned()),
        cause: Reason::MilestoneRenamed,
        link: Some("https://tracker.example.com/browse/REL-12".to_owned()),
    }
}

fn release() -> Release {
    Release::new("r-2026.11.3")
}

struct Channel {
    place: Arc<dyn Place>,
    made: Made,
    connected: Connected,
}

impl Channel {
    async fn new(server: &dyn Server, number: usize) -> Channel {
        let place = server.place(PART, number).await;
        let made = place.make(&release()).await;
        let settings = settings(&*place, &place.token(), Duration::from_secs(60));
        let connected = providers::connect(&settings).expect("a connection");
        Channel { place, made, connected }
    }

    async fn tell(&self, notice: &HaltNotice) -> AnnounceReply {
        let permit = self.connected.gate.permit().await.expect("a permit");
        self.connected.follow_up.as_ref().expect("a channel").tell(notice, permit).await
    }

    async fn arrived(&self) -> usize {
        self.place.truth(&release(), &self.made).await.marks
    }
}

/// Plays all of it with one adapter. False where its server is not built, which is told.
pub async fn tells(adapter: &dyn Adapter) -> bool {
    let Some(server) = adapter.start().await else { return false };
    let product = adapter.product();
    let arrives = |reply| matches!(reply, AnnounceReply::Accepted | AnnounceReply::AlreadyThere);

    // Without the fields that may be missing, too.
    let bare = HaltNotice { coordinator: None, link: None, ..notice() };
    for (number, notice) in [(900, notice()), (901, bare)] {
        let channel = Channel::new(&*server, number).await;
        let follow_up = channel.connected.follow_up.as_ref().expect("a channel");
        assert_eq!(follow_up.probe().await, Probe::Ready, "{product}");
        assert_eq!(channel.arrived().await, 0, "{product}: a probe tells nothing");
        assert!(arrives(channel.tell(&notice).await), "{product}");
        assert_eq!(channel.arrived().await, 1, "{product}");
        let delivery = channel.connected.prober.abilities(System::Intake).and_then(|abilities| abilities.delivery);
        let once = delivery == Some(Delivery::IdempotencyKey);
        let again = channel.tell(&notice).await;
        assert!(arrives(again), "{product}: {again:?}");
        assert_eq!(channel.arrived().await, if once { 1 } else { 2 }, "{product}, told again");
        assert_eq!(channel.place.not_allowed(), Vec::<String>::new(), "{product}");
    }

    // Nothing arrived, and a reply that was lost: it is known which.
    let channel = Channel::new(&*server, 902).await;
    channel.place.front().on(On::Write, Fault::Lost);
    let lost = channel.tell(&notice()).await;
    assert!(matches!(lost, AnnounceReply::NotSent(_) | AnnounceReply::Unknown(_)), "{product}: {lost:?}");
    assert_eq!(channel.arrived().await, 0, "{product}");
    channel.place.front().on(On::Write, Fault::ReplyLost);
    let unheard = channel.tell(&notice()).await;
    assert!(matches!(unheard, AnnounceReply::Unknown(_)), "{product}: {unheard:?}");
    assert_eq!(channel.arrived().await, 1, "{product}");
    channel.place.front().heal();
    assert_eq!(channel.place.not_allowed(), Vec::<String>::new(), "{product}");
    true
}
