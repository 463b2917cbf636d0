//! What passes through a connection, noticed for the sweep: on the wire whether the peer takes what is written to it, and
//! above it, where TLS has been taken off, what is read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::connection::Connection;

/// The most of a refused body that is read and thrown away before the connection is closed.
const MAX_DISCARDED: usize = 1 << 20;

/// The TCP stream. It notices when the peer takes nothing.
pub struct Wire {
    tcp: TcpStream,
    connection: Arc<Connection>,
}

impl Wire {
    pub fn new(tcp: TcpStream, connection: Arc<Connection>) -> Self {
        Self { tcp, connection }
    }

    /// Waits for whatever comes: a byte, or the news that nothing will.
    pub async fn something(&self) {
        // What went wrong is told again to whoever reads.
        let _ = self.tcp.readable().await;
    }

    /// The first byte that arrives, which stays there. Nothing when the peer has gone.
    pub async fn first_byte(&self) -> Option<u8> {
        let mut first = [0];
        let length = self.tcp.peek(&mut first).await.ok()?;
        (length > 0).then_some(first[0])
    }

    fn inner(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.tcp)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner().poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = self.inner().poll_write(context, bytes);
        self.connection.has_written(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.inner().poll_write_vectored(context, pieces);
        self.connection.has_written(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(context)
    }
}

/// The plain text of a connection. It notices what is read, and closes gently where it should.
pub struct Stream<IO> {
    io: IO,
    connection: Arc<Connection>,
    shut: bool,
    discarded: usize,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Stream<IO> {
    pub fn new(io: IO, connection: Arc<Connection>) -> Self {
        Self {
            io,
            connection,
            shut: false,
            discarded: 0,
        }
    }

    fn inner(&mut self) -> Pin<&mut IO> {
        Pin::new(&mut self.io)
    }

    /// Reads until the peer closes too, so that it has read the answer before its system hears of a reset.
    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 4096];
        while self.discarded < MAX_DISCARDED {
            let mut rest = ReadBuf::new(&mut scratch);
            ready!(self.inner().poll_read(context, &mut rest))?;
            if rest.filled().is_empty() {
                break;
            }
            self.discarded += rest.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = self.inner().poll_read(context, buffer);
        let read = &buffer.filled()[before..];
        if !read.is_empty() {
            self.connection.has_read(read);
        }
        outcome
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.inner().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(self.inner().poll_shutdown(context))?;
            self.shut = true;
            self.connection.has_parted();
        }
        if self.connection.parts_gently() {
            self.poll_discard(context)
        } else {
            Poll::Ready(Ok(()))
        }
    }
}
