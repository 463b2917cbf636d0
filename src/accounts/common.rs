//! The most common passwords, which nobody may choose: fingerprints of a public list, bundled with the program.
//!
//! `scripts/common-passwords` makes them from the 100,000 most used passwords of Have I Been Pwned, as published by the
//! United Kingdom's National Cyber Security Centre and kept in `SecLists` (MIT licence, Copyright (c) 2018 Daniel
//! Miessler), and says what the file looks like. Those that are too short to be chosen anyway are left out.

use std::sync::LazyLock;

use sha2::Digest as _;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

static LIST: LazyLock<List<'static>> =
    LazyLock::new(|| List::read(include_bytes!("common.bin")).expect("the bundled list is as its script writes it"));

/// The first bits of a fingerprint, told by how many fingerprints have them.
const HIGH_BITS: u32 = 16;
/// The bits behind them, kept as they are.
const LOW_BITS: u32 = 20;

/// Whether the password is in the list, in whatever case. Of a million others hardly one is taken for a common one.
pub fn is_common(password: &str) -> bool {
    LIST.contains(fingerprint(password))
}

/// 36 bits of SHA-256: seven in ten million fall on one of 46,000.
fn fingerprint(password: &str) -> u64 {
    let plain = Zeroizing::new(password.nfc().collect::<String>());
    let plain = Zeroizing::new(plain.to_lowercase());
    let digest = sha2::Sha256::digest(plain.as_bytes());
    let first = digest.first_chunk().expect("32 bytes begin with eight");
    u64::from_be_bytes(*first) >> (64 - HIGH_BITS - LOW_BITS)
}

struct List<'a> {
    count: usize,
    /// For each value of the high bits as many ones as there are fingerprints with it, and a zero.
    shares: &'a [u8],
    /// The low bits of each fingerprint, two in five bytes.
    low: &'a [u8],
}

impl<'a> List<'a> {
    fn read(file: &'a [u8]) -> Option<Self> {
        let (count, rest) = file.split_first_chunk()?;
        let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
        let (shares, low) = rest.split_at_checked(((1 << HIGH_BITS) + count).div_ceil(8))?;
        (low.len() == count.div_ceil(2) * 5).then_some(Self { count, shares, low })
    }

    fn contains(&self, fingerprint: u64) -> bool {
        let (high, low) = (fingerprint >> LOW_BITS, fingerprint & ((1 << LOW_BITS) - 1));
        self.with_high_bits(high)
            .any(|number| self.low_bits(number) == Some(low))
    }

    /// The numbers of the fingerprints with these high bits: as many come before them as ones stand before the zero that
    /// ends the value before.
    fn with_high_bits(&self, high: u64) -> std::ops::Range<usize> {
        let (mut zeros_to_pass, mut ones) = (high, 0);
        for (place, &byte) in self.shares.iter().enumerate() {
            let zeros = u64::from(byte.count_zeros());
            if zeros >= zeros_to_pass {
                return self.run_in(place * 8, zeros_to_pass, ones);
            }
            zeros_to_pass -= zeros;
            ones += byte.count_ones() as usize;
        }
        0..0
    }

    /// Bit by bit from here: past so many zeros, then the ones up to the next.
    fn run_in(&self, from: usize, mut zeros_to_pass: u64, mut ones: usize) -> std::ops::Range<usize> {
        let mut bits = (from..).map(|at| self.shares.get(at / 8).is_some_and(|byte| byte << (at % 8) & 0x80 != 0));
        while zeros_to_pass > 0 {
            match bits.next() {
                Some(true) => ones += 1,
                _ => zeros_to_pass -= 1,
            }
        }
        let run = bits.take_while(|is_one| *is_one).count();
        ones..(ones + run).min(self.count)
    }

    fn low_bits(&self, number: usize) -> Option<u64> {
        let pair = self.low.get(number / 2 * 5..)?.first_chunk::<5>()?;
        let pair = pair.iter().fold(0, |bits, &byte| bits << 8 | u64::from(byte));
        let shift = if number.is_multiple_of(2) { LOW_BITS } else { 0 };
        Some(pair >> shift & ((1 << LOW_BITS) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_passwords_are_known_in_any_case_and_script() {
        for common in [
            "password1",
            "PASSWORD1",
            "PassWord1",
            "12345678",
            "1234567890",
            "iloveyou1",
            "sunshine1",
            "football",
            "trustno1",
            "starwars01",
            "qwertyuiop",
            "passw0rd!",
            "екатерина",
            "ЕКАТЕРИНА",
            "йцукенгшщз",
        ] {
            assert!(is_common(common), "{common}");
        }
    }

    #[test]
    fn other_passwords_are_not() {
        for other in [
            "",
            "securepassword123",
            "correct horse battery staple",
            "kV3-ruined-9-harbours",
            "Tr0ub4dor&3-and-more",
            "длинный пароль из слов",
        ] {
            assert!(!is_common(other), "{other}");
        }
    }

    #[test]
    fn hardly_any_password_is_taken_for_a_common_one_by_mistake() {
        let in_a_million = (LIST.count as u64 * 1_000_000) >> (HIGH_BITS + LOW_BITS);
        assert_eq!(in_a_million, 0, "fingerprints are spread evenly");
        for number in 0..1000 {
            let password = format!("nobody-has-this-{number:08}");
            assert!(!is_common(&password), "{password}");
        }
    }

    #[test]
    fn every_fingerprint_of_the_list_is_found() {
        // All of them would take long: each search begins at the front.
        for high in (0..1 << HIGH_BITS).step_by(331) {
            for number in LIST.with_high_bits(high) {
                let low = LIST.low_bits(number).unwrap();
                assert!(LIST.contains(high << LOW_BITS | low), "{number}");
            }
        }
        assert_eq!(LIST.with_high_bits((1 << HIGH_BITS) - 1).end, LIST.count);
        assert!((40_000..50_000).contains(&LIST.count));
    }

    #[test]
    fn a_list_that_was_cut_off_is_none() {
        let whole = include_bytes!("common.bin");
        assert!(whole.len() < 150_000);
        for length in [0, 3, 4, 1000, whole.len() - 1] {
            assert!(List::read(&whole[..length]).is_none(), "{length}");
        }
    }
}
