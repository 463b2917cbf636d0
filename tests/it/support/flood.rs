//! Many requests at full speed over a few kept-alive connections, each request answered and its status counted.

use super::{http_client::Connection, service::Service};
use serde_json::json;
use std::{collections::BTreeMap, thread};

/// Requests that are sent before the first of their answers is read.
const PIPELINED: usize = 50;

/// How many answers had which status.
pub type Statuses = BTreeMap<u16, usize>;

/// Sends the requests numbered from 0 and reads every answer; one that does not come fails the test.
pub fn flood(
    service: &Service,
    connections: usize,
    requests: usize,
    request: impl Fn(usize) -> Vec<u8> + Sync,
) -> Statuses {
    thread::scope(|scope| {
        let request = &request;
        let senders: Vec<_> = (0..connections)
            .map(|first| scope.spawn(move || send(service.connect(), (first..requests).step_by(connections), request)))
            .collect();
        let mut all = Statuses::new();
        for statuses in senders
            .into_iter()
            .map(|sender| sender.join().expect("a connection was let down"))
        {
            for (status, count) in statuses {
                *all.entry(status).or_default() += count;
            }
        }
        all
    })
}

fn send(
    mut connection: Connection,
    numbers: impl Iterator<Item = usize>,
    request: &impl Fn(usize) -> Vec<u8>,
) -> Statuses {
    let numbers: Vec<usize> = numbers.collect();
    let mut statuses = Statuses::new();
    for batch in numbers.chunks(PIPELINED) {
        let bytes: Vec<u8> = batch.iter().flat_map(|number| request(*number)).collect();
        connection.send(&bytes).expect("requests are taken");
        for _ in batch {
            let answer = connection.read_response().expect("every request is answered");
            *statuses.entry(answer.status).or_default() += 1;
        }
    }
    statuses
}

/// The bytes of a verify; header values may be any bytes.
pub fn verify_request(secret: &str, headers: &[(&str, &[u8])]) -> Vec<u8> {
    post_request("/verify", json!({ "api_key": secret }).to_string().as_bytes(), headers)
}

pub fn post_request(path: &str, body: &[u8], headers: &[(&str, &[u8])]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n",
        body.len()
    )
    .into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(name.as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    request
}
