//! Ports that are free and stay so: none that the system could give to another test meanwhile.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::LazyLock,
};

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

/// Where every connection is refused as long as the tests run.
pub fn refusing() -> SocketAddr {
    static PORT: LazyLock<RefusingPort> = LazyLock::new(RefusingPort::bind);
    PORT.address()
}

/// A port at which every connection is refused while this is held: it is taken, and nobody listens.
pub struct RefusingPort(Socket);

impl RefusingPort {
    pub fn bind() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("a free port");
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        let address = self.0.local_addr().expect("a bound socket has an address");
        address.as_socket().expect("an IP address")
    }

    /// From now on connections are taken.
    pub fn listen(self) -> TcpListener {
        self.0.listen(16).expect("a bound socket can listen");
        self.0.into()
    }
}
