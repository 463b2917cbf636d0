//! The accept loop: takes connections while there are slots for them, and hands them to the workers in turn.

use std::{
    io,
    net::{self, SocketAddr},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    Face,
    slots::{Slot, Slots},
    worker::{Accepted, Inlet, Stage},
};
use crate::telemetry::Telemetry;

/// Connections that the system keeps for us while all slots are taken.
const BACKLOG: i32 = 1024;
/// Out of descriptors or memory: trying again at once would only burn the processor.
const PAUSE: Duration = Duration::from_millis(100);

/// One address that is listened on, and what is served there.
pub struct Listener {
    listener: TcpListener,
    face: Arc<Face>,
}

/// Takes the address. To be called within a runtime.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A service that is started again must not wait for its old connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl Listener {
    pub fn new(listener: TcpListener, face: Face) -> Self {
        Self {
            listener,
            face: Arc::new(face),
        }
    }

    /// Accepts until the service drains. Each connection goes to the worker that has the fewest.
    pub async fn accept(
        self,
        workers: Vec<Inlet>,
        slots: Slots,
        telemetry: Telemetry,
        mut stage: watch::Receiver<Stage>,
    ) {
        let accepting = async {
            loop {
                let accepted = self.next(&slots, &telemetry).await;
                Inlet::of_the_fewest(&workers).hand(accepted);
            }
        };
        tokio::select! {
            () = accepting => {}
            _ = stage.wait_for(|stage| *stage != Stage::Serving) => {}
        }
        // Those that the system has connected already have been promised an answer.
        while let Ok(accepted) = timeout(Duration::ZERO, self.next(&slots, &telemetry)).await {
            Inlet::of_the_fewest(&workers).hand(accepted);
        }
    }

    async fn next(&self, slots: &Slots, telemetry: &Telemetry) -> Accepted {
        loop {
            let (stream, peer) = self.connected().await;
            let slot = slots.take(telemetry).await;
            if let Ok(accepted) = self.prepared(stream, peer, slot) {
                return accepted;
            }
        }
    }

    /// Trouble is told once, however long it lasts.
    async fn connected(&self) -> (TcpStream, SocketAddr) {
        let mut told = false;
        loop {
            match self.listener.accept().await {
                Ok(connected) => return connected,
                Err(error) if concerns_one_peer(&error) => {}
                Err(_) => {
                    if !told {
                        tracing::warn!(
                            event = "accept_failed",
                            "no connection can be accepted now; trying again"
                        );
                    }
                    told = true;
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn prepared(&self, stream: TcpStream, peer: SocketAddr, slot: Slot) -> io::Result<Accepted> {
        stream.set_nodelay(true)?;
        let stream: net::TcpStream = stream.into_std()?;
        Ok(Accepted {
            stream,
            peer,
            face: self.face.clone(),
            slot,
        })
    }
}

/// The connection was gone before it was accepted; the next one may be fine.
fn concerns_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, TimedOut};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | TimedOut
    )
}
