//! Whether a request comes from this very host. Every header can only take that right away, none can give it.

use std::net::{IpAddr, SocketAddr};

use hyper::{
    HeaderMap, Version,
    header::{HOST, HeaderName, ORIGIN},
    http::uri::Authority,
};

/// Who asks, as far as the connection and the request line tell it.
#[derive(Clone, Debug)]
pub struct Caller {
    pub peer: SocketAddr,
    /// Whether the connection is secured by TLS of our own.
    pub secure: bool,
    pub version: Version,
    /// The host in the request's target: `:authority` of HTTP/2, or of an absolute target.
    pub authority: Option<Authority>,
    pub request_id: String,
}

/// Why a request does not count as local.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotLocal {
    Peer,
    Http10,
    Forwarded,
    Host,
    Origin,
    CrossSite,
}

impl NotLocal {
    pub const ALL: [Self; 6] = [
        Self::Peer,
        Self::Http10,
        Self::Forwarded,
        Self::Host,
        Self::Origin,
        Self::CrossSite,
    ];

    /// The reason in the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Peer => "peer_not_loopback",
            Self::Http10 => "http_1_0",
            Self::Forwarded => "forwarded",
            Self::Host => "host_not_local",
            Self::Origin => "origin",
            Self::CrossSite => "cross_site",
        }
    }
}

/// A reverse proxy on the same host is told by its headers or by HTTP/1.0 (nginx's default), a web page by what its
/// browser adds, a name that an attacker points at 127.0.0.1 by `Host`.
pub fn judge(caller: &Caller, headers: &HeaderMap, hostname: &str) -> Result<(), NotLocal> {
    if !caller.peer.ip().to_canonical().is_loopback() {
        return Err(NotLocal::Peer);
    }
    if !matches!(caller.version, Version::HTTP_11 | Version::HTTP_2) {
        return Err(NotLocal::Http10);
    }
    if headers.keys().any(is_forwarding) {
        return Err(NotLocal::Forwarded);
    }
    if !names_this_host(caller.authority.as_ref(), headers, hostname) {
        return Err(NotLocal::Host);
    }
    if headers.contains_key(ORIGIN) {
        return Err(NotLocal::Origin);
    }
    if headers
        .get_all("sec-fetch-site")
        .iter()
        .any(|site| site != "none" && site != "same-origin")
    {
        return Err(NotLocal::CrossSite);
    }
    Ok(())
}

/// Headers by which proxies, balancers and delivery networks pass on whom they speak for, or that they are there.
const FORWARDING: [&str; 24] = [
    "forwarded",
    "via",
    "client-ip",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-real-ip",
    "x-remote-ip",
    "x-remote-addr",
    "x-proxyuser-ip",
    "x-host",
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-nf-client-connection-ip",
    "proxy-client-ip",
    "wl-proxy-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "fly-client-ip",
    "do-connecting-ip",
];

const FORWARDING_FAMILIES: [&str; 3] = ["x-forwarded", "x-original-", "x-forward-"];

fn is_forwarding(name: &HeaderName) -> bool {
    let name = name.as_str();
    FORWARDING.contains(&name) || FORWARDING_FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Every name that the request gives for its host must be one of this host.
fn names_this_host(authority: Option<&Authority>, headers: &HeaderMap, hostname: &str) -> bool {
    let sent = headers
        .get_all(HOST)
        .iter()
        .map(|host| Authority::try_from(host.as_bytes()).ok());
    let mut names = sent.chain(authority.cloned().map(Some)).peekable();
    names.peek().is_some() && names.all(|name| name.is_some_and(|name| is_this_host(&name, hostname)))
}

/// The port may be another one: what maps ports does not change who asks.
fn is_this_host(authority: &Authority, hostname: &str) -> bool {
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
        || (!hostname.is_empty() && host.eq_ignore_ascii_case(hostname))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "127.0.0.1:5000";

    fn caller(peer: &str, version: Version, authority: Option<&str>) -> Caller {
        Caller {
            peer: peer.parse().unwrap(),
            secure: false,
            version,
            authority: authority.map(|text| text.parse().unwrap()),
            request_id: String::new(),
        }
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn with(extra: &[(&str, &str)]) -> Result<(), NotLocal> {
        let mut pairs = vec![("host", "localhost:8080")];
        pairs.extend_from_slice(extra);
        judge(&caller(PEER, Version::HTTP_11, None), &headers(&pairs), "box")
    }

    #[test]
    fn only_a_loopback_peer_is_local() {
        let table = [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("[::ffff:10.0.0.1]:1", false),
            ("10.0.0.1:1", false),
            ("192.168.1.1:1", false),
            ("[fe80::1]:1", false),
            ("0.0.0.0:1", false),
        ];
        for (peer, local) in table {
            let verdict = judge(
                &caller(peer, Version::HTTP_11, None),
                &headers(&[("host", "localhost")]),
                "box",
            );
            assert_eq!(verdict, if local { Ok(()) } else { Err(NotLocal::Peer) }, "{peer}");
        }
    }

    #[test]
    fn any_forwarding_header_takes_the_right_away_whatever_it_says() {
        let families = [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-anything",
            "x-original-forwarded-for",
        ];
        for name in FORWARDING.into_iter().chain(families) {
            for value in ["127.0.0.1", "", "1.2.3.4"] {
                assert_eq!(with(&[(name, value)]), Err(NotLocal::Forwarded), "{name}");
            }
        }
    }

    #[test]
    fn the_host_must_be_a_name_of_this_host() {
        let table = [
            ("localhost", true),
            ("LOCALHOST:1", true),
            ("127.0.0.1:8080", true),
            ("127.1.2.3", true),
            ("[::1]:8080", true),
            ("[::ffff:127.0.0.1]", true),
            ("box", true),
            ("Box:8080", true),
            ("localhost.evil.example", false),
            ("evil.example", false),
            ("0.0.0.0", false),
            ("10.0.0.1", false),
            ("[::]", false),
            ("user@localhost", false),
            ("", false),
        ];
        for (host, local) in table {
            let verdict = judge(
                &caller(PEER, Version::HTTP_11, None),
                &headers(&[("host", host)]),
                "box",
            );
            assert_eq!(verdict, if local { Ok(()) } else { Err(NotLocal::Host) }, "{host}");
        }
    }

    #[test]
    fn a_host_in_the_target_is_held_to_the_same_rule() {
        let table = [("localhost:8080", true), ("[::1]:8080", true), ("evil.example", false)];
        for (authority, local) in table {
            let verdict = judge(
                &caller(PEER, Version::HTTP_2, Some(authority)),
                &HeaderMap::new(),
                "box",
            );
            assert_eq!(verdict, if local { Ok(()) } else { Err(NotLocal::Host) }, "{authority}");
        }
        assert_eq!(
            judge(&caller(PEER, Version::HTTP_2, None), &HeaderMap::new(), ""),
            Err(NotLocal::Host)
        );
    }

    #[test]
    fn a_web_page_is_not_local() {
        assert_eq!(with(&[("origin", "http://localhost:8080")]), Err(NotLocal::Origin));
        assert_eq!(with(&[("origin", "null")]), Err(NotLocal::Origin));
        for (site, verdict) in [
            ("none", Ok(())),
            ("same-origin", Ok(())),
            ("same-site", Err(NotLocal::CrossSite)),
            ("cross-site", Err(NotLocal::CrossSite)),
            ("", Err(NotLocal::CrossSite)),
        ] {
            assert_eq!(with(&[("sec-fetch-site", site)]), verdict, "{site}");
        }
    }

    #[test]
    fn http_1_0_is_what_a_default_proxy_speaks() {
        let asked = caller(PEER, Version::HTTP_10, None);
        assert_eq!(
            judge(&asked, &headers(&[("host", "localhost")]), "box"),
            Err(NotLocal::Http10)
        );
    }
}
