//! What a key is called, may do and how often: the options that say so, and how it is shown.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::{args::Args, failure::Failure, output::shown};
use crate::core::{
    document::Members,
    terms::{
        self, BadTerm, Burst, Environment, MAX_OVERLAP_SECONDS, Networks, OWNED_RATE_LIMIT, RateLimit, Scopes, Window,
        Windows,
    },
    time::Timestamp,
};

/// The longest name that the command line gives a key.
const MAX_NAME_CHARS: usize = 255;
/// The furthest expiry that `--expires-in` sets; `--expires-at` has no such end.
const MAX_EXPIRES_IN: Duration = Duration::from_hours(24 * 36_525);

/// The options that `create` and `update` share, as they were given.
pub struct TermOptions {
    scopes: Vec<String>,
    networks: Vec<String>,
    rate_limit: Option<String>,
    burst: Option<String>,
    windows: Vec<String>,
    expires_in: Option<String>,
}

impl TermOptions {
    pub fn take(args: &mut Args) -> Result<Self, Failure> {
        Ok(Self {
            scopes: args.options("--scope")?,
            networks: args.options("--allow-ip")?,
            rate_limit: args.option("--rate-limit")?,
            burst: args.option("--burst")?,
            windows: args.options("--limit")?,
            expires_in: args.option("--expires-in")?,
        })
    }

    /// `None` without such an option; so it is with the others.
    pub fn scopes(&self) -> Result<Option<Scopes>, Failure> {
        given(&self.scopes, || Scopes::new(&self.scopes), "--scope")
    }

    pub fn networks(&self) -> Result<Option<Networks>, Failure> {
        given(&self.networks, || Networks::new(&self.networks), "--allow-ip")
    }

    pub fn windows(&self) -> Result<Option<Windows>, Failure> {
        let windows = || Windows::new(self.windows.iter().map(|text| window(text)).collect::<Result<_, _>>()?);
        given(&self.windows, windows, "--limit")
    }

    pub fn rate_limit(&self) -> Result<Option<RateLimit>, Failure> {
        let rate = |text: &String| RateLimit::new(text.parse().map_err(|_| BadTerm::Rate)?);
        self.rate_limit
            .as_ref()
            .map(rate)
            .transpose()
            .map_err(wrong("--rate-limit"))
    }

    pub fn burst(&self) -> Result<Option<Burst>, Failure> {
        let burst = |text: &String| Burst::new(text.parse().map_err(|_| BadTerm::Burst)?);
        self.burst.as_ref().map(burst).transpose().map_err(wrong("--burst"))
    }

    /// By `--expires-at DATE` or `--expires-in DURATION`.
    pub fn expiry(&self, expires_at: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
        match (expires_at, &self.expires_in) {
            (Some(_), Some(_)) => Err(Failure::usage("--expires-at and --expires-in exclude each other")),
            (None, Some(text)) => humantime::parse_duration(text)
                .ok()
                .filter(|after| !after.is_zero() && *after <= MAX_EXPIRES_IN)
                .map(|after| Some(later(now, after)))
                .ok_or_else(|| Failure::usage("--expires-in must be a duration such as 12h, 30days or 1year")),
            (date, None) => checked_expiry(date),
        }
    }
}

/// `NAME=NUMBER/DURATION`, such as `minute=60/1m`.
fn window(text: &str) -> Result<Window, BadTerm> {
    let (name, rest) = text.split_once('=').ok_or(BadTerm::Window)?;
    let (limit, duration) = rest.split_once('/').ok_or(BadTerm::Window)?;
    let limit = limit.parse().map_err(|_| BadTerm::Window)?;
    let duration = humantime::parse_duration(duration).map_err(|_| BadTerm::Window)?;
    Window::new(name, limit, duration.as_secs())
}

fn given<T>(
    texts: &[String],
    read: impl FnOnce() -> Result<T, BadTerm>,
    option: &'static str,
) -> Result<Option<T>, Failure> {
    if texts.is_empty() {
        return Ok(None);
    }
    read().map(Some).map_err(wrong(option))
}

fn wrong(option: &'static str) -> impl Fn(BadTerm) -> Failure {
    move |problem| Failure::Usage(format!("{option} {problem}"))
}

pub fn environment(word: &str) -> Result<Environment, Failure> {
    word.parse().map_err(wrong("--environment"))
}

pub fn owner(text: &str) -> Result<String, Failure> {
    terms::owner(text).map_err(wrong("--owner"))
}

pub fn reason(text: &str) -> Result<String, Failure> {
    terms::reason(text).map_err(wrong("--reason"))
}

/// When an overlap that begins now ends; `None` for none.
pub fn overlap_until(text: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    let Some(text) = text else {
        return Ok(None);
    };
    let longest = Duration::from_secs(MAX_OVERLAP_SECONDS.into());
    match humantime::parse_duration(text) {
        Ok(overlap) if overlap.is_zero() => Ok(None),
        Ok(overlap) if overlap <= longest => Ok(Some(later(now, overlap))),
        Ok(_) | Err(_) => Err(Failure::usage("--overlap must be a duration up to 30days, such as 1h")),
    }
}

fn later(now: Timestamp, after: Duration) -> Timestamp {
    let millis = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_add(millis))
}

pub fn checked_name(name: Option<String>) -> Result<String, Failure> {
    let name = name.ok_or_else(|| Failure::usage("--name is missing"))?;
    terms::name(&name, MAX_NAME_CHARS).map_err(wrong("--name"))
}

pub fn checked_metadata(json: Option<String>) -> Result<Box<RawValue>, Failure> {
    let json = json.unwrap_or_else(|| "{}".to_owned());
    match serde_json::from_str::<Box<RawValue>>(&json) {
        Ok(metadata) if metadata.get().starts_with('{') => {
            terms::json_without_secret(metadata.get()).map_err(wrong("--metadata"))?;
            Ok(metadata)
        }
        Ok(_) | Err(_) => Err(Failure::failed(
            "Invalid JSON in metadata: it must be an object such as '{\"env\": \"prod\"}'",
        )),
    }
}

fn checked_expiry(date: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    let Some(date) = date else {
        return Ok(None);
    };
    let parsed = date.parse();
    parsed
        .map(Some)
        .map_err(|_| Failure::failed("Invalid expires_at format\nUse ISO 8601 format: YYYY-MM-DDTHH:MM:SSZ"))
}

/// What a record says of all that, whether a good key or not. What it does not say is not shown.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Terms {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_prefix: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_ips: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit_per_hour: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_active: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoke_reason: Option<Value>,
    /// Until when each earlier secret is good, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    previous_expire_at: Vec<Value>,
}

impl Terms {
    pub fn of(record: &RawValue) -> Self {
        Self::of_text(record.get())
    }

    pub fn of_text(record: &str) -> Self {
        let record: Option<&RawValue> = serde_json::from_str(record).ok();
        let Some(members) = record.and_then(Members::read) else {
            return Self::default();
        };
        let value = |name: &str| {
            let value: Value = serde_json::from_str(members.get(name)?.get()).ok()?;
            (!value.is_null()).then_some(value)
        };
        let previous = value("previous").and_then(|list| Some(list.as_array()?.iter().map(not_after).collect()));
        Self {
            user_id: value("user_id"),
            environment: value("environment"),
            key_prefix: value("key_prefix"),
            scopes: value("scopes"),
            allowed_ips: value("allowed_ips"),
            rate_limit_per_hour: value("rate_limit_per_hour"),
            burst: value("burst"),
            limits: value("limits"),
            is_active: value("is_active"),
            revoked_at: value("revoked_at"),
            revoke_reason: value("revoke_reason"),
            previous_expire_at: previous.unwrap_or_default(),
        }
    }

    /// What the environment of the key's secret is; `None` for a key whose secret begins with `sec_`.
    pub fn secret_environment(&self) -> Option<Environment> {
        let named = self.environment.as_ref().and_then(Value::as_str);
        let named = named.and_then(|word| word.parse().ok());
        named.or_else(|| self.user_id.as_ref().map(|_| Environment::default()))
    }

    pub fn first_previous(&self) -> Option<&str> {
        self.previous_expire_at.first()?.as_str()
    }

    /// For people: each with its label.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let line = |label, value: &Option<Value>| Some((label, text(value.as_ref()?)));
        let rate = self.rate().map(|rate| {
            let burst = self.burst.as_ref().map(|burst| format!(", burst {}", text(burst)));
            ("Rate Limit", format!("{rate}{}", burst.unwrap_or_default()))
        });
        let previous = (!self.previous_expire_at.is_empty()).then(|| {
            let times: Vec<_> = self.previous_expire_at.iter().map(text).collect();
            ("Old Secrets", format!("good until {}", times.join(", ")))
        });
        [
            line("Owner", &self.user_id),
            line("Environment", &self.environment),
            line("Key Prefix", &self.key_prefix),
            line("Scopes", &self.scopes),
            line("Allowed IPs", &self.allowed_ips),
            rate,
            self.limits.as_ref().map(|limits| ("Limits", windows(limits))),
            self.revocation().map(|revocation| ("Revoked", revocation)),
            previous,
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Terms {
    /// With an owner there is one, whoever chose it.
    fn rate(&self) -> Option<String> {
        if let Some(rate) = &self.rate_limit_per_hour {
            return Some(format!("{} an hour", text(rate)));
        }
        let owner = self.user_id.as_ref()?.as_str()?;
        (!owner.is_empty()).then(|| format!("{} an hour (default)", OWNED_RATE_LIMIT.get()))
    }

    /// A burst with nothing that it is on top of.
    pub fn has_burst_alone(&self) -> bool {
        self.burst.is_some() && self.rate().is_none()
    }

    fn revocation(&self) -> Option<String> {
        let is_inactive = self.is_active.as_ref().is_some_and(|flag| flag != true);
        let at = match &self.revoked_at {
            Some(at) => text(at),
            None if is_inactive && self.revoke_reason.is_some() => "no date".to_owned(),
            None => return None,
        };
        let reason = self.revoke_reason.as_ref().map(|reason| format!(" ({})", text(reason)));
        Some(at + &reason.unwrap_or_default())
    }
}

fn not_after(entry: &Value) -> Value {
    entry.get("not_after").cloned().unwrap_or_default()
}

/// A text as it is, a list of texts joined, anything else as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => shown(text),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(", "),
        other => shown(&other.to_string()),
    }
}

fn windows(limits: &Value) -> String {
    let one = |limit: &Value| {
        let parts = (
            limit["name"].as_str(),
            limit["limit"].as_u64(),
            limit["window_seconds"].as_u64(),
        );
        match parts {
            (Some(name), Some(limit), Some(seconds)) => {
                format!("{} {limit} in {}", shown(name), length(seconds))
            }
            _ => text(limit),
        }
    };
    let list = limits
        .as_array()
        .map(|list| list.iter().map(one).collect::<Vec<_>>().join(", "));
    list.unwrap_or_else(|| text(limits))
}

/// Of a window, in days and what is left of one: no month is as long as another.
fn length(seconds: u64) -> String {
    const DAY: u64 = 24 * 60 * 60;
    let days = match seconds / DAY {
        0 => None,
        1 => Some("1day".to_owned()),
        days => Some(format!("{days}days")),
    };
    let rest = Duration::from_secs(seconds % DAY);
    let rest = (!rest.is_zero() || days.is_none()).then(|| humantime::format_duration(rest).to_string());
    [days, rest].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_must_be_fit_to_be_shown() {
        let name = |text: &str| checked_name(Some(text.to_owned())).ok();
        assert_eq!(name("  My Service "), Some("My Service".to_owned()));
        assert_eq!(name(&"é".repeat(255)), Some("é".repeat(255)));
        for bad in ["", "   ", "a\nb", "a\u{1b}[31mb", "a\u{202e}b", &"x".repeat(256)] {
            assert_eq!(name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn metadata_is_an_object_and_a_bad_one_is_not_repeated() {
        assert_eq!(checked_metadata(None).unwrap().get(), "{}");
        let kept = r#"{"z": 1, "a":[1.50]}"#;
        assert_eq!(checked_metadata(Some(kept.to_owned())).unwrap().get(), kept);
        for bad in ["", "{", "[]", "null", "\"sec_x\"", "{sec_x}"] {
            let error = format!("{:?}", checked_metadata(Some(bad.to_owned())).unwrap_err());
            assert!(!error.contains("sec_x"), "{error}");
        }
    }

    #[test]
    fn a_window_is_written_with_its_number_and_length() {
        assert_eq!(window("minute=60/1m"), Window::new("minute", 60, 60));
        assert_eq!(window("day=5000/1day"), Window::new("day", 5000, 86_400));
        for bad in [
            "",
            "minute",
            "minute=60",
            "minute=/1m",
            "minute=60/",
            "minute=60/500ms",
            "=60/1m",
            "minute=-1/1m",
        ] {
            assert_eq!(window(bad), Err(BadTerm::Window), "{bad:?}");
        }
    }

    #[test]
    fn what_is_in_force_is_shown_whoever_chose_it() {
        for (record, expected) in [
            (r#"{"user_id":"u"}"#, vec!["u", "1000 an hour (default)"]),
            (
                r#"{"user_id":"u","burst":5}"#,
                vec!["u", "1000 an hour (default), burst 5"],
            ),
            (r#"{"is_active":false,"revoke_reason":"lost"}"#, vec!["no date (lost)"]),
            (r#"{"is_active":true,"revoke_reason":"lost"}"#, vec![]),
        ] {
            let lines = Terms::of_text(record).lines();
            let shown: Vec<_> = lines.iter().map(|(_, value)| value.as_str()).collect();
            assert_eq!(shown, expected, "{record}");
        }
    }

    #[test]
    fn the_length_of_a_window_is_written_in_days() {
        for (seconds, expected) in [
            (0, "0s"),
            (90, "1m 30s"),
            (86_400, "1day"),
            (31 * 86_400, "31days"),
            (2 * 86_400 + 3_600, "2days 1h"),
        ] {
            assert_eq!(length(seconds), expected);
        }
    }

    #[test]
    fn whatever_a_record_holds_can_be_shown() {
        let record = r#"{"user_id":7,"scopes":["a",{"b":null}],"limits":"x\u001b","previous":[1,{"not_after":"t","secret_hash":"h"}]}"#;
        let lines = Terms::of_text(record).lines();
        let expected = [
            ("Owner", "7"),
            ("Scopes", r#"a, {"b":null}"#),
            ("Limits", "x\\u{1b}"),
            ("Old Secrets", "good until null, t"),
        ];
        assert_eq!(lines, expected.map(|(label, value)| (label, value.to_owned())));
        for nothing in ["", "7", "[]", "{}", r#"{"scopes":null}"#] {
            assert_eq!(Terms::of_text(nothing), Terms::default(), "{nothing}");
        }
    }
}
