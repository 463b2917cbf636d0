//! A point in time in UTC, as documents write it and as expiry compares it.

use std::{borrow::Cow, fmt};

use jiff::{
    SignedDuration,
    civil::{DateTime, Time, date},
    fmt::temporal::DateTimeParser,
    tz::Offset,
};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text is not a date this service understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 8601 date or time")]
pub struct BadTimestamp;

/// Offsets are added by hand to plain calendar times: jiff's own instant ends a day before year 9999 does, and
/// `9999-12-31T23:59:59Z` is what people write for "never".
const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

static PARSER: DateTimeParser = DateTimeParser::new();

impl Timestamp {
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }

    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The day in UTC alone, `2024-01-20`: for tables.
    pub fn date(self) -> String {
        self.calendar().date().to_string()
    }

    /// Reads `2024-01-20T10:30:00Z` and its like with `+00:00`, whole seconds of UTC: in a large document a million times,
    /// with a tenth of what the parser for all forms takes. `None` for any other text.
    fn from_usual(text: &str) -> Option<Self> {
        let (local, "Z" | "+00:00") = text.split_at_checked(19)? else {
            return None;
        };
        let local: &[u8; 19] = local.as_bytes().try_into().ok()?;
        let [_, _, _, _, b'-', _, _, b'-', _, _, b'T', _, _, b':', _, _, b':', _, _] = local else {
            return None;
        };
        let two = |at: usize| match [local[at].wrapping_sub(b'0'), local[at + 1].wrapping_sub(b'0')] {
            [tens @ 0..10, ones @ 0..10] => Some(i64::from(tens * 10 + ones)),
            _ => None,
        };
        let (year, month, day) = (two(0)? * 100 + two(2)?, two(5)?, two(8)?);
        let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
        // A leap second is left to the parser.
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let days = days_since_epoch(year, month, day)?;
        Some(Self((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000))
    }

    /// Whole seconds in UTC. What lies beyond the calendar's ends is shown as its end.
    fn calendar(self) -> DateTime {
        EPOCH.saturating_add(SignedDuration::from_secs(self.as_seconds()))
    }
}

/// Reads what Python's `datetime.fromisoformat` wrote or accepted: a date, or a date and time, with an offset,
/// with `Z` or with neither (then it is UTC). A fraction finer than a millisecond is cut off.
impl std::str::FromStr for Timestamp {
    type Err = BadTimestamp;

    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        Self::from_usual(text).map_or_else(|| Self::from_any(text), Ok)
    }
}

impl Timestamp {
    fn from_any(text: &str) -> Result<Self, BadTimestamp> {
        // Signed years and bracketed zone names are the parser's own extensions, which nobody here writes.
        if !text.starts_with(|c: char| c.is_ascii_digit()) || text.contains('[') {
            return Err(BadTimestamp);
        }
        let text = without_space_before_offset(text);
        let pieces = PARSER.parse_pieces(&*text).map_err(|_| BadTimestamp)?;
        let local = pieces.date().to_datetime(pieces.time().unwrap_or(Time::midnight()));
        let offset = pieces.to_numeric_offset().map_or(0, Offset::seconds);
        let since_epoch = local.duration_since(EPOCH) - SignedDuration::from_secs(offset.into());
        let millis = since_epoch.as_nanos().div_euclid(1_000_000);
        i64::try_from(millis).map(Self).map_err(|_| BadTimestamp)
    }
}

/// `2024-01-20T10:30:00Z`: whole seconds, always UTC.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}Z", self.calendar())
    }
}

/// `None` for a day that is not in the calendar.
fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    const BEFORE_MONTH: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    const BEFORE_1970: i64 = 719_162;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let number = usize::try_from(month).ok().filter(|number| (1..=12).contains(number))?;
    let length = BEFORE_MONTH[number] - BEFORE_MONTH[number - 1] + i64::from(is_leap && month == 2);
    if !(1..=length).contains(&day) {
        return None;
    }
    let past = year - 1;
    let leap_days = past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400) + i64::from(is_leap && month > 2);
    Some(past * 365 + leap_days + BEFORE_MONTH[number - 1] + day - 1 - BEFORE_1970)
}

/// `2024-01-20 10:30:00 +0200`, as git and `date` print a time, which Python reads too.
fn without_space_before_offset(text: &str) -> Cow<'_, str> {
    match text.rsplit_once(' ') {
        Some((local, offset)) if offset.starts_with(['+', '-', 'Z']) => format!("{local}{offset}").into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(text: &str) -> Option<i64> {
        text.parse().ok().map(Timestamp::as_millis)
    }

    #[test]
    fn every_form_that_python_writes_or_reads_is_read() {
        for (text, expected) in [
            ("2024-01-20", 1_705_708_800_000),
            ("20240120", 1_705_708_800_000),
            ("2024-01-20T10:30:00Z", 1_705_746_600_000),
            ("2024-01-20 10:30:00Z", 1_705_746_600_000),
            ("2024-01-20T10:30:00", 1_705_746_600_000),
            ("2024-01-20T10:30", 1_705_746_600_000),
            ("2024-01-20T10", 1_705_744_800_000),
            ("2024-01-20T10:30:00+00:00", 1_705_746_600_000),
            ("2024-01-20T10:30:00-00:00", 1_705_746_600_000),
            ("2024-01-20T12:30:00+02:00", 1_705_746_600_000),
            ("2024-01-20T12:30:00+0200", 1_705_746_600_000),
            ("2024-01-20T12:30:00+02", 1_705_746_600_000),
            ("2024-01-20T05:00:00-05:30", 1_705_746_600_000),
            ("2024-01-20T12:30:05+02:00:05", 1_705_746_600_000),
            ("2024-01-20 12:30:00 +0200", 1_705_746_600_000),
            ("2024-01-20 10:30:00 Z", 1_705_746_600_000),
            // A leap second counts as the second before it.
            ("2024-01-20T10:29:60Z", 1_705_746_599_000),
            ("2025-10-28T16:45:18.123456+00:00", 1_761_669_918_123),
            ("2025-10-28T16:45:18.999999Z", 1_761_669_918_999),
            ("2025-10-28T16:45:18,5Z", 1_761_669_918_500),
            ("20251231T235959Z", 1_767_225_599_000),
            ("20251231T235959.25+0000", 1_767_225_599_250),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
            ("1969-12-31T23:59:59.9999Z", -1),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999),
        ] {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn whatever_is_no_date_is_refused() {
        for text in [
            "",
            " ",
            "never",
            "soon",
            "2024",
            "2024-01",
            "2024-13-01",
            "2024-02-30",
            "2023-02-29",
            "2024-1-20",
            "20-01-2024",
            "01/20/2024",
            "1705708800",
            " 2024-01-20",
            "2024-01-20 ",
            "2024-01-20T",
            "2024-01-20T10:30:00Z\n",
            "2024-01-20T24:00:00Z",
            "2024-01-20T10:60:00Z",
            "2024-01-20T10:30:00X",
            "2024-01-20T10:30:00  Z",
            "2024-01-20 +02:00",
            "2024-01-20T10:30:00 + 02:00",
            "2024-01-20T10:30:00+25:99",
            "2024-01-20T10:30:00+02:00[Europe/Berlin]",
            "2024-01-20T10:30:00Z[u-ca=iso8601]",
            "+002024-01-20",
            "-002024-01-20",
            "２０２４-01-20",
            "2024-01-20T10:30:00Z and more",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(BadTimestamp), "{text:?}");
        }
    }

    #[test]
    fn a_time_is_shown_in_whole_seconds_of_utc() {
        for (text, shown, day) in [
            ("2024-01-20T10:30:00.999Z", "2024-01-20T10:30:00Z", "2024-01-20"),
            ("2024-01-20T23:30:00-02:00", "2024-01-21T01:30:00Z", "2024-01-21"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59Z", "1969-12-31"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "9999-12-31"),
        ] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!(
                (time.to_string().as_str(), time.date().as_str()),
                (shown, day),
                "{text}"
            );
        }
    }

    #[test]
    fn a_time_beyond_the_calendar_is_shown_as_its_end() {
        assert_eq!(Timestamp::from_millis(i64::MAX).to_string(), "9999-12-31T23:59:59Z");
        assert!(
            Timestamp::from_millis(i64::MIN)
                .to_string()
                .starts_with("-009999-01-01")
        );
    }

    #[test]
    fn the_calendar_of_the_usual_forms_is_that_of_all() {
        let agree = |text: &str| {
            let usual = Timestamp::from_usual(text);
            assert_eq!(usual, Timestamp::from_any(text).ok(), "{text}");
        };
        for year in [0, 1, 1900, 1969, 1970, 2000, 2023, 2024, 9999] {
            for (month, day) in (0..=13).flat_map(|month| (0..=32).map(move |day| (month, day))) {
                agree(&format!("{year:04}-{month:02}-{day:02}T10:30:00Z"));
            }
        }
        for (hour, rest) in [0, 9, 10, 23, 24]
            .into_iter()
            .flat_map(|hour| [0, 9, 59, 60].map(|rest| (hour, rest)))
        {
            agree(&format!("2024-01-20T{hour:02}:{rest:02}:00+00:00"));
            agree(&format!("2024-01-20T{hour:02}:00:{:02}Z", rest.min(59)));
        }
        // A leap second and what is spelled otherwise are left to the parser for all.
        for text in ["2024-01-20T10:29:60Z", "2024-01-20t10:30:00Z", "2024-01-20T10:30:00z"] {
            assert_eq!(Timestamp::from_usual(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back_to_the_second(seconds in -62_167_219_200_i64..=253_402_300_799, fraction in 0..1000_i64) {
            let time = Timestamp::from_millis(seconds * 1000 + fraction);
            prop_assert_eq!(time.to_string().parse::<Timestamp>().map(Timestamp::as_seconds), Ok(seconds));
        }

        #[test]
        fn the_usual_forms_are_read_as_by_the_parser_for_all(
            year in 0..=9999_i32, month in 0..=13_u8, day in 0..=32_u8, hour in 0..=24_u8, minute in 0..=60_u8, second in 0..=60_u8,
            zulu: bool,
        ) {
            let zone = if zulu { "Z" } else { "+00:00" };
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}");
            let usual = Timestamp::from_usual(&text);
            prop_assert_eq!(usual.or_else(|| Timestamp::from_any(&text).ok()), Timestamp::from_any(&text).ok());
            prop_assert_eq!(usual.is_none(), Timestamp::from_any(&text).is_err() || second == 60);
        }

        #[test]
        fn no_text_makes_reading_panic(text in any::<String>()) {
            let _ = text.parse::<Timestamp>();
        }
    }
}
