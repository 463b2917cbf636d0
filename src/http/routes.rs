//! The list of all routes but `/verify` and `/authz`, composed with warp. A handler answers what it was asked with a reply;
//! a rejection only ever means that the path is another one's, and the last one is answered here.

use std::{convert::Infallible, pin::Pin, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{HeaderMap, Method, Request, Response, Version};
use tower_service::Service as _;
use warp::{Filter, Rejection, reject};

use super::{
    App, accounts,
    body::{Received, Unread},
    dashboard, health,
    keys::{self, Asked, route::Place},
    local::Caller,
    metrics::{self, Readers},
    openapi::{self, Served},
    outgoing::Outgoing,
    refresh,
    reply::{Refusal, Reply},
};

/// All routes of one listener, as one function.
pub type Routes = Arc<dyn Fn(Request<Empty<Bytes>>) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = Response<Outgoing>> + Send>>;

/// The public listener. Where an admin listener serves `/refresh` and `/metrics`, there are none here.
pub fn public(app: &Arc<App>, with_refresh: bool) -> Routes {
    composed(
        app,
        Served {
            verify: true,
            refresh: with_refresh,
            accounts: app.accounts.is_some(),
        },
        Readers::ThisHost,
    )
}

pub fn admin(app: &Arc<App>) -> Routes {
    composed(
        app,
        Served {
            verify: false,
            refresh: true,
            accounts: app.accounts.is_some(),
        },
        Readers::Anybody,
    )
}

fn composed(app: &Arc<App>, served: Served, readers: Readers) -> Routes {
    let open = health_route(app).or(ready_route(app)).unify();
    let open = open.map(warp::Reply::into_response);
    let own = if served.refresh {
        let refresh = refresh_route(app).map(warp::Reply::into_response);
        open.or(refresh).unify().or(metrics_route(app, readers)).unify().boxed()
    } else {
        open.boxed()
    };
    let own = own
        .or(keys_routes(app))
        .unify()
        .or(accounts_routes(app))
        .unify()
        .or(dashboard_routes(app))
        .unify()
        .boxed();
    let own = if app.dashboard.is_some() {
        own.or(dashboard::pages::routes()).unify().boxed()
    } else {
        own
    };
    erase(if app.described {
        own.or(openapi::routes(served)).unify().boxed()
    } else {
        own
    })
}

fn health_route(app: &Arc<App>) -> impl Filter<Extract = (Reply,), Error = Rejection> + Clone + use<> {
    let app = app.clone();
    exactly("/health")
        .and(warp::method())
        .map(move |method| reading(&method, || health::health(&app)))
}

fn ready_route(app: &Arc<App>) -> impl Filter<Extract = (Reply,), Error = Rejection> + Clone + use<> {
    let app = app.clone();
    exactly("/ready")
        .and(warp::method())
        .map(move |method| reading(&method, || health::ready(&app)))
}

fn refresh_route(app: &Arc<App>) -> impl Filter<Extract = (Reply,), Error = Rejection> + Clone + use<> {
    let app = app.clone();
    let query = warp::query::raw().or_else(|_| async { Ok::<_, Rejection>((String::new(),)) });
    exactly("/refresh")
        .and(warp::method())
        .and(warp::ext::get::<Caller>())
        .and(warp::header::headers_cloned())
        .and(query)
        .then(
            move |method: Method, caller: Caller, headers: HeaderMap, query: String| {
                let app = app.clone();
                async move {
                    if method == Method::POST {
                        refresh::answer(&app, &caller, &headers, &query).await
                    } else {
                        Reply::from(Refusal::MethodNotAllowed { allow: "POST" })
                    }
                }
            },
        )
}

fn metrics_route(
    app: &Arc<App>,
    readers: Readers,
) -> impl Filter<Extract = (warp::reply::Response,), Error = Rejection> + Clone + use<> {
    let app = app.clone();
    exactly("/metrics")
        .and(warp::method())
        .and(warp::ext::get::<Caller>())
        .and(warp::header::headers_cloned())
        .map(move |method, caller: Caller, headers: HeaderMap| match reads(&method) {
            Ok(()) => metrics::answer(&app, readers, &caller, &headers),
            Err(refusal) => warp::Reply::into_response(Reply::from(refusal)),
        })
}

/// Everything that `keys::route` knows as a place.
fn keys_routes(app: &Arc<App>) -> impl Filter<Extract = (warp::reply::Response,), Error = Rejection> + Clone + use<> {
    let app = app.clone();
    at(Place::of).and(asked()).then(move |place, method, asked| {
        let app = app.clone();
        async move { warp::Reply::into_response(keys::answer(app, place, method, asked).await) }
    })
}

/// Everything that `accounts::route` knows as a place, where there are accounts.
fn accounts_routes(
    app: &Arc<App>,
) -> impl Filter<Extract = (warp::reply::Response,), Error = Rejection> + Clone + use<> {
    let (app, known) = (app.clone(), app.accounts.clone());
    let place = move |path: &str| known.clone().zip(accounts::route::Place::of(path));
    at(place).and(asked()).then(move |(known, place), method, asked| {
        let app = app.clone();
        async move { warp::Reply::into_response(accounts::answer(app, known, place, method, asked).await) }
    })
}

/// What the dashboard's pages ask, where there is a dashboard.
fn dashboard_routes(
    app: &Arc<App>,
) -> impl Filter<Extract = (warp::reply::Response,), Error = Rejection> + Clone + use<> {
    let (app, is_on) = (app.clone(), app.dashboard.is_some());
    let place = move |path: &str| dashboard::route::Place::of(path).filter(|_| is_on);
    at(place).and(asked()).then(move |place, method, asked| {
        let app = app.clone();
        async move { warp::Reply::into_response(dashboard::answer(app, place, method, asked).await) }
    })
}

/// The place that a path is, for those who know it.
fn at<P: Send>(
    place: impl Fn(&str) -> Option<P> + Clone + Send + Sync,
) -> impl Filter<Extract = (P,), Error = Rejection> + Clone {
    warp::path::full().and_then(move |path: warp::path::FullPath| {
        let found = place(path.as_str());
        async move { found.ok_or_else(reject::not_found) }
    })
}

/// What a call brings beside its path, its body included.
fn asked() -> impl Filter<Extract = (Method, Asked), Error = Rejection> + Clone {
    let query = warp::query::raw().or_else(|_| async { Ok::<_, Rejection>((String::new(),)) });
    warp::method()
        .and(warp::ext::get::<Caller>())
        .and(warp::ext::get::<Arc<Result<Received, Unread>>>())
        .and(warp::header::headers_cloned())
        .and(query)
        .map(|method, caller, body, headers, query| {
            let asked = Asked {
                caller,
                headers,
                query,
                body,
            };
            (method, asked)
        })
        .untuple_one()
}

/// `HEAD` is `GET` whose body hyper leaves out.
fn reading(method: &Method, answer: impl FnOnce() -> Reply) -> Reply {
    reads(method).map_or_else(Reply::from, |()| answer())
}

fn reads(method: &Method) -> Result<(), Refusal> {
    if matches!(*method, Method::GET | Method::HEAD) {
        Ok(())
    } else {
        Err(Refusal::MethodNotAllowed { allow: "GET, HEAD" })
    }
}

/// The path and no other: warp's own `path` would let a trailing slash pass.
fn exactly(path: &'static str) -> impl Filter<Extract = (), Error = Rejection> + Copy {
    warp::path::full()
        .and_then(move |full: warp::path::FullPath| async move {
            if full.as_str() == path {
                Ok(())
            } else {
                Err(reject::not_found())
            }
        })
        .untuple_one()
}

fn erase(routes: warp::filters::BoxedFilter<(warp::reply::Response,)>) -> Routes {
    let recovered = routes
        .recover(|_| async { Ok::<_, Infallible>(warp::Reply::into_response(Reply::from(Refusal::NotFound))) })
        .unify();
    let service = warp::service(recovered);
    Arc::new(move |request| {
        let mut service = service.clone();
        Box::pin(async move {
            let Ok(answer) = service.call(request).await;
            unwrapped(answer).await
        })
    })
}

/// A reply passes through warp as its own response type; its body is a single piece that is there already.
async fn unwrapped(answer: warp::reply::Response) -> Response<Outgoing> {
    let (head, body) = answer.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    Response::from_parts(head, Outgoing::Whole(body))
}

impl warp::Reply for Reply {
    fn into_response(self) -> warp::reply::Response {
        Reply::into_response(self, Version::HTTP_11)
    }
}
