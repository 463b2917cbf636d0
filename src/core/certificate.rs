//! Until when an X.509 certificate is valid, cut out of its DER form.

use super::time::Timestamp;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of the certificate's validity, or nothing if it is no certificate.
pub fn not_after(der: &[u8]) -> Option<Timestamp> {
    let certificate = element(der)?.content_of(SEQUENCE)?;
    let mut rest = element(certificate)?.content_of(SEQUENCE)?;
    if *rest.first()? == VERSION {
        rest = element(rest)?.rest;
    }
    // The serial number, the signature's algorithm, the issuer.
    for _ in 0..3 {
        rest = element(rest)?.rest;
    }
    let validity = element(rest)?.content_of(SEQUENCE)?;
    let not_before = element(validity)?;
    time(&element(not_before.rest)?)
}

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Element<'a> {
    fn content_of(self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }
}

fn element(der: &[u8]) -> Option<Element<'_>> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            let length = bytes.iter().fold(0, |length, &byte| (length << 8) + usize::from(byte));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some(Element { tag, content, rest })
}

/// `YYMMDDHHMMSSZ` between 1950 and 2049, `YYYYMMDDHHMMSSZ` otherwise: RFC 5280 allows no other form.
fn time(element: &Element<'_>) -> Option<Timestamp> {
    let text = str::from_utf8(element.content).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let text = match (element.tag, text.len()) {
        (UTC_TIME, 12) if &text[..2] < "50" => format!("20{text}"),
        (UTC_TIME, 12) => format!("19{text}"),
        (GENERALIZED_TIME, 14) => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| &text[from..to];
    let (date, clock) = (
        [part(0, 4), part(4, 6), part(6, 8)],
        [part(8, 10), part(10, 12), part(12, 14)],
    );
    format!("{}T{}Z", date.join("-"), clock.join(":")).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let head = match u16::try_from(content.len()).unwrap().to_be_bytes() {
            [0, length @ ..0x80] => vec![tag, length],
            [0, length] => vec![tag, 0x81, length],
            [high, low] => vec![tag, 0x82, high, low],
        };
        [head, content.to_vec()].concat()
    }

    fn certificate(version: bool, issuer: usize, not_after: &[u8]) -> Vec<u8> {
        let version = if version {
            der(VERSION, &der(2, &[2]))
        } else {
            Vec::new()
        };
        let validity = der(
            SEQUENCE,
            &[der(UTC_TIME, b"200101000000Z"), not_after.to_vec()].concat(),
        );
        let issuer = der(SEQUENCE, &vec![7; issuer]);
        let signed = [version, der(2, &[1]), der(SEQUENCE, &[]), issuer, validity].concat();
        der(SEQUENCE, &der(SEQUENCE, &signed))
    }

    #[test]
    fn the_end_of_validity_is_found_in_both_forms_of_time() {
        let table: [(u8, &[u8], &str); 4] = [
            (UTC_TIME, b"491231235959Z", "2049-12-31T23:59:59Z"),
            (UTC_TIME, b"500101000000Z", "1950-01-01T00:00:00Z"),
            (GENERALIZED_TIME, b"20500101000000Z", "2050-01-01T00:00:00Z"),
            (GENERALIZED_TIME, b"99991231235959Z", "9999-12-31T23:59:59Z"),
        ];
        for (tag, text, expected) in table {
            for (version, issuer) in [(true, 7), (true, 128), (false, 150), (false, 700)] {
                let found = not_after(&certificate(version, issuer, &der(tag, text)));
                assert_eq!(found.map(|end| end.to_string()).as_deref(), Some(expected));
            }
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let whole = certificate(true, 7, &der(UTC_TIME, b"300101000000Z"));
        for length in 0..whole.len() {
            assert_eq!(not_after(&whole[..length]), None);
        }
        for time in [
            &b"3001010000Z"[..],
            b"300101000000",
            b"30010100000aZ",
            b"301301000000Z",
            b"\xff",
        ] {
            assert_eq!(not_after(&certificate(true, 7, &der(UTC_TIME, time))), None);
        }
        assert_eq!(not_after(&[SEQUENCE, 0x85, 1, 1, 1, 1, 1]), None);
    }
}
