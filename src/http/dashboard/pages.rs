//! The dashboard's pages: plain modules and styles, served as they are written.

use bytes::Bytes;
use warp::filters::BoxedFilter;

use crate::http::page::{self, CSS, HTML, JAVASCRIPT, Page};

/// The file of that name, with its path.
macro_rules! asset {
    ($name:literal, $content_type:expr) => {
        Page::new(
            concat!("/dashboard/", $name),
            $content_type,
            Bytes::from_static(include_bytes!(concat!("assets/", $name))),
        )
    };
}

fn pages() -> Vec<Page> {
    let shell = Bytes::from_static(include_bytes!("assets/index.html"));
    vec![
        Page::new("/dashboard", HTML, shell),
        asset!("api.js", JAVASCRIPT),
        asset!("app.css", CSS),
        asset!("app.js", JAVASCRIPT),
        asset!("audit.js", JAVASCRIPT),
        asset!("create.js", JAVASCRIPT),
        asset!("dom.js", JAVASCRIPT),
        asset!("every.js", JAVASCRIPT),
        asset!("form.js", JAVASCRIPT),
        asset!("format.js", JAVASCRIPT),
        asset!("instances.js", JAVASCRIPT),
        asset!("key.js", JAVASCRIPT),
        asset!("keys.js", JAVASCRIPT),
        asset!("live.js", JAVASCRIPT),
        asset!("login.js", JAVASCRIPT),
        asset!("overview.js", JAVASCRIPT),
        asset!("parts.css", CSS),
        asset!("plot.js", JAVASCRIPT),
    ]
}

pub fn routes() -> BoxedFilter<(warp::reply::Response,)> {
    page::routes(pages())
}
