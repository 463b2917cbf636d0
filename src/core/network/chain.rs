//! Whose request it is: the client's address out of a chain of proxies, of which only some are believed.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::{holds, network};

/// The proxies whose word about a client's address is taken. A proxy that is not among them is the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Addresses and networks, separated by commas or white space. `None` when one of them is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let words = text.split(|c: char| c == ',' || c.is_ascii_whitespace());
        words
            .filter(|word| !word.is_empty())
            .map(|word| network(word).ok())
            .collect::<Option<_>>()
            .map(Self)
    }

    /// An IPv4 address that is written as an IPv6 one is the same address.
    pub fn is_trusted(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|network| holds(network, peer))
    }

    /// The address of the client: the peer, or the right-most of the forwarded addresses that is not a trusted proxy's.
    /// Every proxy writes its own peer to the right of what it was sent, so what a client forged stands to the left of
    /// the first address that nobody vouches for, and is never reached.
    ///
    /// `forwarded` yields the words of `X-Forwarded-For` from right to left. `None` means that a trusted proxy passed on
    /// something that is no address, so that nobody knows the client's.
    pub fn client<'a>(&self, peer: IpAddr, forwarded: impl IntoIterator<Item = &'a [u8]>) -> Option<IpAddr> {
        let mut client = peer.to_canonical();
        let mut forwarded = forwarded.into_iter();
        while self.is_trusted(client) {
            match forwarded.next() {
                Some(word) => client = address(word)?,
                None => break,
            }
        }
        Some(client)
    }
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn address(word: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(word).ok()?.trim_ascii();
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = text
        .parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(bare)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &str, peer: &str, forwarded: &str) -> Option<String> {
        let trusted = TrustedProxies::parse(trusted).unwrap();
        let words = forwarded
            .split(',')
            .filter(|word| !word.is_empty())
            .map(str::as_bytes)
            .rev();
        trusted
            .client(peer.parse().unwrap(), words)
            .map(|address| address.to_string())
    }

    #[test]
    fn the_client_is_the_right_most_address_that_is_no_trusted_proxy() {
        let proxies = "10.0.0.0/8, 192.0.2.7 fd00::/8";
        let table = [
            // Nobody vouches for the peer: it is the client, whatever it claims.
            ("203.0.113.9", "", Some("203.0.113.9")),
            ("203.0.113.9", "198.51.100.1", Some("203.0.113.9")),
            ("203.0.113.9", "10.0.0.1", Some("203.0.113.9")),
            // A trusted proxy's word is taken, and only the right-most one.
            ("10.0.0.1", "198.51.100.1", Some("198.51.100.1")),
            ("10.0.0.1", "127.0.0.1, 198.51.100.1", Some("198.51.100.1")),
            ("10.0.0.1", "10.9.9.9, 198.51.100.1", Some("198.51.100.1")),
            ("10.0.0.1", "127.0.0.1, 198.51.100.1, 192.0.2.7", Some("198.51.100.1")),
            ("fd00::1", "2001:db8::5", Some("2001:db8::5")),
            // What stands left of the client is never read, be it an address or not.
            ("10.0.0.1", "nonsense, 198.51.100.1", Some("198.51.100.1")),
            // A request that begins at a trusted proxy.
            ("10.0.0.1", "", Some("10.0.0.1")),
            ("10.0.0.1", "10.0.0.2, 10.0.0.3", Some("10.0.0.2")),
            // Something that is no address, where the client's should stand.
            ("10.0.0.1", "unknown", None),
            ("10.0.0.1", "198.51.100.1, _hidden", None),
            ("10.0.0.1", "198.51.100.1, ", None),
            ("10.0.0.1", "198.51.100.1.5", None),
            ("10.0.0.1", "198.51.100.0/24", None),
        ];
        for (peer, forwarded, expected) in table {
            assert_eq!(
                client(proxies, peer, forwarded).as_deref(),
                expected,
                "{peer}: {forwarded}"
            );
        }
    }

    #[test]
    fn a_trusted_proxy_is_trusted_however_its_address_is_written() {
        let trusted = TrustedProxies::parse("10.0.0.0/8").unwrap();
        let is_trusted = |peer: &str| trusted.is_trusted(peer.parse().unwrap());
        assert!(is_trusted("10.0.0.1") && is_trusted("::ffff:10.0.0.1"));
        assert!(!is_trusted("11.0.0.1") && !is_trusted("::10.0.0.1"));
    }

    #[test]
    fn an_address_may_have_a_port_or_brackets_and_a_mapped_one_is_ipv4() {
        let table = [
            ("198.51.100.1:4711", "198.51.100.1"),
            ("[2001:db8::5]:4711", "2001:db8::5"),
            ("[2001:db8::5]", "2001:db8::5"),
            ("2001:DB8:0::5", "2001:db8::5"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
            ("\t198.51.100.1 ", "198.51.100.1"),
        ];
        for (word, expected) in table {
            assert_eq!(
                client("127.0.0.1", "127.0.0.1", word).as_deref(),
                Some(expected),
                "{word}"
            );
        }
        assert_eq!(
            client("10.0.0.0/8", "::ffff:10.0.0.1", "198.51.100.1").as_deref(),
            Some("198.51.100.1")
        );
        assert_eq!(
            client("::ffff:10.0.0.0/104", "10.0.0.1", "198.51.100.1").as_deref(),
            Some("198.51.100.1")
        );
        assert_eq!(client("", "::ffff:10.0.0.1", "").as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn without_a_list_nobody_is_trusted() {
        assert_eq!(client("", "127.0.0.1", "198.51.100.1").as_deref(), Some("127.0.0.1"));
        assert!(!TrustedProxies::default().is_trusted([127, 0, 0, 1].into()));
    }

    #[test]
    fn what_is_neither_an_address_nor_a_network_is_no_list() {
        for text in [
            "10.0.0.0/33",
            "10.0.0",
            "localhost",
            "10.0.0.1-9",
            "10.0.0.1/",
            "::/129",
            "a, 10.0.0.1",
        ] {
            assert_eq!(TrustedProxies::parse(text), None, "{text}");
        }
        for text in ["", " , ", "10.0.0.1/8", "::1", "0.0.0.0/0 ::/0"] {
            assert!(TrustedProxies::parse(text).is_some(), "{text}");
        }
    }
}
