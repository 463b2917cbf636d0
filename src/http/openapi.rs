//! `/openapi.json`, the description of every route that is served, and the two pages that show it. All of them are made
//! once, are the same for everybody and hold no secret.

mod document;
mod refusals;

use bytes::Bytes;
use warp::filters::BoxedFilter;

use super::page::{self, CSS, HTML, JAVASCRIPT, Page};
pub use document::document;

/// Which routes a listener has: only those are described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// `/verify` with its kin, and `/authz`.
    pub verify: bool,
    /// `/refresh` and `/metrics`, which are for operators.
    pub refresh: bool,
    pub accounts: bool,
}

fn pages(served: Served) -> [Page; 5] {
    let text = |text: &'static str| Bytes::from_static(text.as_bytes());
    [
        Page::new("/openapi.json", "application/json", document(served)),
        Page::new("/docs", HTML, text(include_str!("openapi/pages/docs.html"))),
        Page::new("/redoc", HTML, text(include_str!("openapi/pages/redoc.html"))),
        Page::new("/docs/pages.css", CSS, text(include_str!("openapi/pages/pages.css"))),
        Page::new(
            "/docs/pages.js",
            JAVASCRIPT,
            text(include_str!("openapi/pages/pages.js")),
        ),
    ]
}

/// The routes of the description, for a listener that has these routes.
pub fn routes(served: Served) -> BoxedFilter<(warp::reply::Response,)> {
    page::routes(pages(served))
}
