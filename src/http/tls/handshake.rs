//! The begin of a connection by TLS: the handshake, or the sentence for who speaks plain HTTP here.

use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::Tls;
use crate::http::{
    connection::Connection,
    stream::{Stream, Wire},
};

const PLAIN_HTTP: &str = r#"{"error":"This port speaks HTTPS only"}"#;

/// What carries the plain text, once both sides agree on how to hide it. The head's deadline runs from connecting, so
/// a peer that stalls is cut by the sweep as one that sends no request.
pub async fn shake_hands(tls: &Tls, connection: &Arc<Connection>, wire: Wire) -> Option<TlsStream<Wire>> {
    let shaking = async {
        match wire.first_byte().await {
            // A handshake begins with 22; a method with a letter.
            Some(b'A'..=b'Z') => {
                refuse_plain_http(connection, wire).await;
                None
            }
            Some(_) => agree(tls, connection, wire).await,
            None => None,
        }
    };
    connection.unless_told(shaking).await.flatten()
}

async fn agree(tls: &Tls, connection: &Connection, wire: Wire) -> Option<TlsStream<Wire>> {
    let telemetry = &connection.worker.app.telemetry;
    match TlsAcceptor::from(tls.current()).accept(wire).await {
        Ok(secured) => {
            telemetry.metrics.tls_handshake();
            Some(secured)
        }
        Err(error) => {
            telemetry.metrics.tls_failed();
            // Its text names what the two sides could not agree on, in words of the protocol.
            tracing::debug!(
                event = "tls_handshake_failed",
                error = %error,
                peer = %connection.peer.ip().to_canonical(),
                "a connection could not be secured"
            );
            None
        }
    }
}

/// What was meant for plain HTTP is neither read nor answered but by this.
async fn refuse_plain_http(connection: &Arc<Connection>, wire: Wire) {
    connection.worker.app.telemetry.metrics.tls_failed();
    connection.close_gently();
    let mut stream = Stream::new(wire, connection.clone());
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{PLAIN_HTTP}",
        PLAIN_HTTP.len()
    );
    if stream.write_all(answer.as_bytes()).await.is_ok() {
        // The peer may have gone; then nobody is left to be told.
        let _ = stream.shutdown().await;
    }
}
