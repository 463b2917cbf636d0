//! Within what a key is held in place, time and number: whether one key is held within all that holds another.

use super::{
    key::Key,
    network::Networks,
    policy::{HOUR, Terms},
    terms::{self, OWNED_RATE_LIMIT, RateLimit, Window, Windows},
    time::Timestamp,
    window::Limit,
};

/// The default holds nothing back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// None at all means from everywhere.
    networks: Networks,
    expires_at: Option<Timestamp>,
    limits: Box<[Limit]>,
}

impl Bounds {
    pub fn new(terms: &Terms, expires_at: Option<Timestamp>) -> Self {
        Self {
            networks: terms.allowed_ips.clone(),
            expires_at,
            limits: terms.limits.clone(),
        }
    }

    pub fn of_key(key: &Key<'_>) -> Self {
        let terms = key.policy.as_ref().map(|policy| &policy.terms);
        Self::new(terms.unwrap_or(&Terms::default()), key.expires_at)
    }

    /// Whether a key with these bounds can be used from nowhere, at no time and never more often than one with the others
    /// could be.
    pub fn are_within(&self, others: &Self) -> bool {
        let is_no_later = |end: Timestamp| self.expires_at.is_some_and(|own| own <= end);
        self.networks.are_within(&others.networks)
            && others.expires_at.is_none_or(is_no_later)
            && others.limits.iter().all(|limit| self.keep_to(limit))
    }

    /// One limit that allows no more in no less time is enough, whatever its name.
    fn keep_to(&self, limit: &Limit) -> bool {
        let quota = limit.quota();
        let is_as_strict = |own: &Limit| own.quota() <= quota && own.window_seconds >= limit.window_seconds;
        self.limits.iter().any(is_as_strict)
    }

    /// What a new key within these bounds gets where nothing else was chosen for it.
    pub fn networks(&self) -> terms::Networks {
        terms::Networks::new(self.networks.iter().map(|network| network.to_string())).unwrap_or_default()
    }

    pub const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// The usual rate of a key with an owner, or what these bounds leave of it beside such a burst.
    pub fn owned_rate(&self, burst: u32) -> RateLimit {
        let hourly = self.limits.iter().find(|limit| *limit.name == *HOUR);
        let room = hourly.map(|limit| limit.max.min(limit.quota().saturating_sub(burst)).max(1));
        let rate = room.and_then(|room| RateLimit::new(room.min(OWNED_RATE_LIMIT.get()).into()).ok());
        rate.unwrap_or(OWNED_RATE_LIMIT)
    }

    /// The windows beside the hour. One that could not be given to a new key is left out, and holds all the same.
    pub fn windows(&self) -> Windows {
        let named = self.limits.iter().filter(|limit| *limit.name != *HOUR);
        let windows = named.filter_map(|limit| {
            let quota = limit.quota();
            Window::new(&limit.name, quota.into(), limit.window_seconds.into()).ok()
        });
        Windows::new(windows.collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn bounds(members: &str) -> Bounds {
        let json = format!(r#"{{"id":"key_1","secret":"s","name":"n"{members}}}"#);
        let record = RawValue::from_string(json).unwrap();
        Bounds::of_key(&Key::read(&record).unwrap())
    }

    #[test]
    fn a_key_is_within_another_in_every_respect_or_not_at_all() {
        let table = [
            ("", "", true),
            (r#","expires_at":"2030-01-01""#, "", true),
            ("", r#","expires_at":"2030-01-01""#, false),
            (r#","expires_at":"2030-01-01""#, r#","expires_at":"2030-01-01""#, true),
            (r#","expires_at":"2030-01-02""#, r#","expires_at":"2030-01-01""#, false),
            (r#","allowed_ips":["10.0.0.0/8"]"#, "", true),
            ("", r#","allowed_ips":["10.0.0.0/8"]"#, false),
            (
                r#","allowed_ips":["10.1.0.0/16","::1"]"#,
                r#","allowed_ips":["::1","10.0.0.0/8"]"#,
                true,
            ),
            (
                r#","allowed_ips":["10.1.0.0/16","::2"]"#,
                r#","allowed_ips":["::1","10.0.0.0/8"]"#,
                false,
            ),
            (
                r#","allowed_ips":["10.0.0.0/7"]"#,
                r#","allowed_ips":["10.0.0.0/8"]"#,
                false,
            ),
            (r#","rate_limit_per_hour":5"#, r#","rate_limit_per_hour":5"#, true),
            (r#","rate_limit_per_hour":6"#, r#","rate_limit_per_hour":5"#, false),
            (
                r#","rate_limit_per_hour":5,"burst":1"#,
                r#","rate_limit_per_hour":5"#,
                false,
            ),
            (
                r#","rate_limit_per_hour":5,"burst":1"#,
                r#","rate_limit_per_hour":4,"burst":2"#,
                true,
            ),
            ("", r#","rate_limit_per_hour":5"#, false),
            (r#","user_id":"u""#, r#","rate_limit_per_hour":1000"#, true),
            (r#","user_id":"u""#, r#","rate_limit_per_hour":999"#, false),
            (
                r#","rate_limit_per_hour":9"#,
                r#","limits":[{"name":"a","limit":9,"window_seconds":60}]"#,
                true,
            ),
            (
                r#","rate_limit_per_hour":9"#,
                r#","limits":[{"name":"a","limit":8,"window_seconds":60}]"#,
                false,
            ),
            (
                r#","limits":[{"name":"b","limit":5,"window_seconds":59}]"#,
                r#","limits":[{"name":"a","limit":5,"window_seconds":60}]"#,
                false,
            ),
        ];
        for (inner, outer, expected) in table {
            assert_eq!(bounds(inner).are_within(&bounds(outer)), expected, "{inner} in {outer}");
        }
    }

    #[test]
    fn what_a_new_key_gets_by_itself_is_within_what_it_gets_it_from() {
        let makers = [
            r#","rate_limit_per_hour":5,"burst":3,"allowed_ips":["10.0.0.0/8","::1"]"#,
            r#","user_id":"u","limits":[{"name":"minute","limit":7,"window_seconds":60}]"#,
            r#","expires_at":"2030-01-01T00:00:00Z""#,
        ];
        for maker in makers {
            let maker = bounds(maker);
            let [ips, limits, end] = [
                serde_json::to_string(&maker.networks()).unwrap(),
                serde_json::to_string(&maker.windows()).unwrap(),
                serde_json::to_string(&maker.expires_at().map(|end| end.to_string())).unwrap(),
            ];
            for burst in [0, 4] {
                let rate = maker.owned_rate(burst).get();
                let child = bounds(&format!(
                    r#","rate_limit_per_hour":{rate},"burst":{burst},"allowed_ips":{ips},"limits":{limits},"expires_at":{end}"#
                ));
                assert!(child.are_within(&maker), "{child:?} {maker:?}");
            }
        }
        assert_eq!(Bounds::default().owned_rate(50), OWNED_RATE_LIMIT);
    }
}
