//! Why a body is no verify request, and the words in which a 422 says so: those of the service that clients were
//! written against.

/// Each has one fixed answer, which repeats nothing of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    NotJson,
    NotAnObject,
    MissingApiKey,
    ApiKeyNotAString,
    ApiKeyTooLong,
    TwoApiKeys,
    ClientIpNotAString,
    ClientIpNotAnAddress,
    ScopesNotAList,
    ScopeNotAString,
    ScopeMalformed,
    TooManyScopes,
    CostNotAnInteger,
    CostTooSmall,
    CostTooLarge,
    EndpointNotAString,
    EndpointTooLong,
    ExplainNotABoolean,
    MissingRequests,
    RequestsNotAList,
    TooManyRequests,
}

/// The parts of an answer.
struct Words {
    sentence: &'static str,
    kind: &'static str,
    location: &'static [&'static str],
    message: &'static str,
}

const fn words(
    sentence: &'static str,
    kind: &'static str,
    location: &'static [&'static str],
    message: &'static str,
) -> Words {
    Words {
        sentence,
        kind,
        location,
        message,
    }
}

impl Malformed {
    pub const ALL: [Self; 21] = [
        Self::NotJson,
        Self::NotAnObject,
        Self::MissingApiKey,
        Self::ApiKeyNotAString,
        Self::ApiKeyTooLong,
        Self::TwoApiKeys,
        Self::ClientIpNotAString,
        Self::ClientIpNotAnAddress,
        Self::ScopesNotAList,
        Self::ScopeNotAString,
        Self::ScopeMalformed,
        Self::TooManyScopes,
        Self::CostNotAnInteger,
        Self::CostTooSmall,
        Self::CostTooLarge,
        Self::EndpointNotAString,
        Self::EndpointTooLong,
        Self::ExplainNotABoolean,
        Self::MissingRequests,
        Self::RequestsNotAList,
        Self::TooManyRequests,
    ];

    /// The sentence in `error`.
    pub const fn sentence(self) -> &'static str {
        self.words().sentence
    }

    /// The detail's `type`.
    pub const fn kind(self) -> &'static str {
        self.words().kind
    }

    /// The detail's `loc`.
    pub const fn location(self) -> &'static [&'static str] {
        self.words().location
    }

    /// The detail's `msg`.
    pub const fn message(self) -> &'static str {
        self.words().message
    }

    const fn words(self) -> Words {
        const OBJECT: &str = "Input should be a valid dictionary or object to extract fields from";
        const STRING: &str = "Input should be a valid string";
        const LIST: &str = "Input should be a valid list";
        const MISSING: &str = "Field required";
        const BODY: &[&str] = &["body"];
        const API_KEY: &[&str] = &["body", "api_key"];
        const CLIENT_IP: &[&str] = &["body", "client_ip"];
        const SCOPES: &[&str] = &["body", "required_scopes"];
        const COST: &[&str] = &["body", "cost"];
        const ENDPOINT: &[&str] = &["body", "endpoint"];
        const EXPLAIN: &[&str] = &["body", "explain"];
        const REQUESTS: &[&str] = &["body", "requests"];
        const SCOPE: &str = "Input should be letters, digits or _-./ in segments joined by colons";
        match self {
            Self::NotJson => words("The body is not JSON", "json_invalid", BODY, "JSON decode error"),
            Self::NotAnObject => words("The body is not a JSON object", "model_attributes_type", BODY, OBJECT),
            Self::MissingApiKey => words("The body has no api_key", "missing", API_KEY, MISSING),
            Self::ApiKeyNotAString => words("api_key is not a string", "string_type", API_KEY, STRING),
            Self::ApiKeyTooLong => words(
                "api_key has more than 1024 characters",
                "string_too_long",
                API_KEY,
                "String should have at most 1024 characters",
            ),
            Self::TwoApiKeys => words(
                "The request holds two different keys",
                "value_error",
                API_KEY,
                "Value error, there should be one key",
            ),
            Self::ClientIpNotAString => words("client_ip is not a string", "string_type", CLIENT_IP, STRING),
            Self::ClientIpNotAnAddress => words(
                "client_ip is not an IP address",
                "ip_any_address",
                CLIENT_IP,
                "value is not a valid IPv4 or IPv6 address",
            ),
            Self::ScopesNotAList => words("required_scopes is not a list", "list_type", SCOPES, LIST),
            Self::ScopeNotAString => words("A required scope is not a string", "string_type", SCOPES, STRING),
            Self::ScopeMalformed => words(
                "A required scope is not a scope",
                "string_pattern_mismatch",
                SCOPES,
                SCOPE,
            ),
            Self::TooManyScopes => words(
                "required_scopes has more than 100 scopes",
                "too_long",
                SCOPES,
                "List should have at most 100 items",
            ),
            Self::CostNotAnInteger => words(
                "cost is not an integer",
                "int_type",
                COST,
                "Input should be a valid integer",
            ),
            Self::CostTooSmall => words(
                "cost is less than 1",
                "greater_than_equal",
                COST,
                "Input should be greater than or equal to 1",
            ),
            Self::CostTooLarge => words(
                "cost is more than 100000",
                "less_than_equal",
                COST,
                "Input should be less than or equal to 100000",
            ),
            Self::EndpointNotAString => words("endpoint is not a string", "string_type", ENDPOINT, STRING),
            Self::EndpointTooLong => words(
                "endpoint has more than 256 characters",
                "string_too_long",
                ENDPOINT,
                "String should have at most 256 characters",
            ),
            Self::ExplainNotABoolean => words(
                "explain is not a boolean",
                "bool_type",
                EXPLAIN,
                "Input should be a valid boolean",
            ),
            Self::MissingRequests => words("The body has no requests", "missing", REQUESTS, MISSING),
            Self::RequestsNotAList => words("requests is not a list", "list_type", REQUESTS, LIST),
            Self::TooManyRequests => words(
                "There are more than 100 requests",
                "too_long",
                REQUESTS,
                "List should have at most 100 items",
            ),
        }
    }
}
