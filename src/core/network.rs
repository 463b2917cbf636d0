//! Addresses and the networks a key may be used from. An IPv4 address mapped into IPv6 is that IPv4 address everywhere.

pub mod chain;

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// The most networks of one key.
pub const MAX_NETWORKS: usize = 20;

/// How many bits of an IPv6 address stand before an IPv4 address that is mapped into it.
const MAPPED_BITS: u8 = 96;

/// The networks from which a key may be used; none at all means from everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Networks(Box<[IpNet]>);

/// The text is no network, or there are too many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an allowlist has at most 20 networks such as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32")]
pub struct BadNetwork;

impl Networks {
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, BadNetwork> {
        if texts.len() > MAX_NETWORKS {
            return Err(BadNetwork);
        }
        texts
            .iter()
            .map(|text| network(text.as_ref()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// An unknown address is admitted only where every address is.
    pub fn admit(&self, address: Option<IpAddr>) -> bool {
        if self.0.is_empty() {
            return true;
        }
        address
            .map(|address| address.to_canonical())
            .is_some_and(|address| self.0.iter().any(|network| holds(network, address)))
    }

    /// Whether every address that these admit is admitted by the others, too. A network is looked for within one of the
    /// others: that two of them may hold it together is not found out.
    pub fn are_within(&self, others: &Self) -> bool {
        let is_held = |network: &IpNet| others.0.iter().any(|other| other.contains(network));
        others.is_empty() || !self.is_empty() && self.0.iter().all(is_held)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of memory held for them.
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = IpNet> {
        self.0.iter().copied()
    }
}

/// Whether the address begins with the network's bits. Faster than a comparison with the network's first and last address.
pub(super) fn holds(network: &IpNet, address: IpAddr) -> bool {
    match (network, address) {
        (IpNet::V4(network), IpAddr::V4(address)) => {
            let differing = network.addr().to_bits() ^ address.to_bits();
            differing.leading_zeros() >= u32::from(network.prefix_len())
        }
        (IpNet::V6(network), IpAddr::V6(address)) => {
            let differing = network.addr().to_bits() ^ address.to_bits();
            differing.leading_zeros() >= u32::from(network.prefix_len())
        }
        (IpNet::V4(_), IpAddr::V6(_)) | (IpNet::V6(_), IpAddr::V4(_)) => false,
    }
}

/// The address that a text names, in its canonical form.
pub fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// The one whom an address stands for, where somebody is counted by it: who has an IPv6 address has all of its /64.
pub fn holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// A network, or a single address. Bits behind the prefix count for nothing.
fn network(text: &str) -> Result<IpNet, BadNetwork> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| BadNetwork)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = prefix.map_or(Ok(most), prefix_length)?;
    let network = match address.to_canonical() {
        canonical if canonical != address && bits >= MAPPED_BITS => IpNet::new(canonical, bits - MAPPED_BITS),
        _ => IpNet::new(address, bits),
    };
    network.map(|network| network.trunc()).map_err(|_| BadNetwork)
}

fn prefix_length(text: &str) -> Result<u8, BadNetwork> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or(BadNetwork)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(networks: &[&str], text: &str) -> bool {
        Networks::parse(networks).unwrap().admit(Some(text.parse().unwrap()))
    }

    #[test]
    fn an_address_is_admitted_by_a_network_that_holds_it() {
        let table = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.9.8.7/8", "10.0.0.1", true),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "::10.1.2.3", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.0/31", "192.0.2.1", true),
            ("192.0.2.0/31", "192.0.2.2", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "203.0.113.9", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("2001:db8::1", "2001:db8::1", true),
            ("2001:db8::1", "2001:db8::2", false),
            ("::ffff:10.0.0.0/104", "10.7.7.7", true),
            ("::ffff:10.0.0.0/104", "::ffff:10.7.7.7", true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", false),
            ("::ffff:10.0.0.0/95", "10.0.0.1", false),
            ("::ffff:10.0.0.0/95", "::fffe:a00:1", true),
            ("::ffff:192.0.2.7", "192.0.2.7", true),
            ("::ffff:0:0/96", "203.0.113.9", true),
        ];
        for (network, address, expected) in table {
            assert_eq!(admits(&[network], address), expected, "{network} {address}");
        }
        assert!(admits(&["2001:db8::/32", "192.0.2.0/24"], "192.0.2.1"));
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_holders() {
        for (address, counted) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            assert_eq!(holder(address.parse().unwrap()).to_string(), counted);
        }
    }

    #[test]
    fn without_networks_every_address_is_admitted_and_with_some_an_unknown_one_is_not() {
        assert!(Networks::default().admit(None));
        assert!(!Networks::parse(&["0.0.0.0/0", "::/0"]).unwrap().admit(None));
    }

    #[test]
    fn a_list_is_within_another_if_each_of_its_networks_is() {
        let table: [(&[&str], &[&str], bool); 6] = [
            (&[], &[], true),
            (&["10.0.0.0/8"], &[], true),
            (&[], &["10.0.0.0/8"], false),
            (&["10.1.0.0/16", "::1"], &["::/64", "10.0.0.0/8"], true),
            (&["10.1.0.0/16", "::1"], &["10.0.0.0/8"], false),
            (&["10.0.0.0/7"], &["10.0.0.0/8"], false),
        ];
        for (inner, outer, expected) in table {
            let [narrow, wide] = [inner, outer].map(|texts| Networks::parse(texts).unwrap());
            assert_eq!(narrow.are_within(&wide), expected, "{inner:?} in {outer:?}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "10.0.0/8",
            "010.0.0.0/8",
            "300.0.0.1",
            "10.0.0.0 /8",
            " 10.0.0.0/8",
            "10.0.0.0/255.0.0.0",
            "2001:db8::/129",
            "fe80::1%eth0",
            "localhost",
            "*",
        ] {
            assert_eq!(Networks::parse(&[text]), Err(BadNetwork), "{text:?}");
        }
        let many = vec!["10.0.0.0/8"; MAX_NETWORKS + 1];
        assert_eq!(Networks::parse(&many), Err(BadNetwork));
        assert!(Networks::parse(&many[1..]).is_ok());
    }
}
