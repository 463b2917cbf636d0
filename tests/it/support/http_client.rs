//! A blocking HTTP/1.1 client over one TCP connection, which can also send bytes that are no HTTP at all.

use super::{PATIENCE, documented};
use socket2::{Domain, Socket, Type};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
};

/// One answer, as it came over the wire; chunked bodies are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("body is not JSON ({e}): {}", self.text()))
    }

    /// Status and JSON body, the pair most tests compare.
    pub fn status_and_json(&self) -> (u16, serde_json::Value) {
        (self.status, self.json())
    }
}

/// The header of that name, which must be a number.
#[track_caller]
pub fn number(answer: &Response, header: &str) -> u64 {
    let value = answer.header(header).and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("{header} is no number: {:?}, {}", answer.headers, answer.text()))
}

/// A kept-alive connection. Requests may be sent by parts, pipelined, or as raw bytes.
pub struct Connection {
    reader: BufReader<TcpStream>,
    is_judged: bool,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"))
    }

    /// As a client that has this address.
    pub fn open_from(client: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let own = SocketAddr::from((client, 0));
        socket.bind(&own.into()).expect("all of 127.0.0.0/8 is this host");
        socket.connect(&address.into()).expect("somebody listens");
        Self::over(socket.into()).expect("a connected socket takes options")
    }

    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            reader: BufReader::new(stream),
            is_judged: false,
        })
    }

    /// From now on each answer to a `request` must be one that the service's own document describes.
    pub fn judged(mut self) -> Self {
        self.is_judged = true;
        self
    }

    pub fn local_address(&self) -> SocketAddr {
        self.reader
            .get_ref()
            .local_addr()
            .expect("a connected socket has an address")
    }

    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.request("GET", path, &[], b"")
    }

    pub fn post(&mut self, path: &str, body: &[u8]) -> io::Result<Response> {
        self.request("POST", path, &[("Content-Type", "application/json")], body)
    }

    /// Sends a well-formed request and reads its answer. `Host` is added unless given, `Content-Length` always.
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
        self.send(&self.format(method, path, headers, body))?;
        let answer = self.read_response_to(method)?;
        if self.is_judged
            && let Err(problem) = documented::judge(method, path, &answer)
        {
            panic!("/openapi.json and the service differ at {method} {path}: {problem}");
        }
        Ok(answer)
    }

    /// Any bytes at all.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.reader.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Says that nothing more will be sent; the answer can still be read.
    pub fn finish_sending(&mut self) -> io::Result<()> {
        self.reader.get_ref().shutdown(Shutdown::Write)
    }

    /// The next answer on the connection; an `UnexpectedEof` if the server closed it instead.
    pub fn read_response(&mut self) -> io::Result<Response> {
        self.read_response_to("GET")
    }

    /// Waits for the `100 Continue` that says that the head was read and the body is wanted.
    pub fn read_continue(&mut self) -> io::Result<()> {
        let (status, _) = self.read_head()?;
        if status == 100 {
            Ok(())
        } else {
            Err(malformed(&format!("not an invitation to continue: {status}")))
        }
    }

    /// Everything until the server closes the connection, which it must do before `PATIENCE` is over.
    /// A connection that was reset counts as closed.
    pub fn read_to_close(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Err(e) if e.kind() != io::ErrorKind::ConnectionReset => Err(e),
            Ok(_) | Err(_) => Ok(rest),
        }
    }

    fn format(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut request = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            let server = self
                .reader
                .get_ref()
                .peer_addr()
                .expect("a connected socket has a peer");
            request.extend_from_slice(format!("Host: {server}\r\n").as_bytes());
        }
        for (name, value) in headers {
            request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        request.extend_from_slice(body);
        request
    }

    pub fn read_response_to(&mut self, method: &str) -> io::Result<Response> {
        loop {
            let (status, headers) = self.read_head()?;
            if status / 100 == 1 {
                continue;
            }
            let mut response = Response {
                status,
                headers,
                body: Vec::new(),
            };
            if method != "HEAD" && status != 204 && status != 304 {
                response.body = self.read_body(&response)?;
            }
            return Ok(response);
        }
    }

    fn read_head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let line = self.read_line()?;
        let status = line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5))
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| malformed(&format!("not a status line: {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| malformed(&format!("not a header: {line:?}")))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn read_body(&mut self, head: &Response) -> io::Result<Vec<u8>> {
        if head
            .header("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            return self.read_chunks();
        }
        match head.header("content-length") {
            Some(length) => self.read_exactly(length.parse().map_err(|_| malformed("Content-Length is no number"))?),
            None => self.read_to_close(),
        }
    }

    fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.read_line()?, 16).map_err(|_| malformed("not a chunk size"))?;
            body.extend(self.read_exactly(size)?);
            self.read_line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn read_exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// One GET on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> Response {
    let mut connection = Connection::open(address);
    connection.get(path).unwrap_or_else(|e| panic!("GET {path}: {e}"))
}

/// One POST on a connection of its own.
pub fn post(address: SocketAddr, path: &str, body: &[u8]) -> Response {
    let mut connection = Connection::open(address);
    connection
        .post(path, body)
        .unwrap_or_else(|e| panic!("POST {path}: {e}"))
}
