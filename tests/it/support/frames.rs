//! HTTP/2 as raw frames, as no library would send them.

use super::PATIENCE;
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// With what a connection ends.
pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const ENHANCE_YOUR_CALM: u32 = 11;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// `GET /health`, in the static table and literals that no table remembers.
pub const HEALTH: &[u8] = b"\x82\x86\x04\x07/health\x01\x01x";
/// `POST /verify`.
pub const VERIFY: &[u8] = b"\x83\x86\x04\x07/verify\x01\x01x";

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame of any kind, whether it makes sense or not.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A connection that has said its preface and its settings.
pub struct Frames(TcpStream);

impl Frames {
    pub fn open(address: SocketAddr) -> Self {
        Self::with_settings(address, b"")
    }

    pub fn with_settings(address: SocketAddr, settings: &[u8]) -> Self {
        let stream = TcpStream::connect(address).expect("the service listens");
        let mut frames = Self(stream);
        frames
            .send(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat())
            .expect("a new connection takes a few bytes");
        frames
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Sends this again and again and reads nothing, until the service closes the connection or takes no more for a while.
    /// Tells how much it has taken.
    pub fn flood(&mut self, most: usize, mut next: impl FnMut(usize) -> Vec<u8>) -> usize {
        let a_while = Duration::from_millis(500);
        self.0
            .set_write_timeout(Some(a_while))
            .expect("a connected socket takes options");
        (0..most).take_while(|turn| self.send(&next(*turn)).is_ok()).count()
    }

    /// The kinds of all frames that come until the service answers a ping or closes the connection.
    pub fn said(mut self) -> Vec<u8> {
        // Closed already is as good.
        let _ = self.send(&frame(PING, 0, 0, b"the last"));
        self.said_until(|kind, payload| kind == PING && payload == b"the last")
    }

    /// The code with which the service says that it ends the connection, which it has to.
    pub fn goodbye(mut self) -> Option<u32> {
        let mut code = None;
        self.said_until(|kind, payload| {
            if kind == GOAWAY {
                code = payload[4..8].try_into().map(u32::from_be_bytes).ok();
            }
            false
        });
        code
    }

    /// The kinds of all frames up to such a one, or to the end of the connection. One of both must come before `PATIENCE` is over.
    pub fn said_until(&mut self, mut is_last: impl FnMut(u8, &[u8]) -> bool) -> Vec<u8> {
        self.0
            .set_read_timeout(Some(PATIENCE))
            .expect("a connected socket takes options");
        let (mut kinds, mut head) = (Vec::new(), [0; 9]);
        while self.read_whole(&mut head) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if !self.read_whole(&mut payload) {
                break;
            }
            kinds.push(head[3]);
            if is_last(head[3], &payload) {
                break;
            }
        }
        kinds
    }

    /// False at the end of the connection. A reset is an end, too; silence is none.
    fn read_whole(&mut self, bytes: &mut [u8]) -> bool {
        use io::ErrorKind::{TimedOut, WouldBlock};
        match self.0.read_exact(bytes) {
            Err(error) if matches!(error.kind(), TimedOut | WouldBlock) => {
                panic!("neither answered nor closed: {error}")
            }
            read => read.is_ok(),
        }
    }
}
