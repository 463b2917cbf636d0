//! `GET /dashboard/events`: what happens, as it is logged, sent to a page as server-sent events. The lines are taken where
//! the log is written, so that no request pays for whoever watches; how many are sent and looked at is bounded.

mod shown;
mod watcher;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use self::{shown::Gaze, watcher::Watcher};
use super::{csrf, route::EVENTS};
use crate::http::{
    App,
    body::Received,
    caller_of,
    connection::{Connection, Held},
    expect_no_body,
    keys::{
        Asked, Presented,
        answer::Answer,
        caller::{self, Origin},
        problem::Problem,
    },
    outgoing::Outgoing,
    reply::{Reply, Wait},
    watch::Watch,
};

/// How many may be open at once.
pub const MOST_FEEDS: usize = 32;
/// How many pieces may wait for a page that takes its time.
const WAITING: usize = 256;

/// Asks proxies to pass on each piece as it comes.
static X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The body of the answer. While it lasts its connection is not idle.
pub struct Feed {
    pieces: mpsc::Receiver<Bytes>,
    _held: Held,
    _place: OwnedSemaphorePermit,
}

impl Feed {
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.pieces.poll_recv(context)
    }
}

/// What leads to one page. It is over when its watcher has gone, whatever still wants to send.
struct Line {
    pieces: mpsc::Sender<Bytes>,
    /// Events for this page that it was not sent, since it was last told.
    skipped: AtomicU64,
    /// There may have been more that nobody looked at.
    is_more: AtomicBool,
}

impl Line {
    /// Whether there was room.
    fn send(&self, piece: impl Into<Bytes>) -> bool {
        self.pieces.try_send(piece.into()).is_ok()
    }

    fn skip(&self, events: u64) {
        self.skipped.fetch_add(events, Relaxed);
    }

    fn tell_skipped(&self) {
        let (skipped, is_more) = (self.skipped.swap(0, Relaxed), self.is_more.swap(false, Relaxed));
        if skipped > 0 || is_more {
            let exact = !is_more;
            let told = self.send(format!(
                "event: skipped\ndata: {{\"events\":{skipped},\"exact\":{exact}}}\n\n"
            ));
            if !told {
                self.skip(skipped);
            }
        }
    }
}

/// Why there is no feed.
enum Refused {
    Problem(Problem),
    TooMany,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

pub async fn answer(connection: &Arc<Connection>, request: Request<Incoming>) -> Response<Outgoing> {
    expect_no_body(connection, &request);
    let watch = Watch::begin(connection, &request);
    let admitted = connection.worker.app.gate.admit(connection, &request, EVENTS).await;
    let response = if let Err(too_often) = admitted {
        too_often.into_response(request.version())
    } else {
        let asked = Asked {
            caller: caller_of(connection, &request, &watch.request_id),
            headers: request.headers().clone(),
            query: String::new(),
            body: Arc::new(Ok(Received::Piece(Bytes::new()))),
        };
        let opened = open(connection, request.method(), &asked).await;
        opened.map_or_else(|refused| refused.answer(&asked.headers, &request), streaming)
    };
    watch.end(response)
}

async fn open(connection: &Arc<Connection>, method: &Method, asked: &Asked) -> Result<Feed, Refused> {
    let app = &connection.worker.app;
    if *method != Method::GET {
        return Err(Problem::MethodNotAllowed { allow: "GET" }.into());
    }
    // Another page cannot read what comes, but it could take up the room.
    if !csrf::is_own_page(&asked.caller, &asked.headers) {
        return Err(Problem::ForeignPage.into());
    }
    let origin = Origin::of(app, asked, EVENTS);
    let found = caller::of_cookie(app, asked, &origin, method, &mut Presented::default()).await?;
    let watcher = Watcher::of(app, asked, &origin, &found.principal).ok_or(Problem::KeyRequired)?;
    let place = place(app).ok_or(Refused::TooMany)?;
    let (pieces, received) = mpsc::channel(WAITING);
    let line = Arc::new(Line {
        pieces,
        skipped: AtomicU64::new(0),
        is_more: AtomicBool::new(false),
    });
    let view = watcher.view(app).await?;
    let mut gaze = Gaze::new(view.clone(), &line);
    app.telemetry.log.tap(Box::new(move |lines| gaze.look(lines)));
    line.send(Bytes::from_static(b"retry: 3000\n\n"));
    tokio::spawn(watcher.tend(Arc::clone(app), view, line));
    Ok(Feed {
        pieces: received,
        _held: connection.hold(),
        _place: place,
    })
}

fn place(app: &App) -> Option<OwnedSemaphorePermit> {
    let feeds: &Arc<Semaphore> = &app.dashboard.as_ref()?.feeds;
    Arc::clone(feeds).try_acquire_owned().ok()
}

fn streaming(feed: Feed) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::Feed(Box::new(feed)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(&X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

impl Refused {
    fn answer(self, asked: &HeaderMap, request: &Request<Incoming>) -> Response<Outgoing> {
        match self {
            Self::TooMany => {
                let body = r#"{"error":"Too many pages watch already"}"#;
                let reply = Reply::json(StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(body.as_bytes()));
                reply.retry_after(Wait::A_SECOND).into_response(request.version())
            }
            Self::Problem(problem) => {
                let mut answer = Answer::problem(&problem, asked);
                if let Some(allow) = problem.allow() {
                    answer.headers.insert(ALLOW, HeaderValue::from_static(allow));
                }
                let mut response = Response::new(Outgoing::from(answer.body));
                *response.status_mut() = answer.status;
                *response.headers_mut() = answer.headers;
                response
            }
        }
    }
}
