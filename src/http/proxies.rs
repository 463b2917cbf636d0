//! Who the client of a request is when proxies stand between it and this service.

use std::net::IpAddr;

use hyper::{HeaderMap, header::HeaderName};

use crate::core::network::chain::TrustedProxies;

/// The one header that is read. `Forwarded` is not: a proxy that adds to one of the two passes the other on as the
/// client forged it.
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// `None` when a trusted proxy passed on something that is no address.
pub fn client_ip(trusted: &TrustedProxies, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
    // Several lines of the same name are one list in their order.
    let lines = headers.get_all(&X_FORWARDED_FOR).iter().rev();
    let words = lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
    trusted.client(peer, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_lines_are_one_list_whose_end_is_the_last_lines() {
        let trusted = TrustedProxies::parse("127.0.0.1").unwrap();
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "10.0.0.1, 10.0.0.2".parse().unwrap());
        headers.append("x-forwarded-for", "10.0.0.3,127.0.0.1".parse().unwrap());
        headers.append("forwarded", "for=10.0.0.9".parse().unwrap());
        let client = |peer: &str| client_ip(&trusted, peer.parse().unwrap(), &headers).unwrap();
        assert_eq!(client("127.0.0.1").to_string(), "10.0.0.3");
        assert_eq!(client("127.0.0.2").to_string(), "127.0.0.2");
    }
}
