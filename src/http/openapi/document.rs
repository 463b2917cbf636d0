//! Joins the pieces, one for each group of routes, to the one document. The refusals are not written there by hand:
//! `refusals` fills them in from the code that sends them.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Served, refusals};
use crate::core::document::compact;

const SERVICE: &str = include_str!("pieces/service.json");
const REFRESH: &str = include_str!("pieces/refresh.json");
const METRICS: &str = include_str!("pieces/metrics.json");
const VERIFY: &str = include_str!("pieces/verify.json");
const AUTHZ: &str = include_str!("pieces/authz.json");
const KEYS: &str = include_str!("pieces/keys.json");
const USAGE: &str = include_str!("pieces/usage.json");
const ACCOUNTS: &str = include_str!("pieces/accounts.json");
const DOCUMENTATION: &str = include_str!("pieces/documentation.json");

const DESCRIPTION: &str = "Is this API key good, and whose is it?\\n\\n\
    Bodies are JSON, and no answer repeats what was sent. A path is taken to the letter. Wherever `GET` is described, `HEAD` is answered \
    too; a method that is not described is 405 with `Allow`, a path that is not described 404. What is no HTTP at all is 400 without a body, \
    a head of over 64 KiB is 431. `OPTIONS` below `/api/v1/auth/` is 204.";

/// The methods of a route that takes any. `TRACE` and `CONNECT` are refused everywhere.
const METHODS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

/// In a piece it stands for all of `METHODS`.
const ANY_METHOD: &str = "any method";
/// In a piece it stands for every refusal of the operation with the id that follows.
const REFUSED: &str = r#""refused":""#;
const WELL_FORMED: &str = "a test reads all pieces";

/// One group of routes, each part as it is written.
#[derive(Deserialize)]
struct Piece<'a> {
    #[serde(borrow)]
    tags: &'a RawValue,
    #[serde(borrow)]
    paths: &'a RawValue,
    #[serde(borrow)]
    schemas: &'a RawValue,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    responses: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow, rename = "securitySchemes")]
    security_schemes: Option<&'a RawValue>,
}

/// The document of a listener that has these routes, as one line of JSON.
pub fn document(served: Served) -> String {
    let texts = [
        (VERIFY, served.verify),
        (AUTHZ, served.verify),
        (KEYS, true),
        (USAGE, true),
        (ACCOUNTS, served.accounts),
        (SERVICE, true),
        (REFRESH, served.refresh),
        (METRICS, served.refresh),
        (DOCUMENTATION, true),
    ];
    let pieces: Vec<Piece<'_>> = texts
        .into_iter()
        .filter_map(|(text, is_served)| is_served.then_some(text))
        .map(|text| serde_json::from_str(text).expect(WELL_FORMED))
        .collect();
    let part = |part: fn(&Piece<'static>) -> Option<&'static RawValue>| joined(pieces.iter().filter_map(part));
    let mut shared = BTreeMap::new();
    let paths: Vec<String> = pieces
        .iter()
        .flat_map(|piece| members(piece.paths))
        .map(|(path, item)| format!("\"{path}\":{{{}}}", operations(item, &mut shared).join(",")))
        .collect();
    let written = Some(part(|piece| piece.responses)).filter(|text| !text.is_empty());
    let refusals = shared.iter().map(|(name, json)| format!("\"{name}\":{json}"));
    let responses: Vec<String> = written.into_iter().chain(refusals).collect();
    let info = format!(
        r#"{{"title":"heare-auth","version":"{}","description":"{DESCRIPTION}","license":{{"name":"{}"}}}}"#,
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_LICENSE")
    );
    let components = format!(
        r#"{{"securitySchemes":{{{}}},"parameters":{{{}}},"headers":{{{}}},"responses":{{{}}},"schemas":{{{}}}}}"#,
        part(|piece| piece.security_schemes),
        part(|piece| piece.parameters),
        part(|piece| piece.headers),
        responses.join(","),
        part(|piece| Some(piece.schemas)),
    );
    format!(
        r#"{{"openapi":"3.1.1","info":{info},"tags":[{}],"paths":{{{}}},"components":{components}}}"#,
        part(|piece| Some(piece.tags)),
        paths.join(",")
    )
}

/// The members of a path, its operations with their refusals. Those responses are put under `shared`, by their names.
fn operations(item: &RawValue, shared: &mut BTreeMap<String, String>) -> Vec<String> {
    let mut written = Vec::new();
    for (name, value) in members(item) {
        let json = String::from_utf8(compact(value)).expect(WELL_FORMED);
        let Some((before, id, after)) = around(&json, REFUSED) else {
            written.push(format!("\"{name}\":{json}"));
            continue;
        };
        let refused: Vec<String> = refusals::responses(id, shared)
            .into_iter()
            .map(|(status, name)| format!(r##""{status}":{{"$ref":"#/components/responses/{name}"}}"##))
            .collect();
        let operation = format!("{before}{}{after}", refused.join(","));
        if name == ANY_METHOD {
            written.push(r#""x-any-method":true"#.to_owned());
            written.extend(METHODS.map(|method| format!("\"{method}\":{}", named(&operation, id, method))));
        } else {
            written.push(format!("\"{name}\":{operation}"));
        }
    }
    written
}

/// One of several operations that differ by their method needs an id of its own.
fn named(operation: &str, id: &str, method: &str) -> String {
    let [own, other] = [id.to_owned(), format!("{id}-{method}")].map(|id| format!(r#""operationId":"{id}""#));
    if method == METHODS[0] {
        operation.to_owned()
    } else {
        operation.replacen(&own, &other, 1)
    }
}

/// What stands before a marked text, that text, and what stands behind it.
fn around<'a>(json: &'a str, mark: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let (before, rest) = json.split_once(mark)?;
    let (marked, after) = rest.split_once('"')?;
    Some((before, marked, after))
}

/// The members of an object, in their order.
fn members(object: &RawValue) -> Vec<(String, &RawValue)> {
    let Ordered(members) = serde_json::from_str(object.get()).expect(WELL_FORMED);
    members
}

struct Ordered<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Ordered<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(Self)
    }
}

/// The insides of objects or lists, in one.
fn joined<'a>(parts: impl Iterator<Item = &'a RawValue>) -> String {
    let insides = parts.map(|part| {
        let json = String::from_utf8(compact(part)).expect(WELL_FORMED);
        json[1..json.len() - 1].to_owned()
    });
    insides
        .filter(|inside| !inside.is_empty())
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_choice_of_routes_makes_a_whole_document() {
        for bits in 0..8 {
            let served = Served {
                verify: bits & 1 != 0,
                refresh: bits & 2 != 0,
                accounts: bits & 4 != 0,
            };
            let text = document(served);
            let document: Value = serde_json::from_str(&text).unwrap();
            let paths = document["paths"].as_object().unwrap();
            assert_eq!(paths.contains_key("/verify"), served.verify);
            assert_eq!(paths.contains_key("/authz/{path}"), served.verify);
            assert_eq!(paths.contains_key("/refresh"), served.refresh);
            assert_eq!(paths.contains_key("/metrics"), served.refresh);
            assert_eq!(paths.contains_key("/api/login"), served.accounts);
            assert!(paths.contains_key("/api/v1/auth/keys"));
            assert!(!text.contains(REFUSED) && !text.contains(ANY_METHOD));
            assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_everything_shared_is_used() {
        let text = document(Served {
            verify: true,
            refresh: true,
            accounts: true,
        });
        let document: Value = serde_json::from_str(&text).unwrap();
        let references: Vec<&str> = text
            .split(r##""$ref":"#"##)
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        for reference in &references {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
        for kind in ["parameters", "headers", "responses", "schemas"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                let pointer = format!("/components/{kind}/{name}");
                assert!(references.contains(&&*pointer), "{pointer} is not used");
            }
        }
    }

    #[test]
    fn no_status_is_described_twice() {
        let text = document(Served {
            verify: true,
            refresh: true,
            accounts: true,
        });
        let document: &RawValue = serde_json::from_str(&text).unwrap();
        let of = |object: &RawValue, name: &str| {
            let found = members(object).into_iter().find(|(own, _)| own == name);
            found.map(|(_, value)| value.to_owned())
        };
        for (path, item) in members(&of(document, "paths").unwrap()) {
            for (method, operation) in members(item) {
                let responses = Some(operation).filter(|json| json.get().starts_with('{'));
                let Some(responses) = responses.and_then(|operation| of(operation, "responses")) else {
                    continue;
                };
                let mut statuses: Vec<String> = members(&responses).into_iter().map(|(status, _)| status).collect();
                let all = statuses.len();
                statuses.sort();
                statuses.dedup();
                assert_eq!(statuses.len(), all, "{method} {path}");
            }
        }
    }
}
