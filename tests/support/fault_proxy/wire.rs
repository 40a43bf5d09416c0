//! Connections that can be cut at any moment: in an orderly way, or with a reset.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures::task::AtomicWaker;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// As by an orderly close.
    Close = 1,
    /// With a reset.
    Reset = 2,
}

/// The knife for one connection. After a cut, nothing more is read from the socket or written to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Knife(Arc<Blade>);

#[derive(Debug, Default)]
struct Blade {
    cut: AtomicU8,
    /// The task that serves the connection.
    task: AtomicWaker,
}

impl Knife {
    pub(super) fn cut(&self, how: Cut) {
        self.0.cut.store(how as u8, Ordering::Release);
        self.0.task.wake();
    }

    fn state(&self, context: &Context<'_>) -> io::Result<()> {
        self.0.task.register(context.waker());
        match self.0.cut.load(Ordering::Acquire) {
            0 => Ok(()),
            _ => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl Connected<IncomingStream<'_, Gatekeeper>> for Knife {
    fn connect_info(stream: IncomingStream<'_, Gatekeeper>) -> Self {
        stream.io().knife.clone()
    }
}

/// A listener whose connections can be cut.
#[derive(Debug)]
pub(super) struct Gatekeeper(pub(super) TcpListener);

impl Listener for Gatekeeper {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            if let Ok((stream, address)) = self.0.accept().await {
                stream.set_nodelay(true).ok();
                return (Connection { stream, knife: Knife::default() }, address);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A socket that obeys its knife.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    knife: Knife,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.knife.0.cut.load(Ordering::Acquire) == Cut::Reset as u8 {
            self.stream.set_zero_linger().ok();
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.knife.state(context)?;
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.knife.state(context)?;
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.knife.state(context)?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.knife.state(context)?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}
