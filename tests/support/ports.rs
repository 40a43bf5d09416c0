//! Ports for servers of tests.

use std::fs::File;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// A port that no other server of these tests gets while this lives, not even of another run on the same machine.
#[derive(Debug)]
pub struct Port {
    /// Its number.
    pub number: u16,
    _lock: File,
}

impl Port {
    /// Takes a free one, from below those that the system itself gives out to clients.
    pub fn take() -> Port {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        const FIRST: u32 = 20_000;
        const COUNT: u32 = 12_000;
        let user = std::env::var("USER").unwrap_or_else(|_| "nobody".to_owned());
        let locks = std::env::temp_dir().join(format!("releaseclosure-ports-{user}"));
        std::fs::create_dir_all(&locks).expect("the temporary directory can be written");
        // Processes begin far from each other, so that they seldom meet.
        let start = std::process::id().wrapping_mul(61);
        for _ in 0..COUNT {
            let number = FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
            let number = u16::try_from(number).expect("below 65536");
            let lock = File::create(locks.join(number.to_string())).expect("a lock file");
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Port { number, _lock: lock };
            }
        }
        panic!("no free port");
    }
}
