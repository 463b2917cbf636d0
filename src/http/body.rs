//! A request's body, in memory: bounded in size and in time.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::connection::Connection;

/// The most bytes of a body.
pub const MAX_BODY: usize = 64 * 1024;

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    TooLarge,
    TooSlow,
    Broken,
}

impl Unread {
    /// The reason in the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::TooLarge => "body_too_large",
            Self::TooSlow => "body_too_slow",
            Self::Broken => "body_broken",
        }
    }
}

/// A whole body: as it lies in the connection's own buffer, or joined from several pieces and wiped on drop.
pub enum Received {
    Piece(Bytes),
    Joined(Zeroizing<Vec<u8>>),
}

impl Received {
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Piece(bytes) => bytes,
            Self::Joined(bytes) => bytes,
        }
    }
}

/// Most bodies have arrived together with their head; only one that has not is worth a timer, and takes room meanwhile.
pub async fn receive(body: Incoming, connection: &Connection) -> Result<Received, Unread> {
    let mut received = pin!(read(body));
    match poll_fn(|context: &mut Context<'_>| Poll::Ready(received.as_mut().poll(context))).await {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Box::pin(in_time(received, connection)).await,
    }
}

async fn in_time(
    received: impl Future<Output = Result<Received, Unread>>,
    connection: &Connection,
) -> Result<Received, Unread> {
    let _room = connection.room_for_a_body().ok_or(Unread::TooSlow)?;
    let within = connection.worker.deadlines.body;
    timeout(within, received).await.unwrap_or(Err(Unread::TooSlow))
}

async fn read(mut body: Incoming) -> Result<Received, Unread> {
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(Unread::TooLarge);
    }
    let Some(first) = next_piece(&mut body).await? else {
        return Ok(Received::Piece(Bytes::new()));
    };
    if body.is_end_stream() {
        return whole(first);
    }
    match next_piece(&mut body).await? {
        None => whole(first),
        Some(second) => Box::pin(join(body, [first, second])).await,
    }
}

fn whole(piece: Bytes) -> Result<Received, Unread> {
    if piece.len() > MAX_BODY {
        Err(Unread::TooLarge)
    } else {
        Ok(Received::Piece(piece))
    }
}

async fn join(mut body: Incoming, begin: [Bytes; 2]) -> Result<Received, Unread> {
    // Room for all there may be at once: a vector that grows leaves copies behind that are not wiped.
    let mut joined = Zeroizing::new(Vec::with_capacity(MAX_BODY));
    let mut begin = begin.into_iter();
    while let Some(piece) = match begin.next() {
        Some(piece) => Some(piece),
        None => next_piece(&mut body).await?,
    } {
        if joined.len() + piece.len() > MAX_BODY {
            return Err(Unread::TooLarge);
        }
        joined.extend_from_slice(&piece);
    }
    Ok(Received::Joined(joined))
}

/// Trailers are passed over.
async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>, Unread> {
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame.map_err(|_| Unread::Broken)?.into_data() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}
