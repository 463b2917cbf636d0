//! The forms in which a setting's value can be written. `None` means that it is wrong; the caller has the sentence.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use super::{LogLevel, Protocol};
use crate::core::secret::Secret;

const POLL_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);

pub(super) fn number<T: FromStr + PartialOrd>(text: &str, least: T, most: T) -> Option<T> {
    let number = text.parse().ok()?;
    (least..=most).contains(&number).then_some(number)
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

/// As `boolean`, and in the words by which one speaks of a switch.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" => Some(true),
        "off" => Some(false),
        other => boolean(other),
    }
}

/// `5s`, `1m 30s`, or plain seconds such as `5` and `0.5`.
pub(super) fn poll_interval(text: &str) -> Option<Duration> {
    let interval = match text.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        Err(_) => humantime::parse_duration(text).ok()?,
    };
    POLL_INTERVALS.contains(&interval).then_some(interval)
}

/// `90days`, `1y`, at least this long.
pub(super) fn duration(text: &str, least: Duration) -> Option<Duration> {
    humantime::parse_duration(text)
        .ok()
        .filter(|duration| *duration >= least)
}

/// `1048576`, `1024KiB`, `1MiB` or `1 GiB`.
pub(super) fn size(text: &str) -> Option<usize> {
    const UNITS: [(&str, u32); 3] = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let (digits, shift) = UNITS
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?.trim_end(), shift)))
        .unwrap_or((text, 0));
    let bytes = digits.parse::<usize>().ok()?.checked_mul(1 << shift)?;
    (bytes > 0).then_some(bytes)
}

/// A name, or the resource name of an access point.
pub(super) fn bucket(text: &str) -> Option<String> {
    let is_name = text.bytes().all(is_name_byte);
    let is_resource = text.starts_with("arn:") && text.bytes().all(|byte| byte.is_ascii_graphic());
    (is_name || is_resource).then(|| text.to_owned())
}

pub(super) fn region(text: &str) -> Option<String> {
    text.bytes().all(is_name_byte).then(|| text.to_owned())
}

/// Only looked at: the SDK reads it again by itself.
pub(super) fn endpoint(text: &str) -> Option<()> {
    let (scheme, rest) = text.split_once("://")?;
    let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let has_host = rest.bytes().next().is_some_and(|byte| byte != b'/');
    (is_http && has_host && rest.bytes().all(|byte| byte.is_ascii_graphic())).then_some(())
}

pub(super) fn host_address(text: &str) -> Option<IpAddr> {
    if text.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    text.parse().ok()
}

pub(super) fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (host, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(host_address(host)?, port.parse().ok()?))
}

/// Keeps out a URL, a port and anything that could break out of a header or a request line.
pub(super) fn host_name(text: &str) -> Option<String> {
    let is_name = text.bytes().all(is_name_byte);
    let is_address = text.parse::<IpAddr>().is_ok();
    (!text.is_empty() && (is_name || is_address)).then(|| text.to_owned())
}

/// The same, or the absolute path of the directory with the server's socket.
pub(super) fn database_host(text: &str) -> Option<String> {
    let is_path = text.starts_with('/') && !text.contains(char::is_control);
    if is_path {
        Some(text.to_owned())
    } else {
        host_name(text)
    }
}

/// Only looked at; it may hold a password.
pub(super) fn redis_url(text: &str) -> Option<Secret> {
    redis::Client::open(text).is_ok().then(|| Secret::new(text))
}

/// Keeps out what has a meaning in a statsd line.
pub(super) fn metric_prefix(text: &str) -> Option<String> {
    (text.bytes().all(is_name_byte) && !text.is_empty()).then(|| text.to_owned())
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

pub(super) fn protocol(text: &str) -> Option<Protocol> {
    match text.to_ascii_lowercase().as_str() {
        "http" => Some(Protocol::Http),
        "udp" => Some(Protocol::Udp),
        "tcp" => Some(Protocol::Tcp),
        _ => None,
    }
}

pub(super) fn log_level(text: &str) -> Option<LogLevel> {
    match text.to_ascii_lowercase().as_str() {
        "trace" => Some(LogLevel::Trace),
        "debug" => Some(LogLevel::Debug),
        "info" => Some(LogLevel::Info),
        "warn" | "warning" => Some(LogLevel::Warn),
        "error" => Some(LogLevel::Error),
        _ => None,
    }
}
