//! Nothing that a client writes about itself changes whose request it is: only what trusted proxies wrote is read.

use heare_auth::core::network::chain::TrustedProxies;
use std::net::IpAddr;

pub fn check(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (trusted, peer, forwarded) = (line(), line(), line());
    let text = |bytes| str::from_utf8(bytes).unwrap_or_default();
    let Some(trusted) = TrustedProxies::parse(text(trusted)) else {
        return;
    };
    let peer = text(peer).parse().unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let words = || forwarded.rsplit(|&byte| byte == b',');
    let client = trusted.client(peer, words());
    if !trusted.is_trusted(peer) {
        assert_eq!(client, Some(peer.to_canonical()), "nobody vouches for a stranger");
    }
    let Some(client) = client else {
        return;
    };
    assert_eq!(client, client.to_canonical());
    if trusted.is_trusted(client) {
        return;
    }
    for forged in [&b"203.0.113.1"[..], b"10.0.0.1", b"nonsense", b"", b"::1"] {
        let longer = trusted.client(peer, words().chain([forged]));
        assert_eq!(longer, Some(client), "what stands further left is not read");
    }
}
