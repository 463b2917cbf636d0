//! How the routes below `/api/` may be called: from which web pages, over which connections, and by which description.

use super::{ConfigError, Values, parse};
use crate::core::scope::{MAX_SCOPES, Scope};

/// How the routes below `/api/` may be called.
#[derive(Clone, Debug)]
pub struct ManagementConfig {
    pub cors_origins: Origins,
    pub allow_plain_http: bool,
    /// Whether all routes are described at `/openapi.json`, `/docs` and `/redoc`.
    pub api_docs: bool,
    /// Whether `/dashboard` is there.
    pub dashboard: bool,
    /// What people who are logged in may give to their keys; never what stands for an operator's right.
    pub user_scopes: Vec<Scope<'static>>,
}

/// The web pages that may call them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    None,
    Any,
    /// Each as a browser writes it: scheme, host and the port if it is not the usual one.
    These(Vec<String>),
}

impl ManagementConfig {
    pub(super) fn from_values(values: &Values<'_>) -> Result<Self, ConfigError> {
        let forms = "* or origins such as https://app.example.com, separated by commas";
        Ok(Self {
            cors_origins: values.read("CORS_ORIGINS", origins, forms)?.unwrap_or(Origins::None),
            allow_plain_http: values.boolean("ALLOW_PLAIN_HTTP")?,
            api_docs: values
                .read("API_DOCS", parse::boolean, "true or false")?
                .unwrap_or(true),
            dashboard: values.read("DASHBOARD", parse::switch, "on or off")?.unwrap_or(true),
            user_scopes: values
                .read(
                    "USER_SCOPES",
                    scopes,
                    "* for all, none, or scopes such as orders:*, separated by commas",
                )?
                .unwrap_or_else(|| scopes("*").expect("a star is a scope")),
        })
    }
}

fn scopes(text: &str) -> Option<Vec<Scope<'static>>> {
    if text == "none" {
        return Some(Vec::new());
    }
    let scopes = text.split(',').map(|scope| Scope::parse(scope.trim().to_owned()).ok());
    let scopes: Vec<_> = scopes.collect::<Option<_>>()?;
    (scopes.len() <= MAX_SCOPES).then_some(scopes)
}

fn origins(text: &str) -> Option<Origins> {
    if text == "*" {
        return Some(Origins::Any);
    }
    let origins = text.split(',').map(|origin| origin_of(origin.trim()));
    origins.collect::<Option<_>>().map(Origins::These)
}

/// In the form in which browsers send it, so that it can be compared byte by byte.
fn origin_of(text: &str) -> Option<String> {
    let (scheme, host) = text.split_once("://")?;
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let is_scheme = !scheme.is_empty()
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let is_host = !host.is_empty() && host.bytes().all(is_host_byte);
    (is_scheme && is_host).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scopes_of_people_are_all_none_or_named() {
        let read = |text| scopes(text).map(|all| all.iter().map(|scope| scope.as_str().to_owned()).collect::<Vec<_>>());
        assert_eq!(read("*"), Some(vec!["*".to_owned()]));
        assert_eq!(read("none"), Some(Vec::new()));
        assert_eq!(
            read("orders:*, files:read"),
            Some(vec!["orders:*".to_owned(), "files:read".to_owned()])
        );
        for wrong in ["orders:", "a b", "a,,b", ","] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn origins_are_read_as_browsers_send_them() {
        let these = |texts: &[&str]| Some(Origins::These(texts.iter().map(|text| (*text).to_owned()).collect()));
        assert_eq!(origins("*"), Some(Origins::Any));
        assert_eq!(origins("https://App.example.com"), these(&["https://app.example.com"]));
        assert_eq!(
            origins("http://localhost:3000, https://[::1]"),
            these(&["http://localhost:3000", "https://[::1]"])
        );
        for wrong in [
            "app.example.com",
            "https://",
            "https://a.example/",
            "https://a.example,",
            "https://*",
            "null",
        ] {
            assert_eq!(origins(wrong), None, "{wrong}");
        }
    }
}
