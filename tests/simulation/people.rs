//! Coordinators, who find a packet and answer it after a while; and the director, who starts and ends processes and knows when a
//! world has come to rest.

use super::cluster::Packet;
use super::host::Operator;
use super::log::{Doing, Done};
use super::plan::{CALM, Plan};
use super::world::{Due, Order, Shared, World};
use releaseclosure::closure::halt::Resolution;
use releaseclosure::closure::ids::{Step, System};
use releaseclosure::closure::ledger::{Check, Decision, Halt, Handoff};
use releaseclosure::closure::reason::Reason;
use std::sync::Arc;
use tokio::task::JoinSet;

/// A world that does not come to rest within this long after the calm never will.
const PATIENCE: u64 = 3_600_000;
/// And then nothing may happen for so long.
pub const QUIET: u64 = 7_200_000;

/// A packet is made; a coordinator will see to it.
pub fn hand_over(world: &mut World, truth: usize, pass: usize, halt: Halt) {
    if world.cluster.packets.contains_key(&halt.id) {
        return;
    }
    let at = world.log.now(world.now);
    world.log.handed.push((at, halt.id.clone(), pass));
    let uncertain = halt.cause == Reason::NotificationUncertain;
    // Whoever is asked whether something arrived waits until nothing is on its way.
    let after = if uncertain { world.rng.u64(45_000..90_000) } else { world.rng.u64(500..40_000) };
    let at = world.now + after;
    world.later(at, Due::Resolve { packet: halt.id.clone() });
    world.cluster.packets.insert(halt.id.clone(), Packet { truth, halt, resolution: None });
}

/// The coordinator answers: puts the records in order, mostly, and lets it go on, mostly.
pub fn resolve(world: &mut World, name: &str) {
    let Some(packet) = world.cluster.packets.get(name).cloned() else { return };
    let truth = world.truths[packet.truth].clone();
    let uncertain = packet.halt.cause == Reason::NotificationUncertain;
    if uncertain && world.is_announcing(&truth.key) {
        let at = world.now + 5_000;
        world.later(at, Due::Resolve { packet: name.to_owned() });
        return;
    }
    let calm = world.now >= CALM;
    let abandons = world.rng.u8(..20) == 0;
    let leaves_it = !calm && world.rng.u8(..4) == 0;
    if !abandons && !leaves_it {
        let mut redo = [false; 4];
        for (_, object) in world.cluster.living().filter(|(_, object)| object.truth == packet.truth) {
            for step in &Step::ALL[..4] {
                redo[step.index()] |= object.status.steps.get(step.index()).is_some_and(|it| it.outcome.is_settled());
            }
        }
        for finding in packet.halt.findings.iter().filter(|finding| finding.check == Check::C15) {
            match finding.system {
                System::Checklist => redo[0] = true,
                System::Tracker if finding.field == "state" => redo[1] = true,
                System::Tracker => redo[2] = true,
                System::Queue => redo[3] = true,
                System::Governance | System::Archive | System::Intake => {}
            }
        }
        truth.repair(&world.sandbox, &redo);
    }
    let arrived = world.sandbox.deliveries().iter().any(|delivery| delivery.key == truth.key);
    let handoff = uncertain.then_some(if arrived { Handoff::Delivered } else { Handoff::NotDelivered });
    let decision = if abandons { Decision::Abandon } else { Decision::Resume };
    let resolution = Resolution { decision, halt_id: name.to_owned(), handoff, resolved_by: Some("kim".to_owned()) };
    let words =
        format!("{decision:?} {handoff:?}{}", if leaves_it { ", and leaves the records as they are" } else { "" });
    if let Some(packet) = world.cluster.packets.get_mut(name) {
        packet.resolution = Some(resolution);
    }
    let at = world.log.now(world.now);
    world.log.deeds.push(Done {
        at,
        truth: packet.truth,
        what: Doing::Resolve { packet: name.to_owned(), decision: words },
    });
    let slots = &world.cluster.slots;
    if let Some(slot) = slots.iter().position(|slot| slot.truth == packet.truth) {
        world.tell(slot, true);
    }
}

/// What came of a world.
pub struct Ran {
    pub shared: Shared,
    /// When it came to rest.
    pub rested: Option<u64>,
}

/// Plays a world to its end.
pub fn play(plan: &Plan) -> Ran {
    // What the engine draws (jitter) comes from the thread's generator.
    fastrand::seed(plan.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without any I/O").block_on(direct(plan))
}

async fn direct(plan: &Plan) -> Ran {
    let shared = Shared::new(plan.clone());
    let mut processes = [JoinSet::new(), JoinSet::new()];
    let rested = loop {
        let (orders, next, now, rests) = {
            let mut world = shared.lock();
            let rests = world.now >= CALM && !world.is_pending() && is_finished(&world);
            (std::mem::take(&mut world.orders), world.next_due(), world.now, rests)
        };
        for order in orders {
            match order {
                Order::Kill(host) => {
                    processes[host].abort_all();
                    processes[host] = JoinSet::new();
                }
                Order::Start(host) => start(&shared, host, plan, &mut processes[host]),
            }
        }
        if rests {
            break Some(now);
        }
        if now > CALM + PATIENCE {
            break None;
        }
        let next = next.unwrap_or(u64::MAX).min(if now < CALM { CALM } else { now + 10_000 });
        drop(tokio::time::timeout_at(shared.at(next), shared.changed.notified()).await);
    };
    if rested.is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(QUIET)).await;
    }
    for mut process in processes {
        process.shutdown().await;
    }
    Ran { shared, rested }
}

fn is_finished(world: &World) -> bool {
    world.cluster.living().all(|(_, object)| object.status.completion_time.is_some())
}

fn start(shared: &Shared, host: usize, plan: &Plan, process: &mut JoinSet<()>) {
    let (life, slots) = {
        let mut world = shared.lock();
        if world.hosts[host].runs {
            return;
        }
        world.hosts[host].runs = true;
        world.hosts[host].life += 1;
        let slots = world.cluster.slots.len();
        for slot in 0..slots {
            // A process begins with a list of everything.
            world.hosts[host].views[slot] = world.cluster.view(slot);
        }
        (world.hosts[host].life, slots)
    };
    let operator = Arc::new(Operator::new(shared, host, life, plan));
    for slot in 0..slots {
        process.spawn(operator.clone().tend(slot));
    }
}
