//! A line to a server that does not speak HTTP: it can be cut, held, and made deaf in one direction.

use super::lock;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What happens to bytes in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They pass.
    Pass,
    /// They wait.
    Hold,
    /// The caller's reach the server; the server's are lost.
    Mute,
}

/// The line.
pub struct Line {
    address: String,
    mode: watch::Sender<Mode>,
    lost: watch::Sender<usize>,
    /// The connections that are open.
    open: Arc<Mutex<JoinSet<()>>>,
    task: JoinHandle<()>,
}

impl Line {
    /// One to the server at this address, `127.0.0.1:4222` for instance.
    pub async fn to(server: &str) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let mode = watch::Sender::new(Mode::Pass);
        let lost = watch::Sender::new(0);
        let open = Arc::new(Mutex::new(JoinSet::new()));
        let (server, modes, losses, connections) = (server.to_owned(), mode.clone(), lost.clone(), open.clone());
        let task = tokio::spawn(async move {
            loop {
                let Ok((caller, _)) = listener.accept().await else { continue };
                // A server that is gone is a line that is cut.
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                lock(&connections).spawn(both(caller, server, modes.clone(), losses.clone()));
            }
        });
        Line { address, mode, lost, open, task }
    }

    /// Where callers reach the server.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What happens to bytes from now on, on open connections too.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Cuts every open connection. New ones are let through.
    pub fn cut(&self) {
        lock(&self.open).abort_all();
    }

    /// Waits until so many bytes of the server's were lost: it has replied, and nobody knows.
    pub async fn lost(&self, bytes: usize) {
        let mut lost = self.lost.subscribe();
        super::patiently("lost bytes", lost.wait_for(|lost| *lost >= bytes)).await.expect("the line is there");
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn both(caller: TcpStream, server: TcpStream, mode: watch::Sender<Mode>, lost: watch::Sender<usize>) {
    caller.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let (from_caller, to_caller) = caller.into_split();
    let (from_server, to_server) = server.into_split();
    // The end of either direction is the end of the connection.
    tokio::select! {
        () = copy(from_caller, to_server, mode.subscribe(), None) => {}
        () = copy(from_server, to_caller, mode.subscribe(), Some(lost)) => {}
    }
}

/// Copies until the end. What may be lost is lost while the line is mute, and counted.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    lost: Option<watch::Sender<usize>>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        let Ok(mode) = mode.wait_for(|mode| *mode != Mode::Hold).await.map(|mode| *mode) else { return };
        match &lost {
            Some(lost) if mode == Mode::Mute => lost.send_modify(|bytes| *bytes += count),
            _ => {
                if to.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
