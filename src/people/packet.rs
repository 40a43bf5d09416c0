//! `packet NAME`: the follow-up packet of a closure, or of this name.

use super::cluster::{Place, ask};
use super::error::{Error, Tried, VIEWER};
use super::{Ending, page, show, tell};
use crate::api::{FollowUpPacket, ReleaseClosure};
use crate::settings::{Output, Packet};
use kube::api::ListParams;

/// Prints the packet on stdout: for people, or as the object itself.
///
/// # Errors
/// There is none, or it may not be read.
pub async fn packet(packet: &Packet) -> Result<Ending, Error> {
    let place = Place::find(&packet.cluster).await?;
    let found = find(&place, &packet.name).await?;
    let invalid = |why: String| Error::Invalid { name: packet.name.clone(), why };
    match packet.output {
        None => show(&page::page(&found)),
        Some(Output::Json) => {
            let text = serde_json::to_string_pretty(&found).map_err(|error| invalid(error.to_string()))?;
            show(&format!("{text}\n"));
        }
        Some(Output::Yaml) => {
            let text = serde_saphyr::to_string(&found).map_err(|error| invalid(error.to_string()))?;
            show(text.strip_suffix('\n').map_or(&*format!("{text}\n"), |_| &text));
        }
    }
    Ok(Ending::Done)
}

/// The packet of this name, else the one that halts the closure of this name, else the closure's last one: a packet
/// outlives its halt, and its closure.
async fn find(place: &Place, name: &str) -> Result<FollowUpPacket, Error> {
    match place.get::<FollowUpPacket>("followuppacket", name).await {
        Err(Error::NotFound { .. }) => {}
        found => return found,
    }
    match place.get::<ReleaseClosure>("releaseclosure", name).await {
        Ok(closure) => {
            if let Some(halt) = closure.status.and_then(|status| status.halt) {
                let packet = halt.packet_ref.name;
                return match place.get("followuppacket", &packet).await {
                    Err(Error::NotFound { .. }) => Err(Error::NoPacket(packet)),
                    found => found,
                };
            }
        }
        Err(Error::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    let tried = Tried { verb: "list", what: "followuppackets", name, namespace: place.namespace(), role: VIEWER };
    let packets = ask(&tried, place.api::<FollowUpPacket>().list(&ListParams::default())).await?;
    let of_closure = packets.items.into_iter().filter(|packet| packet.spec.closure_ref.name == name);
    match of_closure.max_by_key(|packet| packet.spec.halted_at) {
        Some(packet) => {
            tell(&format!("{name} is not halted now; this is its last packet"));
            Ok(packet)
        }
        None => Err(Error::NotFound {
            kind: "packet of or for",
            name: name.to_owned(),
            namespace: place.namespace().to_owned(),
        }),
    }
}
