//! The time on a log line.

use std::io::Write as _;

/// The time as text, `2024-01-20T10:30:00.123456Z`; only the fraction is written anew within one second.
pub struct Stamp {
    second: i64,
    text: [u8; 27],
}

impl Stamp {
    pub const fn new() -> Self {
        Self {
            second: i64::MIN,
            text: *b"0000-00-00T00:00:00.000000Z",
        }
    }

    pub fn at(&mut self, micros: i64) -> &[u8] {
        let second = micros.div_euclid(1_000_000);
        if second != self.second {
            self.second = second;
            self.write_second();
        }
        let mut fraction = micros.rem_euclid(1_000_000);
        for digit in self.text[20..26].iter_mut().rev() {
            *digit = b'0' + u8::try_from(fraction % 10).unwrap_or_default();
            fraction /= 10;
        }
        &self.text
    }

    fn write_second(&mut self) {
        let date = jiff::Timestamp::from_second(self.second).unwrap_or_default();
        let mut text = [0; 32];
        if write!(&mut text[..], "{date}").is_ok() && text[19] == b'Z' {
            self.text[..19].copy_from_slice(&text[..19]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamp_is_the_time_in_utc_with_microseconds() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_705_746_600_123_456, "2024-01-20T10:30:00.123456Z"),
            (1_705_746_600_999_999, "2024-01-20T10:30:00.999999Z"),
            (1_705_746_601_000_000, "2024-01-20T10:30:01.000000Z"),
            (1_705_746_599_000_001, "2024-01-20T10:29:59.000001Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
        ];
        let mut stamp = Stamp::new();
        for (micros, expected) in cases {
            assert_eq!(std::str::from_utf8(stamp.at(micros)).unwrap(), expected);
        }
    }
}
