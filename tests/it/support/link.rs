//! A stretch of wire that can be cut: TCP that is passed on to where it was meant to go, or kept back without a word.

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Most bytes that are passed on at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// A wire to one address. While it is cut everything stands: connections stay open, new ones are taken, nothing comes
/// through. Mended, it goes on where it was, as TCP does after packets were lost. Dropped, its connections break.
#[derive(Debug)]
pub(crate) struct Link {
    address: SocketAddr,
    is_cut: watch::Sender<bool>,
    _passing: AbortOnDropHandle<()>,
}

impl Link {
    /// A wire from an address of this host to `target`, whether anybody listens there or not.
    pub(crate) async fn from(host: IpAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind((host, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (is_cut, told) = watch::channel(false);
        let passing = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                connections.spawn(pass_on(near, target, told.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            is_cut,
            _passing: AbortOnDropHandle::new(passing),
        }
    }

    /// Where it begins.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nothing through from now on.
    pub(crate) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Lets everything through again.
    pub(crate) fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

/// Returns once the wire is whole.
async fn whole(is_cut: &mut watch::Receiver<bool>) {
    // The sender lives as long as the task that asks.
    let _ = is_cut.wait_for(|is_cut| !is_cut).await;
}

async fn pass_on(near: TcpStream, target: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    whole(&mut is_cut).await;
    // Nobody there: the near end sees its connection close, as good as refused.
    let Ok(far) = TcpStream::connect(target).await else {
        return;
    };
    for end in [&near, &far] {
        let _ = end.set_nodelay(true);
    }
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::join!(
        copy(near_in, far_out, is_cut.clone()),
        copy(far_in, near_out, is_cut)
    );
}

/// Copies one direction until its end, or until the other side takes no more.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_cut: watch::Receiver<bool>) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(bytes @ 1..) = from.read(&mut piece).await {
        whole(&mut is_cut).await;
        if to.write_all(&piece[..bytes]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
