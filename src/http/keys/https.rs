//! Whether a call came over a connection that nobody on the way could read.

use std::net::IpAddr;

use hyper::{HeaderMap, header::HeaderName};

use crate::core::network::chain::TrustedProxies;

static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What counts as safe from listeners.
pub struct Rule {
    pub allow_plain: bool,
    /// Whose headers are believed.
    pub proxies: TrustedProxies,
}

impl Rule {
    /// A key that is sent in plain text is lost already, so the call is refused and not redirected. A peer that is not
    /// trusted can only take the permission away: who says that the caller came by plain HTTP is believed.
    pub fn allows(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let peer = peer.to_canonical();
        self.allow_plain
            || match caller_came_by_https(headers) {
                Some(true) => self.proxies.is_trusted(peer) || peer.is_loopback(),
                Some(false) => false,
                None => peer.is_loopback(),
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
    use hyper::header::HeaderValue;

    use super::*;

    fn allows(peer: &str, said: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in said {
            headers.append(&X_FORWARDED_PROTO, HeaderValue::from_static(value));
        }
        let rule = Rule {
            allow_plain: false,
            proxies: TrustedProxies::parse("10.0.0.1").unwrap(),
        };
        rule.allows(peer.parse().unwrap(), &headers)
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
            assert_eq!(allows(peer, said), allowed, "{peer} {said:?}");
        }
    }

    #[test]
    fn plain_http_can_be_allowed_for_all() {
        let rule = Rule {
            allow_plain: true,
            proxies: TrustedProxies::default(),
        };
        assert!(rule.allows(IpAddr::from([192, 0, 2, 7]), &HeaderMap::new()));
    }
}
