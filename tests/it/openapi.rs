//! The description of the routes: that it is served, that it is whole, and that it says what the service does.

mod drift;
mod served;
mod statuses;
mod tools;

use serde_json::Value;

use crate::support::service::{Service, Settings};

fn started() -> Service {
    started_with(&Settings::file_store())
}

fn started_with(settings: &Settings) -> Service {
    settings.start_ready()
}

/// The document as this service serves it.
fn document(service: &Service) -> Value {
    let answer = service.get("/openapi.json");
    assert_eq!(answer.status, 200);
    answer.json()
}

/// Each described operation: path, method in capitals, and what is said of it.
fn operations(document: &Value) -> Vec<(&str, String, &Value)> {
    const METHODS: [&str; 8] = ["get", "head", "post", "put", "patch", "delete", "options", "trace"];
    let paths = document["paths"].as_object().expect("paths");
    let items = paths.iter().flat_map(|(path, item)| {
        let operations = item.as_object().expect("a path's operations").iter();
        let operations = operations.filter(|(name, _)| METHODS.contains(&name.as_str()));
        operations.map(move |(method, operation)| (path.as_str(), method.to_uppercase(), operation))
    });
    items.collect()
}
