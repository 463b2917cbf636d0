//! Ports that are free and stay so: none that the system could give to another test meanwhile.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use rand::RngExt;
use socket2::{Domain, Socket, Type};

/// A free port for a program that must be told one, from below those that the system gives away by itself.
pub fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (0..1000)
        .map(|_| rand::rng().random_range(20_000..30_000))
        .find(is_free)
        .expect("a free port")
}

/// An address at which every connection is refused while this is held: its port is taken, and nobody listens.
pub struct Nobody {
    pub address: SocketAddr,
    _held: Socket,
}

impl Nobody {
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .expect("a free port");
        let address = socket.local_addr().expect("a bound socket").as_socket().expect("of IP");
        Self { address, _held: socket }
    }
}
