//! A client that speaks HTTP/1.1 by TLS, and tells how the connection ended.

use super::{PATIENCE, http_client::Response};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};

/// One connection whose handshake is done.
pub struct TlsClient {
    pub stream: StreamOwned<ClientConnection, TcpStream>,
    read: Vec<u8>,
}

/// How the other side ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It said that nothing more will come.
    Told,
    /// It broke off.
    Cut,
}

impl TlsClient {
    /// Trusts this authority and nobody else.
    pub fn connect(address: SocketAddr, root: &Path) -> Self {
        Self::try_connect(address, root).expect("a handshake")
    }

    pub fn try_connect(address: SocketAddr, root: &Path) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_file(root).expect("a certificate");
        roots.add(root).expect("an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has all versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let mut session = ClientConnection::new(Arc::new(config), name).expect("a valid configuration");
        let mut tcp = TcpStream::connect(address)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        tcp.set_nodelay(true)?;
        while session.is_handshaking() {
            session.complete_io(&mut tcp)?;
        }
        Ok(Self {
            stream: StreamOwned::new(session, tcp),
            read: Vec::new(),
        })
    }

    /// The certificate that was shown.
    pub fn shown(&self) -> CertificateDer<'static> {
        let chain = self.stream.conn.peer_certificates().expect("every server shows one");
        chain[0].clone().into_owned()
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }

    pub fn post(&mut self, path: &str, body: &[u8]) -> Response {
        self.request("POST", path, &[], body)
    }

    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let headers: Vec<String> = headers
            .iter()
            .map(|(name, value)| {
                format!(
                    "{name}: {value}
"
                )
            })
            .collect();
        let headers = headers.concat();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n");
        self.send(&[head.as_bytes(), body].concat()).expect("it takes requests");
        self.answer().expect("it answers")
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The next answer, whose body has the announced length.
    pub fn answer(&mut self) -> io::Result<Response> {
        let head_ends = |read: &[u8]| read.windows(4).position(|four| four == b"\r\n\r\n");
        let end = loop {
            match head_ends(&self.read) {
                Some(end) => break end + 4,
                None => self.read_more()?,
            }
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).expect("a head is text");
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let mut response = Response {
            status: head[9..12].parse().expect("a status"),
            headers: lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            body: Vec::new(),
        };
        let length = response
            .header("content-length")
            .map_or(0, |length| length.parse().expect("a number"));
        while self.read.len() < length {
            self.read_more()?;
        }
        response.body = self.read.drain(..length).collect();
        Ok(response)
    }

    /// Everything until the connection ends, which it has to.
    pub fn rest(&mut self) -> (String, End) {
        let end = loop {
            match self.read_more() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WriteZero => break End::Told,
                Err(error) => {
                    let is_cut = matches!(
                        error.kind(),
                        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
                    );
                    assert!(is_cut, "not closed: {error}");
                    break End::Cut;
                }
            }
        };
        (
            String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned(),
            end,
        )
    }

    /// `WriteZero` when the other side has said that nothing more will come.
    fn read_more(&mut self) -> io::Result<()> {
        let mut more = [0; 4096];
        match self.stream.read(&mut more)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            count => {
                self.read.extend_from_slice(&more[..count]);
                Ok(())
            }
        }
    }
}
