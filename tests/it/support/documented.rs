//! Holds answers against the document that describes them: status, media type, and body against its schema. Every answer
//! that a test gets from a `Service` is judged so.

use super::http_client::Response;
use heare_auth::http::openapi::{Served, document};
use serde_json::Value;
use std::sync::OnceLock;

/// The document of a service that has every route.
pub fn whole() -> &'static Value {
    static WHOLE: OnceLock<Value> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let text = document(Served {
            verify: true,
            refresh: true,
            accounts: true,
        });
        serde_json::from_str(&text).expect("the document is JSON")
    })
}

/// The described path that a target is of.
pub fn path_of(target: &str) -> Option<&'static str> {
    let path = target.split('?').next().unwrap_or_default();
    let mut templates = whole()["paths"].as_object().expect("paths").keys();
    let exact = templates.clone().find(|template| *template == path);
    exact
        .or_else(|| templates.find(|template| fits(template, path)))
        .map(String::as_str)
}

/// `{path}` stands for any number of segments, every other parameter for one.
fn fits(template: &str, path: &str) -> bool {
    if let Some(begin) = template.strip_suffix("{path}") {
        return path.starts_with(begin);
    }
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some(own), Some(sent)) if own == sent || (own.starts_with('{') && !sent.is_empty()) => {}
            _ => return false,
        }
    }
}

/// The description of one operation. `HEAD` is answered as `GET` is, and some paths take any method at all.
pub fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let item = &whole()["paths"][path];
    let named = |method: &str| item.get(method.to_lowercase());
    let is_any = item["x-any-method"] == true;
    named(method).or_else(|| named("get").filter(|_| is_any || method == "HEAD"))
}

/// Says what the document does not say of this answer.
pub fn judge(method: &str, target: &str, answer: &Response) -> Result<(), String> {
    let Some(path) = path_of(target) else {
        return Ok(());
    };
    // Where a route is switched off, its path is one like any other; and hyper refuses what is no HTTP with an empty body.
    let is_other_path = answer.status == 404 && answer.text() == r#"{"detail":"Not Found"}"#;
    let is_no_http = matches!(answer.status, 400 | 431) && answer.body.is_empty();
    if is_other_path || is_no_http {
        return Ok(());
    }
    let Some(operation) = operation(method, path) else {
        let is_refused = answer.status == 405 || (method == "OPTIONS" && answer.status == 204);
        return is_refused.then_some(()).ok_or("the method is not described".to_owned());
    };
    let described = &operation["responses"][answer.status.to_string()];
    if described.is_null() {
        return Err(format!("status {} is not described: {}", answer.status, answer.text()));
    }
    match resolved(described)["content"].as_object() {
        _ if method == "HEAD" => Ok(()),
        None if answer.body.is_empty() => Ok(()),
        None => Err(format!("no body is described: {}", answer.text())),
        Some(content) => {
            let sent = answer.header("content-type").unwrap_or_default();
            let media = content
                .get(sent.split(';').next().unwrap_or_default())
                .ok_or_else(|| format!("{} as {sent:?} is not described", answer.status))?;
            if sent.contains("json") {
                check(&media["schema"], &answer.json()).map_err(|problem| format!("{problem}: {}", answer.text()))
            } else {
                Ok(())
            }
        }
    }
}

/// What a reference leads to.
pub fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => whole()
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{pointer} leads nowhere")),
        None => value,
    }
}

/// As far as the document uses JSON Schema, but for patterns and formats.
pub fn check(schema: &'static Value, value: &Value) -> Result<(), String> {
    let schema = resolved(schema);
    let Some(rules) = schema.as_object() else {
        return schema
            .as_bool()
            .filter(|&any| any)
            .map(drop)
            .ok_or("nothing is allowed".to_owned());
    };
    for (rule, wanted) in rules {
        let holds = match (rule.as_str(), value) {
            ("type", _) => is_of(wanted, value),
            ("const", _) => wanted == value,
            ("enum", _) => wanted.as_array().is_some_and(|all| all.contains(value)),
            ("not", _) => check(wanted, value).is_err(),
            ("anyOf", _) => wanted
                .as_array()
                .is_some_and(|all| all.iter().any(|one| check(one, value).is_ok())),
            ("minimum", Value::Number(number)) => number.as_f64() >= wanted.as_f64(),
            ("maximum", Value::Number(number)) => number.as_f64() <= wanted.as_f64(),
            ("minLength", Value::String(text)) => text.chars().count() as u64 >= wanted.as_u64().unwrap_or_default(),
            ("maxLength", Value::String(text)) => text.chars().count() as u64 <= wanted.as_u64().unwrap_or_default(),
            ("minItems", Value::Array(items)) => items.len() as u64 >= wanted.as_u64().unwrap_or_default(),
            ("maxItems", Value::Array(items)) => items.len() as u64 <= wanted.as_u64().unwrap_or_default(),
            ("items", Value::Array(items)) => {
                items.iter().try_for_each(|item| check(wanted, item))?;
                true
            }
            ("required", Value::Object(object)) => {
                let mut names = wanted.as_array().into_iter().flatten().filter_map(Value::as_str);
                names.all(|name| object.contains_key(name))
            }
            ("properties", Value::Object(object)) => {
                for (name, value) in object {
                    if let Some(schema) = wanted.get(name) {
                        check(schema, value).map_err(|problem| format!("{name}: {problem}"))?;
                    }
                }
                true
            }
            ("additionalProperties", Value::Object(object)) if *wanted == false => {
                let unknown = object
                    .keys()
                    .find(|name| rules.get("properties").and_then(|known| known.get(*name)).is_none());
                if let Some(name) = unknown {
                    return Err(format!("{name} is not described"));
                }
                true
            }
            _ => true,
        };
        if !holds {
            return Err(format!("{value} is not {rule} {wanted}"));
        }
    }
    Ok(())
}

fn is_of(wanted: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    };
    match wanted {
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    }
}
