//! Requests as the proxy reads and changes them, and the answers that it makes up.

use std::io;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

#[derive(Clone)]
pub struct Request {
    /// The request line and the headers.
    lines: Vec<String>,
    pub body: Vec<u8>,
}

impl Request {
    pub async fn read(client: &mut BufReader<TcpStream>) -> io::Result<Self> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if client.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut request = Self {
            lines,
            body: Vec::new(),
        };
        if request.header("expect").is_some() {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let length = request
            .header("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        request.body.resize(length, 0);
        client.read_exact(&mut request.body).await?;
        Ok(request)
    }

    pub fn method(&self) -> &str {
        self.lines[0].split(' ').next().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.lines.iter().skip(1).filter_map(|line| line.split_once(':'));
        headers
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    pub fn without(&self, names: &[&str]) -> Self {
        let is_unwanted = |line: &String| {
            let name = line.split(':').next().unwrap_or_default();
            names.iter().any(|unwanted| unwanted.eq_ignore_ascii_case(name))
        };
        let lines = self.lines.iter().filter(|line| !is_unwanted(line)).cloned().collect();
        Self {
            lines,
            body: self.body.clone(),
        }
    }

    pub fn head_for_one_answer(&self) -> String {
        format!("{}\r\nConnection: close\r\n\r\n", self.lines.join("\r\n"))
    }
}

pub fn body_start(answer: &[u8]) -> usize {
    answer
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .expect("an answer has a head")
        + 4
}

pub fn without(header: &str, answer: &[u8]) -> Vec<u8> {
    let (head, body) = answer.split_at(body_start(answer));
    let head = String::from_utf8_lossy(head);
    let is_named = |line: &str| {
        line.split(':')
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case(header))
    };
    let kept: String = head.split_inclusive("\r\n").filter(|line| !is_named(line)).collect();
    [kept.as_bytes(), body].concat()
}

/// The same answer with another `ETag`.
pub fn tagged(tag: &str, answer: &[u8]) -> Vec<u8> {
    let mut answer = without("etag", answer);
    let head_end = body_start(&answer) - 2;
    answer.splice(head_end..head_end, format!("ETag: {tag}\r\n").into_bytes());
    answer
}

pub const NOT_MODIFIED: &str = "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n";

pub const HTML_ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 27\r\nConnection: close\r\n\r\n\
                           <html>Please sign in</html>";

pub fn error_answer(status: u16, code: &str) -> String {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as planned</Message></Error>");
    let length = body.len();
    format!("HTTP/1.1 {status} Planned\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}
