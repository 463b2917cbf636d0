//! Whether a call came over a connection that nobody on the way could read.

use hyper::{HeaderMap, header::HeaderName};

use crate::{core::network::chain::TrustedProxies, http::local::Caller};

static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What counts as safe from listeners.
pub struct Rule {
    pub allow_plain: bool,
    /// Whose headers are believed.
    pub proxies: TrustedProxies,
}

impl Rule {
    /// A key that is sent in plain text is lost already, so the call is refused and not redirected. A peer that is not
    /// trusted can only take the permission away: who says that the caller came by plain HTTP is believed, even by TLS.
    pub fn allows(&self, caller: &Caller, headers: &HeaderMap) -> bool {
        let peer = caller.peer.ip().to_canonical();
        let is_safe = caller.secure || peer.is_loopback();
        self.allow_plain
            || match caller_came_by_https(headers) {
                Some(true) => is_safe || self.proxies.is_trusted(peer),
                Some(false) => false,
                None => is_safe,
            }
    }

    /// Whether what is answered reaches the caller by HTTPS, as far as anybody who is believed says so.
    pub fn is_encrypted(&self, caller: &Caller, headers: &HeaderMap) -> bool {
        let peer = caller.peer.ip().to_canonical();
        match caller_came_by_https(headers) {
            Some(true) => caller.secure || peer.is_loopback() || self.proxies.is_trusted(peer),
            Some(false) => false,
            None => caller.secure,
        }
    }
}

/// What the last proxy wrote: it stands last, in the last header of that name. `None` when nobody wrote anything.
fn caller_came_by_https(headers: &HeaderMap) -> Option<bool> {
    let mut values = headers.get_all(&X_FORWARDED_PROTO).iter();
    let last = values.next_back()?.as_bytes();
    let last = last.rsplit(|&byte| byte == b',').next().unwrap_or_default();
    Some(last.trim_ascii().eq_ignore_ascii_case(b"https"))
}

#[cfg(test)]
mod tests {
    use hyper::{Version, header::HeaderValue};

    use super::*;

    fn caller(peer: &str, secure: bool) -> Caller {
        Caller {
            peer: (peer.parse::<std::net::IpAddr>().unwrap(), 1).into(),
            secure,
            version: Version::HTTP_11,
            authority: None,
            request_id: String::new(),
        }
    }

    fn allows(peer: &str, secure: bool, said: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in said {
            headers.append(&X_FORWARDED_PROTO, HeaderValue::from_static(value));
        }
        let rule = Rule {
            allow_plain: false,
            proxies: TrustedProxies::parse("10.0.0.1").unwrap(),
        };
        rule.allows(&caller(peer, secure), &headers)
    }

    #[test]
    fn plain_http_is_for_this_host_and_https_is_what_a_trusted_proxy_says() {
        let table: [(&str, &[&'static str], bool); 12] = [
            ("127.0.0.1", &[], true),
            ("::1", &[], true),
            ("::ffff:127.0.0.1", &[], true),
            ("127.0.0.1", &["http"], false),
            ("192.0.2.7", &[], false),
            ("192.0.2.7", &["https"], false),
            ("10.0.0.1", &[], false),
            ("10.0.0.1", &["https"], true),
            ("::ffff:10.0.0.1", &["HTTPS"], true),
            ("10.0.0.1", &["https, http"], false),
            ("10.0.0.1", &["http, https"], true),
            ("10.0.0.1", &["https", "http"], false),
        ];
        for (peer, said, allowed) in table {
            assert_eq!(allows(peer, false, said), allowed, "{peer} {said:?}");
        }
    }

    #[test]
    fn an_answer_goes_by_https_over_tls_of_our_own_or_by_a_proxy_that_is_believed() {
        let rule = Rule {
            allow_plain: true,
            proxies: TrustedProxies::parse("10.0.0.1").unwrap(),
        };
        for (peer, secure, said, expected) in [
            ("192.0.2.7", true, None, true),
            ("192.0.2.7", false, None, false),
            ("127.0.0.1", false, None, false),
            ("127.0.0.1", false, Some("https"), true),
            ("10.0.0.1", false, Some("https"), true),
            ("10.0.0.1", true, Some("http"), false),
            ("192.0.2.7", false, Some("https"), false),
        ] {
            let said = said.map(|text| (X_FORWARDED_PROTO.clone(), HeaderValue::from_static(text)));
            let headers: HeaderMap = said.into_iter().collect();
            assert_eq!(
                rule.is_encrypted(&caller(peer, secure), &headers),
                expected,
                "{peer} {secure}"
            );
        }
    }

    #[test]
    fn tls_of_our_own_is_https_unless_a_proxy_says_that_its_client_came_without() {
        let table: [(&[&'static str], bool); 3] = [(&[], true), (&["https"], true), (&["http"], false)];
        for (said, allowed) in table {
            assert_eq!(allows("192.0.2.7", true, said), allowed, "{said:?}");
        }
    }

    #[test]
    fn plain_http_can_be_allowed_for_all() {
        let rule = Rule {
            allow_plain: true,
            proxies: TrustedProxies::default(),
        };
        assert!(rule.allows(&caller("192.0.2.7", false), &HeaderMap::new()));
    }
}
