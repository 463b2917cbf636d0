//! A list of networks admits an address exactly if, bit for bit, it begins as one of them does.

use heare_auth::core::network::{MAX_NETWORKS, Networks};
use std::net::IpAddr;

pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let (addresses, networks) = text.split_once('\n').unwrap_or((text, ""));
    let words: Vec<&str> = networks.split(',').filter(|word| !word.is_empty()).collect();
    let Ok(list) = Networks::parse(&words) else {
        return;
    };
    assert!(words.len() <= MAX_NETWORKS);
    assert_eq!(list.admit(None), words.is_empty());
    let again: Vec<String> = list.iter().map(|network| network.to_string()).collect();
    assert_eq!(Networks::parse(&again).as_ref(), Ok(&list), "{text:?}");
    assert!(list.are_within(&list));
    for address in addresses.split(',').filter_map(|word| word.parse::<IpAddr>().ok()) {
        let by_bits = list
            .iter()
            .any(|network| begins(address, network.addr(), network.prefix_len()));
        assert_eq!(list.admit(Some(address)), words.is_empty() || by_bits, "{text:?}");
    }
}

fn begins(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (address, network) = (digits(address.to_canonical()), digits(network));
    address.len() == network.len() && address[..bits.into()] == network[..bits.into()]
}

fn digits(address: IpAddr) -> Vec<bool> {
    let bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
        .collect()
}
