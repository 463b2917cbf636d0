//! A small real backend behind a proxy: it answers every request with what it was sent, as JSON.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

/// Served until the process ends; every connection has a thread.
pub struct Backend {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

/// One request as it arrived. Names are in lower case.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

type Answer = Arc<dyn Fn(&Request) -> String + Send + Sync>;

impl Backend {
    pub fn echo() -> Self {
        Self::answering(|request| {
            let body = request.as_json().to_string();
            let length = body.len();
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        })
    }

    /// Answers every request with these bytes.
    pub fn answering(answer: impl Fn(&Request) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let backend = Self {
            address,
            seen: seen.clone(),
        };
        let answer: Answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, seen) = (answer.clone(), seen.clone());
                // A proxy may close whenever it likes.
                thread::spawn(move || serve(stream, &answer, &seen).ok());
            }
        });
        backend
    }

    /// Everything that reached it so far.
    pub fn requests(&self) -> Vec<Request> {
        self.seen.lock().expect("nobody panics while holding it").clone()
    }
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    fn as_json(&self) -> Value {
        let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, value) in &self.headers {
            headers.entry(name).or_default().push(value);
        }
        let body = String::from_utf8_lossy(&self.body);
        json!({"method": self.method, "target": self.target, "headers": headers, "body": body})
    }
}

fn serve(stream: TcpStream, answer: &Answer, seen: &Mutex<Vec<Request>>) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader)? {
        seen.lock()
            .expect("nobody panics while holding it")
            .push(request.clone());
        writer.write_all(answer(&request).as_bytes())?;
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let start = read_line(reader)?;
    let mut words = start.split(' ').map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request {
        method,
        target,
        headers,
        body: Vec::new(),
    };
    request.body = read_body(reader, &request)?;
    Ok(Some(request))
}

fn read_body(reader: &mut impl BufRead, head: &Request) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if head.header("transfer-encoding").is_some() {
        loop {
            let size = usize::from_str_radix(&read_line(reader)?, 16).map_err(io::Error::other)?;
            io::copy(&mut reader.take(size as u64), &mut body)?;
            read_line(reader)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    let length = head.header("content-length").and_then(|length| length.parse().ok());
    io::copy(&mut reader.take(length.unwrap_or_default()), &mut body)?;
    Ok(body)
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
