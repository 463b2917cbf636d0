//! `POST /verify`: read, look up, answer, and tell telemetry. Nothing here waits but for the body.

use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Request, Response, body::Incoming};

use super::{
    body,
    connection::Connection,
    identity,
    reply::{Refusal, Reply},
};
use crate::core::{request::VerifyRequest, secret::shown_prefix, verify};

pub async fn answer(connection: &Connection, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let reply = match body::receive(body, connection.worker.deadlines.body).await {
        Ok(body) => judge(connection, &head.headers, body.as_bytes()),
        Err(unread) => {
            connection.close_gently();
            malformed(connection, &head.headers, unread.word(), Refusal::Body(unread))
        }
    };
    reply.into_response_with(head.version, head.headers)
}

fn judge(connection: &Connection, headers: &HeaderMap, body: &[u8]) -> Reply {
    let began = Instant::now();
    match VerifyRequest::parse(body) {
        Ok(request) => look_up(connection, headers, &request.api_key, began),
        Err(reason) => malformed(connection, headers, reason.kind(), Refusal::Malformed(reason)),
    }
}

fn look_up(connection: &Connection, headers: &HeaderMap, presented: &str, began: Instant) -> Reply {
    let app = &connection.worker.app;
    let telemetry = &app.telemetry;
    let Some(loaded) = app.reader.current() else {
        telemetry.metrics.verify_unavailable();
        tracing::debug!(
            event = "verification_unavailable",
            request_id = identity::request_id(headers, &connection.worker.request_ids).as_str(),
            traceparent = identity::traceparent(headers),
            "a key was asked for before any were loaded"
        );
        return Reply::from(Refusal::NotLoaded);
    };
    let request = || identity::request_info(headers, &connection.worker.request_ids);
    match verify::verify(&loaded.index, presented, app.clock.now()) {
        Ok(key) => {
            let reply = Reply::good_key(&key);
            telemetry.verification_success(request, key.id, key.name);
            telemetry.metrics.verify_success(began.elapsed());
            reply
        }
        Err(refusal) => {
            telemetry.verification_failed(request, shown_prefix(presented), refusal.code());
            telemetry.metrics.verify_failed(began.elapsed());
            Reply::from(Refusal::Key(refusal))
        }
    }
}

fn malformed(connection: &Connection, headers: &HeaderMap, reason: &'static str, refusal: Refusal) -> Reply {
    connection.worker.app.telemetry.metrics.verify_malformed();
    tracing::debug!(
        event = "verification_malformed",
        request_id = identity::request_id(headers, &connection.worker.request_ids).as_str(),
        traceparent = identity::traceparent(headers),
        reason,
        "a request body was no verify request"
    );
    Reply::from(refusal)
}
