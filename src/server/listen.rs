//! Connections as they come in: so many at once and no more, and none lost to a shortage.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream::unfold;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::Connected;

/// How long nothing is accepted after the process ran out of files or memory.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// Something that connections come from.
pub(super) trait Listener: Send + Sync + 'static {
    /// Its connections.
    type Io: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static;

    /// The next connection.
    fn next(&self) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        // A small frame must not wait for the acknowledgement of the one before.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Listener for UnixListener {
    type Io = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

/// A connection, counted while it is open.
#[derive(Debug)]
pub(super) struct Connection<Io> {
    io: Io,
    _counted: OwnedSemaphorePermit,
}

/// The connections of `listener`, at most `max` open at once; the others wait in the system's queue.
pub(super) fn accepted<L: Listener>(
    listener: L,
    max: usize,
) -> impl Stream<Item = io::Result<Connection<L::Io>>> + Send {
    let room = Arc::new(Semaphore::new(max));
    unfold((listener, room), |(listener, room)| async {
        let counted = room.clone().acquire_owned().await.ok()?;
        let connection = Connection {
            io: next(&listener).await,
            _counted: counted,
        };
        Some((Ok(connection), (listener, room)))
    })
}

/// The next connection, over all failures: that of a single client is nobody else's, and a shortage passes.
async fn next<L: Listener>(listener: &L) -> L::Io {
    loop {
        let error = match listener.next().await {
            Ok(io) => return io,
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Interrupted => {
                tracing::debug!(%error, "a client was gone before it was accepted")
            }
            _ => {
                tracing::warn!(%error, "no connection can be accepted for now");
                tokio::time::sleep(SHORTAGE_PAUSE).await;
            }
        }
    }
}

impl<Io: Connected> Connected for Connection<Io> {
    type ConnectInfo = Io::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.io.connect_info()
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Connection<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Connection<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
