//! How the routes below `/api/` may be called: from which web pages, over which connections, and by which description.

use std::net::Ipv6Addr;

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
    let text = text.to_ascii_lowercase();
    let (scheme, rest) = text.split_once("://")?;
    let is_scheme = !scheme.is_empty()
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let (host, port) = host_and_port(rest)?;
    is_scheme.then_some(())?;
    // Browsers leave the usual port out.
    Some(match (scheme, port) {
        (_, None) | ("https", Some(443)) | ("http", Some(80)) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    })
}

fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    // The colons of an IPv6 address stand in brackets.
    let end = text.find(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match text[end..].split_once(':') {
        Some((rest, port)) => (&text[..end + rest.len()], Some(port)),
        None => (text, None),
    };
    let is_host = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']')?.parse::<Ipv6Addr>().is_ok(),
        None => host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)),
    };
    let is_digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if host.is_empty() || !is_host || !port.is_none_or(is_digits) {
        return None;
    }
    Some((host, port.map(str::parse).transpose().ok()?))
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
        assert_eq!(
            origins("https://app.example.com:443,http://app.example.com:80,https://[::1]:443"),
            these(&["https://app.example.com", "http://app.example.com", "https://[::1]"])
        );
        assert_eq!(
            origins("https://a.example:80,http://a.example:443,https://a.example:08443"),
            these(&["https://a.example:80", "http://a.example:443", "https://a.example:8443"])
        );
        for wrong in [
            "app.example.com",
            "https://",
            "https://:::",
            "https://:443",
            "https://a.example:",
            "https://a.example:+1",
            "https://a.example:65536",
            "https://a:1:2",
            "https://[::1",
            "https://::1",
            "https://[a.example]",
            "https://[::1]x",
            "https://x[::1]",
            "https://a.example/",
            "https://a.example,",
            "https://*",
            "null",
        ] {
            assert_eq!(origins(wrong), None, "{wrong}");
        }
    }
}
