//! A listener that gives every request the same answer and keeps what was asked: for answers that the real
//! service does not give, and for counting calls.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

pub struct Stub {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// `status` is such as `200 OK`.
    pub fn answering(status: &str, body: &str) -> Self {
        Self::giving(Some(whole(status, body)))
    }

    fn giving(answer: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        thread::spawn(move || {
            let mut unanswered = Vec::new();
            for mut stream in listener.incoming().flatten() {
                let is_question = keep_one(&stream, &kept).starts_with("GET ");
                let nothing_to_say = is_question.then(|| whole("200 OK", "{}"));
                match answer.as_ref().or(nothing_to_say.as_ref()) {
                    // A caller that has gone away needs no answer.
                    Some(answer) => drop(stream.write_all(answer.as_bytes())),
                    None => unanswered.push(stream),
                }
            }
        });
        Self { address, requests }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Takes every request, has nothing to say of itself, and gives no answer to what it is told.
    pub fn silent() -> Self {
        Self::giving(None)
    }

    /// The requests by which it was told to load the keys.
    pub fn refreshes(&self) -> Vec<String> {
        let mut requests = self.requests();
        requests.retain(|request| request.starts_with("POST /refresh"));
        requests
    }

    /// Each request's line, headers and body.
    pub fn requests(&self) -> Vec<String> {
        self.requests
            .lock()
            .expect("the listening thread does not panic")
            .clone()
    }
}

fn whole(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The request, as it is kept where it is whole.
fn keep_one(stream: &TcpStream, kept: &Mutex<Vec<String>>) -> String {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request).is_ok_and(|length| length > 0) {}
    let length = request
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_ok() {
        request.push_str(&String::from_utf8_lossy(&body));
        kept.lock()
            .expect("no test panics while it looks")
            .push(request.clone());
    }
    request
}
