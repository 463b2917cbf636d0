//! One connection: what it is doing and since when, and the task that serves it until it ends or is told to.
//!
//! All of a connection runs on its worker's one thread. The atomics below only let the compiler know that; none of
//! them is ever contended, and a plain load and store is enough where one would expect an addition.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    task::{Poll, Waker},
    time::Duration,
};

use hyper::{Version, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{
    Face, answer,
    slots::Slot,
    stream::{Stream, Wire},
    tls::handshake,
    worker::{Stage, Worker},
};

/// What a client that speaks HTTP/2 says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub struct Connection {
    pub peer: SocketAddr,
    pub face: Arc<Face>,
    pub worker: Arc<Worker>,
    state: AtomicU8,
    /// The sweep in which `state` was entered.
    since: AtomicU32,
    /// Requests that have no answer yet; more than one with HTTP/2 only.
    open: AtomicU32,
    /// Of these, how many wait for their bodies.
    arriving: AtomicU32,
    /// The sweep since which the peer takes nothing, plus one; 0 while it does.
    blocked: AtomicU32,
    /// How much of the preface of HTTP/2 was read while that is the state.
    preface: AtomicUsize,
    http2: AtomicBool,
    gentle: AtomicBool,
    order: AtomicU8,
    waker: OnceLock<Waker>,
}

/// What a connection does between requests.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    /// Not a byte was read yet.
    Fresh,
    /// All that was read so far is the begin of the preface of HTTP/2.
    Preface,
    /// A request has begun to arrive.
    Head,
    /// A request was handed on or answered; `open` says which. Or HTTP/2 has begun, whose requests are only seen when they
    /// are whole.
    Served,
    /// All is said, and the rest of a refused body is thrown away.
    Parting,
}

/// What a sweep, or the end of the service, has decided about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Order {
    Carry,
    /// Answer what is in flight, then close.
    Finish,
    Abort,
}

impl Connection {
    pub fn new(peer: SocketAddr, face: Arc<Face>, worker: Arc<Worker>) -> Self {
        let now = worker.sweep();
        Self {
            peer,
            face,
            worker,
            state: AtomicU8::new(State::Fresh as u8),
            since: AtomicU32::new(now),
            open: AtomicU32::new(0),
            arriving: AtomicU32::new(0),
            blocked: AtomicU32::new(0),
            preface: AtomicUsize::new(0),
            http2: AtomicBool::new(false),
            gentle: AtomicBool::new(false),
            order: AtomicU8::new(Order::Carry as u8),
            waker: OnceLock::new(),
        }
    }

    /// To be called with each request's head; what it returns lasts until the answer is made or given up.
    pub fn open_request(&self, version: Version) -> OpenRequest<'_> {
        self.enter(State::Served);
        self.http2.store(version == Version::HTTP_2, Relaxed);
        self.open.store(self.open.load(Relaxed) + 1, Relaxed);
        OpenRequest(self)
    }

    /// Room for a request whose body is still on its way. A connection has room for one. By HTTP/2 it may have hundreds, and
    /// each that is one more takes what a connection would take; nothing where no slot is left.
    pub fn room_for_a_body(&self) -> Option<RoomForABody<'_>> {
        let arriving = self.arriving.load(Relaxed);
        let slot = match arriving {
            0 => None,
            _ => Some(self.worker.slots.try_take()?),
        };
        self.arriving.store(arriving + 1, Relaxed);
        Some(RoomForABody {
            connection: self,
            _slot: slot,
        })
    }

    /// For an answer that is not over when it is made. To be dropped by the connection's own thread, as all else is.
    pub fn hold(self: &Arc<Self>) -> Held {
        self.open.store(self.open.load(Relaxed) + 1, Relaxed);
        Held(Arc::clone(self))
    }

    /// The peer is still sending what nobody will read. Closing at once would make its system throw the answer away.
    pub fn close_gently(&self) {
        self.gentle.store(true, Relaxed);
    }

    /// What the service's stage means for this connection. One that has just come may have a request on its way,
    /// and gets a whole sweep's time to say it.
    pub fn order_in(&self, stage: Stage) -> Order {
        match stage {
            Stage::Serving => Order::Carry,
            Stage::Draining if self.state() == State::Fresh && !self.lasted(2 * self.worker.deadlines.sweep) => {
                Order::Carry
            }
            Stage::Draining => Order::Finish,
            Stage::Ending => Order::Abort,
        }
    }

    /// What the deadlines say about this connection.
    pub fn judge(&self, stage: Stage) -> Order {
        let deadlines = &self.worker.deadlines;
        if self.is_blocked_for(deadlines.write) {
            return Order::Abort;
        }
        // An open request has a deadline for its body and a loader that keeps its own.
        if self.open.load(Relaxed) > 0 {
            return Order::Carry;
        }
        let head = if stage == Stage::Serving {
            deadlines.head
        } else {
            deadlines.parting
        };
        let too_long = match self.state() {
            State::Fresh | State::Preface | State::Head => head,
            State::Parting => deadlines.parting,
            State::Served => deadlines.idle + deadlines.parting,
        };
        if self.lasted(too_long) {
            Order::Abort
        } else if self.lasted(deadlines.idle) {
            Order::Finish
        } else {
            self.order_in(stage)
        }
    }

    fn lasted(&self, deadline: Duration) -> bool {
        self.sweeps_since(self.since.load(Relaxed)) >= self.worker.deadlines.sweeps(deadline)
    }

    fn is_blocked_for(&self, deadline: Duration) -> bool {
        let blocked = self.blocked.load(Relaxed);
        blocked != 0 && self.sweeps_since(blocked - 1) >= self.worker.deadlines.sweeps(deadline)
    }

    fn sweeps_since(&self, sweep: u32) -> u32 {
        self.worker.sweep().wrapping_sub(sweep)
    }

    /// Tells the connection's task what to do; nothing less than it was told before.
    pub fn tell(&self, order: Order) {
        self.order.fetch_max(order as u8, Relaxed);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// The work's outcome, or nothing when the connection is told to end before.
    pub(super) async fn unless_told<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| {
            self.waker.get_or_init(|| context.waker().clone());
            match work.as_mut().poll(context) {
                Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                Poll::Pending if self.order.load(Relaxed) != Order::Carry as u8 => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Whether nobody but the two ends can read what is said.
    pub fn is_secure(&self) -> bool {
        self.face.tls.is_some()
    }

    /// All that was to be said is said.
    pub(super) fn has_parted(&self) {
        self.enter(State::Parting);
    }

    /// Whether the rest of what the peer sends is to be read before the connection is closed.
    pub(super) fn parts_gently(&self) -> bool {
        self.gentle.load(Relaxed)
    }

    fn enter(&self, state: State) {
        self.state.store(state as u8, Relaxed);
        self.since.store(self.worker.sweep(), Relaxed);
    }

    fn state(&self) -> State {
        let states = [State::Fresh, State::Preface, State::Head, State::Served, State::Parting];
        states[usize::from(self.state.load(Relaxed))]
    }

    /// What was read while no request is open is the begin of one. (The begin of a pipelined request that came together
    /// with the one before it goes unnoticed; such a connection ends as an idle one does.)
    pub(super) fn has_read(&self, bytes: &[u8]) {
        if self.open.load(Relaxed) > 0 {
            return;
        }
        match self.state() {
            State::Fresh => {
                self.enter(State::Preface);
                self.has_begun(bytes);
            }
            State::Preface => self.has_begun(bytes),
            // HTTP/2 reads much that is no request; only a request makes it less idle.
            State::Served if !self.http2.load(Relaxed) => self.enter(State::Head),
            State::Served | State::Head | State::Parting => {}
        }
    }

    /// Looks whether these bytes go on with the preface. The head's deadline runs from the first byte, so `since` stays.
    fn has_begun(&self, bytes: &[u8]) {
        let state = match preface_with(self.preface.load(Relaxed), bytes) {
            Some(read) if read < PREFACE.len() => {
                self.preface.store(read, Relaxed);
                State::Preface
            }
            Some(_) => {
                self.http2.store(true, Relaxed);
                State::Served
            }
            None => State::Head,
        };
        self.state.store(state as u8, Relaxed);
    }

    pub(super) fn has_written(&self, outcome: &Poll<io::Result<usize>>) {
        let blocked = self.blocked.load(Relaxed);
        match outcome {
            Poll::Pending if blocked == 0 => self.blocked.store(self.worker.sweep().wrapping_add(1), Relaxed),
            Poll::Ready(_) if blocked != 0 => self.blocked.store(0, Relaxed),
            Poll::Pending | Poll::Ready(_) => {}
        }
    }
}

/// How much of the preface has been read once these bytes follow what was read of it before. `None` when they are others.
fn preface_with(read: usize, bytes: &[u8]) -> Option<usize> {
    let missing = &PREFACE[read..];
    let length = missing.len().min(bytes.len());
    (bytes[..length] == missing[..length]).then_some(read + length)
}

/// A request without an answer yet.
pub struct OpenRequest<'a>(&'a Connection);

impl Drop for OpenRequest<'_> {
    fn drop(&mut self) {
        self.0.open.store(self.0.open.load(Relaxed) - 1, Relaxed);
        self.0.since.store(self.0.worker.sweep(), Relaxed);
    }
}

/// Until this is dropped a body may arrive.
pub struct RoomForABody<'a> {
    connection: &'a Connection,
    _slot: Option<Slot>,
}

impl Drop for RoomForABody<'_> {
    fn drop(&mut self) {
        let arriving = &self.connection.arriving;
        arriving.store(arriving.load(Relaxed) - 1, Relaxed);
    }
}

/// An answer that goes on: until this is dropped the connection is not idle.
pub struct Held(Arc<Connection>);

impl Drop for Held {
    fn drop(&mut self) {
        drop(OpenRequest(&self.0));
    }
}

/// Serves the connection until it ends by itself or by order.
pub async fn serve(connection: Arc<Connection>, tcp: TcpStream, builder: Arc<auto::Builder<TokioExecutor>>) {
    let wire = Wire::new(tcp, connection.clone());
    // Nobody comes in who has nothing to say, and whoever never says anything goes out the same way.
    let speaks = connection.unless_told(wire.something()).await.is_some();
    connection.worker.door.pass().await;
    if !speaks {
        return;
    }
    match connection.face.tls.clone() {
        None => converse(connection, wire, builder).await,
        // Apart, so that a connection without TLS does not carry the room for it.
        Some(tls) => {
            Box::pin(async move {
                if let Some(secured) = handshake::shake_hands(&tls, &connection, wire).await {
                    converse(connection, secured, builder).await;
                }
            })
            .await;
        }
    }
}

/// Speaks HTTP over what carries the plain text.
async fn converse<IO>(connection: Arc<Connection>, io: IO, builder: Arc<auto::Builder<TokioExecutor>>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(Stream::new(io, connection.clone()));
    let service = {
        let connection = connection.clone();
        service_fn(move |request| answer(connection.clone(), request))
    };
    let mut conversation = pin!(builder.serve_connection(io, service));
    let mut finishing = false;
    poll_fn(|context| {
        connection.waker.get_or_init(|| context.waker().clone());
        loop {
            // First the conversation: what has arrived before the order is still served.
            if conversation.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            match connection.order.load(Relaxed) {
                order if order == Order::Finish as u8 && !finishing => {
                    finishing = true;
                    conversation.as_mut().graceful_shutdown();
                }
                order if order == Order::Abort as u8 => return Poll::Ready(()),
                _ => return Poll::Pending,
            }
        }
    })
    .await;
    connection.worker.door.pass().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of the preface these reads are, one after the other.
    fn preface_of(reads: &[&[u8]]) -> Option<usize> {
        reads.iter().try_fold(0, |read, bytes| preface_with(read, bytes))
    }

    #[test]
    fn http_2_has_begun_when_the_whole_preface_was_read_in_however_many_pieces() {
        assert_eq!(preface_of(&[PREFACE]), Some(24));
        assert_eq!(preface_of(&[PREFACE, &[0, 0, 0, 4]]), Some(24));
        assert_eq!(preface_of(&[&[PREFACE, &[0, 0, 0, 4]].concat()]), Some(24));
        for size in 1..PREFACE.len() {
            let pieces: Vec<_> = PREFACE.chunks(size).collect();
            assert_eq!(preface_of(&pieces), Some(24), "{size}");
            assert_eq!(preface_of(&[&PREFACE[..size]]), Some(size), "{size}");
        }
    }

    #[test]
    fn what_only_begins_like_the_preface_is_none() {
        for reads in [
            &[b"GET /health HTTP/1.1\r\n".as_slice()][..],
            &[b"POST /verify HTTP/1.1\r\n"],
            &[b"P", b"OST /verify"],
            &[b"PRI ", b"/x HTTP/1.1\r\n"],
            &[b"PRI * HTTP/1.1\r\n"],
            &[b"PRI * HTTP/2.0\r\n\r\n", b"SM\r\n\r", b"x"],
            &[b"pri "],
        ] {
            assert_eq!(preface_of(reads), None, "{reads:?}");
        }
    }
}
