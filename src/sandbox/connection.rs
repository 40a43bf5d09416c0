//! Connections that can be cut: the only honest way to play a system that dies between a request and its reply.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const WHOLE: u8 = 0;
const CLOSED: u8 = 1;
const RESET: u8 = 2;

/// The knife for one connection. After `cut`, nothing more is read from the socket or written to it, and it is closed.
#[derive(Clone, Debug)]
pub(super) struct Knife(Arc<Blade>);

#[derive(Debug, Default)]
struct Blade {
    state: AtomicU8,
    /// The task that serves the connection; it has to look at the state again when that changes.
    task: AtomicWaker,
}

impl Knife {
    /// Cuts the connection: with a reset, or as by an orderly close.
    pub(super) fn cut(&self, reset: bool) {
        self.0.state.store(if reset { RESET } else { CLOSED }, Ordering::Release);
        self.0.task.wake();
    }

    fn state(&self) -> u8 {
        self.0.state.load(Ordering::Acquire)
    }
}

impl Connected<IncomingStream<'_, Gate>> for Knife {
    fn connect_info(stream: IncomingStream<'_, Gate>) -> Self {
        stream.io().knife.clone()
    }
}

/// The connections that are open, so that a sandbox can stop although somebody holds one open.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Mutex<HashMap<u64, Knife>>>);

impl Connections {
    /// Cuts them all.
    pub(super) fn cut_all(&self) {
        for knife in self.lock().values() {
            knife.cut(false);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Knife>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listener whose connections can be cut.
#[derive(Debug)]
pub(super) struct Gate {
    listener: TcpListener,
    open: Connections,
    accepted: u64,
}

impl Gate {
    pub(super) fn new(listener: TcpListener, open: Connections) -> Gate {
        Gate { listener, open, accepted: 0 }
    }
}

impl Listener for Gate {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let (stream, address) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely; trying again at once would only burn the processor.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // Replies are small and somebody waits for each of them. A socket that cannot do it works nevertheless.
            stream.set_nodelay(true).ok();
            self.accepted += 1;
            let knife = Knife(Arc::default());
            self.open.lock().insert(self.accepted, knife.clone());
            return (Connection { stream, knife, number: self.accepted, open: self.open.clone() }, address);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A socket that obeys its knife.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    knife: Knife,
    number: u64,
    open: Connections,
}

impl Connection {
    /// Whether the connection is cut; if not, this task learns when it is.
    fn is_cut(&self, context: &Context<'_>) -> bool {
        self.knife.0.task.register(context.waker());
        self.knife.state() != WHOLE
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.lock().remove(&self.number);
        if self.knife.state() == RESET {
            // Best effort: where the system refuses, the peer sees an orderly close.
            self.stream.set_zero_linger().ok();
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_cut(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_cut(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_cut(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut this.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.knife.state() == RESET {
            // An orderly shutdown would send the FIN that the reset is to replace.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}
