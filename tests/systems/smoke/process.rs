//! A server ends with its test, whole, and leaves nothing.

use crate::fault_proxy::patiently;
use crate::systems::process::{Launch, Running, processes};

/// A server of two processes.
fn sleepers() -> Launch {
    Launch::of("sh").args(["-c", "sleep 1000 & sleep 1000"])
}

/// Two sleepers and the shells around them.
fn sleeping(group: u32) -> bool {
    let is_sleep = |process: &std::path::PathBuf| {
        std::fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim() == "sleep")
    };
    processes(group).iter().filter(|process| is_sleep(process)).count() == 2
}

async fn until(what: &str, so: impl Fn() -> bool) {
    let there = async {
        while !so() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    patiently(what, there).await;
}

/// Its end is that of a pipe, and that is what happens too when the test's process is killed: nothing sends a signal.
#[tokio::test]
async fn all_of_it_ends_with_the_pipe_and_its_directory_goes() {
    let mut server = Running::prepare("sleepers", 1);
    server.launch(sleepers(), async || true).await;
    let (home, group) = (server.home().to_owned(), server.group().expect("it runs"));
    until("two sleepers", || sleeping(group)).await;
    assert!(home.join("server.log").is_file());
    drop(server);
    // The shell is waited for; its children are killed by the same signal, and end at their own time.
    until("the end of all", || processes(group).is_empty()).await;
    assert!(!home.exists());
}

#[tokio::test]
#[should_panic(expected = "sleepers ended before it was ready")]
async fn one_that_ends_by_itself_is_not_waited_for() {
    let mut server = Running::prepare("sleepers", 0);
    server.launch(Launch::of("sh").args(["-c", "echo broken; exit 3"]), async || false).await;
}

#[tokio::test]
async fn two_side_by_side_share_nothing() {
    let (one, other) = (Running::prepare("sleepers", 3), Running::prepare("sleepers", 3));
    assert_ne!(one.home(), other.home());
    let ports: std::collections::BTreeSet<u16> = (0..3).flat_map(|nth| [one.port(nth), other.port(nth)]).collect();
    assert_eq!(ports.len(), 6);
    assert!(ports.iter().all(|port| *port < 32_768), "below those that clients get");
}
