//! A TCP proxy in front of anything that the service depends on, whose far end can go wrong in every way a peer can.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// What the far end does from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Every connection is reset at once.
    Reset,
    /// Whatever is sent is read, and the connection closed.
    HangUp,
    /// Whatever is sent is read and never answered.
    Swallow,
    /// Answers come, one byte a second.
    Trickle,
    /// Answers end after so many bytes, with the connection.
    Cut(usize),
    /// Whatever is sent is answered by these bytes.
    Say(&'static [u8]),
    /// These bytes, and then a letter again and again for as long as somebody reads.
    Endless(&'static [u8]),
}

/// Runs until the process ends; every connection has threads of its own.
pub struct FarEnd {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    target: SocketAddr,
    trouble: Option<Trouble>,
    open: Vec<TcpStream>,
}

impl FarEnd {
    /// Passes everything on until trouble is made.
    pub fn of(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(Mutex::new(State {
            target,
            trouble: None,
            open: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // Either end may go away whenever it likes, and that is all.
                thread::spawn(move || serve(near, &shared).ok());
            }
        });
        Self { address, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was connected before is cut, so that nothing goes past the trouble.
    pub fn make(&self, trouble: Trouble) {
        self.change(Some(trouble));
    }

    pub fn heal(&self) {
        self.change(None);
    }

    /// Who connects from now on is connected to this one. What was connected before stays where it is.
    pub fn lead_to(&self, target: SocketAddr) {
        lock(&self.state).target = target;
    }

    fn change(&self, trouble: Option<Trouble>) {
        let mut state = lock(&self.state);
        state.trouble = trouble;
        for connection in state.open.drain(..) {
            // It may be closed already.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut near: TcpStream, shared: &Mutex<State>) -> io::Result<()> {
    let (trouble, target) = {
        let mut state = lock(shared);
        state.open.push(near.try_clone()?);
        (state.trouble, state.target)
    };
    let mut scratch = [0; 4096];
    match trouble {
        Some(Trouble::Reset) => socket2::SockRef::from(&near).set_linger(Some(Duration::ZERO)),
        Some(Trouble::HangUp) => near.read(&mut scratch).map(drop),
        Some(Trouble::Swallow) => io::copy(&mut near, &mut io::sink()).map(drop),
        Some(Trouble::Say(bytes)) => {
            while near.read(&mut scratch)? > 0 {
                near.write_all(bytes)?;
            }
            Ok(())
        }
        Some(Trouble::Endless(begin)) => {
            if near.read(&mut scratch)? == 0 {
                return Ok(());
            }
            near.write_all(begin)?;
            let many = vec![b'x'; 1 << 16];
            loop {
                near.write_all(&many)?;
            }
        }
        Some(Trouble::Cut(length)) => {
            let mut far = carry_to(target, &near, shared)?;
            io::copy(&mut Read::by_ref(&mut far).take(length as u64), &mut near)?;
            near.shutdown(Shutdown::Both)
        }
        Some(Trouble::Trickle) => {
            let mut far = carry_to(target, &near, shared)?;
            let mut byte = [0];
            while far.read(&mut byte)? > 0 {
                near.write_all(&byte)?;
                thread::sleep(Duration::from_secs(1));
            }
            Ok(())
        }
        None => {
            let mut far = carry_to(target, &near, shared)?;
            io::copy(&mut far, &mut near)?;
            near.shutdown(Shutdown::Both)
        }
    }
}

/// Connects to the far end and carries there what comes from the near one.
fn carry_to(target: SocketAddr, near: &TcpStream, shared: &Mutex<State>) -> io::Result<TcpStream> {
    let far = TcpStream::connect(target)?;
    far.set_nodelay(true)?;
    near.set_nodelay(true)?;
    lock(shared).open.push(far.try_clone()?);
    let (mut from, mut to) = (near.try_clone()?, far.try_clone()?);
    thread::spawn(move || {
        // Whichever end goes, the other learns it.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    Ok(far)
}
