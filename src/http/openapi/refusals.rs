//! With what each operation can be refused. The answers are those of the code that sends them; which operation can send
//! which is said here, in matches that a new kind of refusal does not compile without.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Response, StatusCode, Version,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde_json::Value;

use super::super::{
    authz,
    keys::{
        answer::Answer,
        problem::Problem,
        route::{Call, Place, ROOT},
    },
    reply::{Refusal, Reply},
};
use crate::core::{request::Malformed, verify};

/// One refusal as it is sent.
struct Refused {
    status: StatusCode,
    headers: HeaderMap,
    content_type: String,
    schema: &'static str,
    /// The body, and the same to be asked for its members.
    text: String,
    body: Value,
}

/// Who asks about refusals.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Operation {
    Verify,
    Batch,
    Validate,
    Authz,
    Refresh,
    Metrics,
    Key(Call),
    /// Refused by what is true of all requests, and by what its piece says.
    Other,
}

impl Operation {
    fn of(id: &str) -> Self {
        match id {
            "verify" => Self::Verify,
            "verifyBatch" => Self::Batch,
            "validateKey" => Self::Validate,
            "authz" | "authzBelow" => Self::Authz,
            "refresh" => Self::Refresh,
            "metrics" => Self::Metrics,
            "createKey" => Self::key("keys", &Method::POST),
            "listKeys" => Self::key("keys", &Method::GET),
            "showKey" => Self::key("keys/id", &Method::GET),
            "changeKey" => Self::key("keys/id", &Method::PATCH),
            "revokeKey" => Self::key("keys/id", &Method::DELETE),
            "rotateKey" => Self::key("keys/id/rotate", &Method::POST),
            "reactivateKey" => Self::key("keys/id/reactivate", &Method::POST),
            "keyUsage" => Self::key("keys/id/usage", &Method::GET),
            "usageSummary" => Self::key("usage/summary", &Method::GET),
            "auditLog" => Self::key("audit", &Method::GET),
            _ => Self::Other,
        }
    }

    fn key(path: &str, method: &Method) -> Self {
        let call = Place::of(&format!("{ROOT}{path}")).and_then(|place| place.call(method).ok());
        call.map_or(Self::Other, Self::Key)
    }

    /// Operations with the same refusals share them by this name.
    const fn family(&self) -> &'static str {
        match self {
            Self::Verify => "Verify",
            Self::Batch => "Batch",
            Self::Validate => "Validate",
            Self::Authz => "Authz",
            Self::Refresh => "Refresh",
            Self::Metrics => "Metrics",
            Self::Key(_) => "Keys",
            Self::Other => "Any",
        }
    }

    fn refusals(&self) -> Vec<Refused> {
        let mut all: Vec<Refused> = Refusal::all()
            .into_iter()
            .filter(|&refusal| self.can_send(refusal))
            .map(of_reply)
            .collect();
        match self {
            Self::Authz => all.extend(authz::every_refusal().into_iter().map(of_authz)),
            Self::Key(call) => {
                let problems = Problem::all().into_iter().filter(|problem| can_happen(problem, call));
                all.extend(problems.flat_map(of_problem));
            }
            Self::Verify | Self::Batch | Self::Validate | Self::Refresh | Self::Metrics | Self::Other => {}
        }
        all
    }

    fn can_send(&self, refusal: Refusal) -> bool {
        let reads_keys = matches!(self, Self::Verify | Self::Batch | Self::Validate);
        match refusal {
            Refusal::BadHost | Refusal::BadTransferEncoding => true,
            Refusal::Key(_) => *self == Self::Verify,
            Refusal::Credential(_) | Refusal::NoCredential => *self == Self::Validate,
            Refusal::Malformed(reason) => match reason {
                Malformed::NotJson | Malformed::NotAnObject => reads_keys,
                Malformed::MissingRequests | Malformed::RequestsNotAList | Malformed::TooManyRequests => {
                    *self == Self::Batch
                }
                Malformed::MissingApiKey => *self == Self::Verify,
                Malformed::TwoApiKeys => *self == Self::Validate,
                Malformed::ApiKeyNotAString
                | Malformed::ApiKeyTooLong
                | Malformed::ClientIpNotAString
                | Malformed::ClientIpNotAnAddress
                | Malformed::ScopesNotAList
                | Malformed::ScopeNotAString
                | Malformed::ScopeMalformed
                | Malformed::TooManyScopes
                | Malformed::CostNotAnInteger
                | Malformed::CostTooSmall
                | Malformed::CostTooLarge
                | Malformed::EndpointNotAString
                | Malformed::EndpointTooLong
                | Malformed::ExplainNotABoolean => matches!(self, Self::Verify | Self::Validate),
            },
            Refusal::NotLoaded | Refusal::Body(_) => reads_keys,
            // In a batch that is one key's own result.
            Refusal::Busy => matches!(self, Self::Verify | Self::Validate),
            Refusal::TooManyCalls => matches!(self, Self::Key(_)),
            Refusal::NotLocal => *self == Self::Refresh,
            Refusal::MetricsNotLocal => *self == Self::Metrics,
            // Of what is described every path is found and every method allowed.
            Refusal::NotFound | Refusal::MethodNotAllowed { .. } => false,
        }
    }
}

fn can_happen(problem: &Problem, call: &Call) -> bool {
    let is_of_usage = matches!(call, Call::Usage(_) | Call::Summary | Call::Audit);
    let has_body = matches!(
        call,
        Call::Create | Call::Change(_) | Call::Rotate(_) | Call::Reactivate(_)
    );
    let changes = has_body || matches!(call, Call::Revoke(_));
    let names_key = !matches!(call, Call::Create | Call::List | Call::Summary | Call::Audit);
    let is_repeatable = matches!(call, Call::Create | Call::Rotate(_) | Call::Reactivate(_));
    match problem {
        Problem::KeyRequired
        | Problem::TwoKeys
        | Problem::BadKey(_)
        | Problem::IpNotAllowed
        | Problem::RateLimited
        | Problem::InsufficientScope
        | Problem::HttpsRequired
        | Problem::BodyTooLarge
        | Problem::BodyTooSlow
        | Problem::BodyBroken
        | Problem::NotLoaded
        | Problem::Busy
        | Problem::BadToken(_)
        | Problem::AccountsUnavailable
        | Problem::OutcomeUnknown => true,
        Problem::MethodNotAllowed { .. } => false,
        Problem::OperatorsOnly => matches!(call, Call::Summary | Call::Audit),
        Problem::NotFound => names_key,
        Problem::BroaderThanMaker | Problem::UnsupportedMediaType => has_body,
        Problem::Invalid(_) => has_body || is_of_usage || *call == Call::List,
        Problem::PreconditionFailed => matches!(call, Call::Change(_)),
        Problem::KeyRevoked | Problem::NoOverlap => matches!(call, Call::Rotate(_)),
        Problem::KeyExpired => matches!(call, Call::Rotate(_) | Call::Reactivate(_)),
        // Revoking takes a defective record away, too.
        Problem::KeyDefective => has_body && names_key,
        Problem::IdempotencyKeyReused | Problem::AnswerSealed => is_repeatable,
        Problem::StoreUnavailable | Problem::StoreUnfit => !matches!(call, Call::Summary | Call::Audit),
        Problem::Contended | Problem::ForeignPage => changes,
        Problem::NoRandomness => matches!(call, Call::Create | Call::Rotate(_)),
        Problem::UsageOff | Problem::UsageUnavailable => is_of_usage,
    }
}

fn refused(status: StatusCode, headers: HeaderMap, body: &[u8], schema: &'static str) -> Refused {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Refused {
        status,
        content_type: content_type.unwrap_or_default().to_owned(),
        headers,
        schema,
        text: String::from_utf8_lossy(body).into_owned(),
        body: serde_json::from_slice(body).expect("every refusal has a JSON body"),
    }
}

fn of_reply(refusal: Refusal) -> Refused {
    let schema = match refusal {
        Refusal::Key(verify::Refusal::RateLimited) => "LimitedKey",
        Refusal::Key(_) => "RefusedKey",
        Refusal::Credential(_) | Refusal::NoCredential => "RefusedCredential",
        Refusal::Malformed(_) => "Malformed",
        Refusal::NotLoaded | Refusal::Busy => "Undecided",
        Refusal::NotLocal => "NotLocal",
        Refusal::MetricsNotLocal
        | Refusal::NotFound
        | Refusal::MethodNotAllowed { .. }
        | Refusal::BadHost
        | Refusal::BadTransferEncoding
        | Refusal::TooManyCalls
        | Refusal::Body(_) => "PlainError",
    };
    let (head, body) = Reply::from(refusal)
        .into_response::<Bytes>(Version::HTTP_11)
        .into_parts();
    let mut headers = head.headers;
    // Who was limited is told when to come back, by whoever knows that.
    if head.status == StatusCode::TOO_MANY_REQUESTS {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    refused(head.status, headers, &body, schema)
}

fn of_authz(response: Response<Bytes>) -> Refused {
    let (head, body) = response.into_parts();
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    let schema = match json["code"].as_str() {
        Some("rate_limited") => "LimitedKey",
        _ if json["detail"].is_object() => "RefusedKey",
        _ => "NotLetThrough",
    };
    refused(head.status, head.headers, &body, schema)
}

/// In both forms that a caller may ask for.
fn of_problem(problem: Problem) -> [Refused; 2] {
    // The words of a wrong member stand for all of them.
    let problem = match problem {
        Problem::Invalid(_) => Problem::Invalid("name must have 1 to 100 characters".to_owned()),
        problem => problem,
    };
    let plain = if problem == Problem::KeyRequired {
        "KeyRequired"
    } else {
        "Problem"
    };
    let rfc = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/problem+json"))]);
    [(HeaderMap::new(), plain), (rfc, "ProblemDetails")].map(|(asked, schema)| {
        let answer = Answer::problem(&problem, &asked);
        refused(answer.status, answer.headers, &answer.body, schema)
    })
}

/// The refusals of the operation with this id: each status, and under which name it was put among those that are shared.
pub fn responses(id: &str, shared: &mut BTreeMap<String, String>) -> Vec<(u16, String)> {
    let operation = Operation::of(id);
    let mut by_status: BTreeMap<u16, Vec<Refused>> = BTreeMap::new();
    for refused in operation.refusals() {
        by_status.entry(refused.status.as_u16()).or_default().push(refused);
    }
    let named = by_status.into_iter().map(|(status, refusals)| {
        let json = response(&refusals);
        let common = format!("{}.{status}", operation.family());
        let is_taken = shared.get(&common).is_some_and(|other| *other != json);
        let name = if is_taken { format!("{id}.{status}") } else { common };
        shared.insert(name.clone(), json);
        (status, name)
    });
    named.collect()
}

fn response(refusals: &[Refused]) -> String {
    let mut sentences: Vec<String> = Vec::new();
    for sentence in refusals.iter().map(Refused::sentence) {
        if !sentences.contains(&sentence) {
            sentences.push(sentence);
        }
    }
    let is_sent = |name: &str| refusals.iter().any(|refused| refused.headers.contains_key(name));
    let headers: Vec<String> = HEADERS
        .into_iter()
        .filter(|(name, _)| is_sent(name))
        .map(|(name, component)| format!(r##""{name}":{{"$ref":"#/components/headers/{component}"}}"##))
        .collect();
    format!(
        r#"{{"description":{},"headers":{{{}}},"content":{{{}}}}}"#,
        Value::from(sentences.join("; ")),
        headers.join(","),
        content(refusals)
    )
}

/// Which headers of refusals are worth words, each with its description.
const HEADERS: [(&str, &str); 3] = [
    ("Retry-After", "RetryAfter"),
    ("WWW-Authenticate", "WwwAuthenticate"),
    ("X-Error-Status", "XErrorStatus"),
];

fn content(refusals: &[Refused]) -> String {
    let mut by_type: BTreeMap<&str, Vec<&Refused>> = BTreeMap::new();
    for refused in refusals {
        by_type.entry(&refused.content_type).or_default().push(refused);
    }
    let media = by_type.into_iter().map(|(content_type, refusals)| {
        let schemas: BTreeSet<&str> = refusals.iter().map(|refused| refused.schema).collect();
        let references: Vec<String> = schemas
            .iter()
            .map(|name| format!(r##"{{"$ref":"#/components/schemas/{name}"}}"##))
            .collect();
        let schema = match references.as_slice() {
            [schema] => schema.clone(),
            several => format!(r#"{{"anyOf":[{}]}}"#, several.join(",")),
        };
        let mut words = BTreeSet::new();
        let examples: Vec<String> = refusals
            .iter()
            .filter(|refused| words.insert(refused.word()))
            .map(|refused| format!(r#"{}:{{"value":{}}}"#, Value::from(refused.word()), refused.text))
            .collect();
        format!(
            r#""{content_type}":{{"schema":{schema},"examples":{{{}}}}}"#,
            examples.join(",")
        )
    });
    media.collect::<Vec<_>>().join(",")
}

impl Refused {
    fn said(&self, pointer: &str) -> Option<&str> {
        self.body.pointer(pointer)?.as_str()
    }

    /// What happened, for people.
    fn sentence(&self) -> String {
        let said = self.said("/detail").or_else(|| self.said("/error"));
        let Some(code) = self.said("/code") else {
            return said.unwrap_or_default().to_owned();
        };
        format!("`{code}`: {}", said.unwrap_or_default())
    }

    /// The name of its example.
    fn word(&self) -> String {
        let word = self.said("/code").or_else(|| self.said("/detail/0/type"));
        let word = word.or_else(|| self.said("/error")).or_else(|| self.said("/detail"));
        let word = word.unwrap_or_default().to_lowercase();
        let word: String = word
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        match self.said("/error").filter(|_| self.said("/detail/0/type").is_some()) {
            Some(error) => format!("{word}: {error}"),
            None => word,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_OPERATIONS: [&str; 10] = [
        "createKey",
        "listKeys",
        "showKey",
        "changeKey",
        "revokeKey",
        "rotateKey",
        "reactivateKey",
        "keyUsage",
        "usageSummary",
        "auditLog",
    ];

    #[test]
    fn every_refusal_is_described_somewhere() {
        let operations = [
            "verify",
            "verifyBatch",
            "validateKey",
            "refresh",
            "metrics",
            "createKey",
        ]
        .map(Operation::of);
        for refusal in Refusal::all() {
            let is_described = operations.iter().any(|operation| operation.can_send(refusal));
            let is_of_no_route = matches!(refusal, Refusal::NotFound | Refusal::MethodNotAllowed { .. });
            assert!(is_described != is_of_no_route, "{refusal:?}");
        }
        let calls = KEY_OPERATIONS.map(Operation::of);
        for problem in Problem::all() {
            let is_described = calls
                .iter()
                .any(|operation| matches!(operation, Operation::Key(call) if can_happen(&problem, call)));
            assert!(
                is_described != matches!(problem, Problem::MethodNotAllowed { .. }),
                "{problem:?}"
            );
        }
    }
}
