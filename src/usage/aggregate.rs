//! Adds up what was seen into rows, in bounded memory: how many rows, how many endpoints of a key, how long a text.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    hash::BuildHasher,
    mem,
};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::queue::Seen;
use crate::core::id;

/// The most rows that wait for the database.
pub const MAX_ROWS: usize = 100_000;

/// Endpoints of one key in one hour that have rows of their own; the rest share one.
const MAX_ENDPOINTS: u16 = 50;

/// The same for all keys together.
const MAX_ALL_ENDPOINTS: usize = 100_000;

/// The longest endpoint, in bytes.
const MAX_ENDPOINT: usize = 200;

/// What stands for endpoints that are not counted by themselves.
pub const OTHER: &str = "other";

/// The service's own routes, which are few whatever anybody sends.
const ROUTES: [&str; 4] = ["/verify", "/verify/batch", "/authz", "/api/v1/keys/validate"];

/// What begins a secret, wherever it stands: an endpoint with one in it is not written down.
const SECRETS: [&str; 4] = ["sec_", "hk_live_", "hk_test_", "hk_dev_"];

/// Upper ends of the first five columns of response times, in microseconds; the sixth has none.
pub const BUCKETS_US: [u64; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];

/// What a key was asked for in an hour, at one endpoint, with one class of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key_id: Box<str>,
    pub endpoint: Box<str>,
    pub hour: i64,
    /// 2 for 200 to 299, and so on.
    pub class: u8,
    pub requests: u64,
    pub total_us: u64,
    pub max_us: u64,
    pub buckets: [u64; BUCKETS_US.len() + 1],
    pub last_ms: i64,
}

/// The rows that no batch has taken yet.
pub struct Pending {
    rows: HashTable<Row>,
    endpoints: Endpoints,
    random: DefaultHashBuilder,
    /// Rows that may be held beside those that are being written.
    room: usize,
}

impl Default for Pending {
    fn default() -> Self {
        Self {
            rows: HashTable::new(),
            endpoints: Endpoints::default(),
            random: DefaultHashBuilder::default(),
            room: MAX_ROWS,
        }
    }
}

impl Pending {
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// So many rows are held elsewhere.
    pub fn leave_room_for(&mut self, rows: usize) {
        self.room = MAX_ROWS.saturating_sub(rows);
    }

    /// False when there is no room for another row: then it is not counted.
    pub fn add(&mut self, seen: &Seen<'_>) -> bool {
        let key_id = unescaped(seen.key_id);
        let hour = seen.at.as_seconds().div_euclid(3600);
        let class = u8::try_from(seen.status / 100).unwrap_or_default();
        let endpoint = cleaned(seen.endpoint);
        if self.add_to_row(&key_id, hour, endpoint, class, seen) {
            return true;
        }
        let endpoint = if self.endpoints.admit(&self.random, &key_id, hour, endpoint) {
            endpoint
        } else {
            OTHER
        };
        if self.add_to_row(&key_id, hour, endpoint, class, seen) {
            return true;
        }
        if self.rows.len() >= self.room {
            return false;
        }
        let mut row = Row {
            key_id: key_id.into(),
            endpoint: endpoint.into(),
            hour,
            class,
            requests: 0,
            total_us: 0,
            max_us: 0,
            buckets: [0; BUCKETS_US.len() + 1],
            last_ms: i64::MIN,
        };
        row.add(seen);
        let random = &self.random;
        let hash = row.hash(random);
        self.rows.insert_unique(hash, row, |row| row.hash(random));
        true
    }

    /// All rows, in an order that is the same for every writer, so that no two lock each other out.
    pub fn take(&mut self) -> Vec<Row> {
        let mut rows: Vec<Row> = mem::take(&mut self.rows).into_iter().collect();
        rows.sort_unstable_by(|a, b| a.name().cmp(&b.name()));
        rows
    }

    fn add_to_row(&mut self, key_id: &str, hour: i64, endpoint: &str, class: u8, seen: &Seen<'_>) -> bool {
        let name = (key_id, hour, endpoint, class);
        let hash = self.random.hash_one(name);
        let row = self.rows.find_mut(hash, |row| row.name() == name);
        row.map(|row| row.add(seen)).is_some()
    }
}

impl Row {
    fn name(&self) -> (&str, i64, &str, u8) {
        (&self.key_id, self.hour, &self.endpoint, self.class)
    }

    fn hash(&self, random: &DefaultHashBuilder) -> u64 {
        random.hash_one(self.name())
    }

    fn add(&mut self, seen: &Seen<'_>) {
        let took_us = u64::try_from(seen.took.as_micros()).unwrap_or(u64::MAX);
        self.requests += 1;
        self.total_us = self.total_us.saturating_add(took_us);
        self.max_us = self.max_us.max(took_us);
        self.buckets[BUCKETS_US.partition_point(|&end| end < took_us)] += 1;
        self.last_ms = self.last_ms.max(seen.at.as_millis());
    }
}

/// Which endpoints have rows of their own in the present hour. Only their hashes are kept.
#[derive(Default)]
struct Endpoints {
    hour: i64,
    of_key: HashMap<u64, u16>,
    known: HashSet<u64>,
}

impl Endpoints {
    fn admit(&mut self, random: &DefaultHashBuilder, key_id: &str, hour: i64, endpoint: &str) -> bool {
        if ROUTES.contains(&endpoint) {
            return true;
        }
        if self.hour < hour {
            *self = Self {
                hour,
                ..Self::default()
            };
        }
        let pair = random.hash_one((key_id, endpoint));
        if self.known.contains(&pair) {
            return true;
        }
        let of_key = self.of_key.entry(random.hash_one(key_id)).or_default();
        let has_room = *of_key < MAX_ENDPOINTS && self.known.len() < MAX_ALL_ENDPOINTS;
        if has_room {
            *of_key += 1;
            self.known.insert(pair);
        }
        has_room
    }
}

/// The index holds an id as it stands in JSON, almost always without an escape.
fn unescaped(inside: &str) -> Cow<'_, str> {
    if !inside.contains('\\') {
        return inside.into();
    }
    let text = serde_json::from_str::<String>(&format!("\"{inside}\""));
    text.map_or(inside.into(), |text| text.replace('\0', "\u{fffd}").into())
}

/// An endpoint as it is written down: without a query, of bounded length, and nothing that could be a secret.
fn cleaned(endpoint: &str) -> &str {
    let path = endpoint.split(['?', '#']).next().unwrap_or_default().trim();
    // One look at a byte tells for almost all of them that there is no secret inside.
    let is_secret = path.contains('_') && (SECRETS.iter().any(|start| path.contains(start)) || id::holds_secret(path));
    let path = &path[..path.floor_char_boundary(MAX_ENDPOINT)];
    let is_fit = !path.is_empty() && !path.chars().any(char::is_control);
    if is_fit && !is_secret { path } else { OTHER }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::time::Timestamp;

    /// 2024-01-20T10:30:00Z.
    const AT: i64 = 1_705_746_600_000;
    const HOUR: i64 = AT / 3_600_000;

    fn seen<'a>(key_id: &'a str, endpoint: &'a str, status: u16, took_us: u64, at: i64) -> Seen<'a> {
        Seen {
            key_id,
            endpoint,
            status,
            took: Duration::from_micros(took_us),
            at: Timestamp::from_millis(at),
        }
    }

    #[test]
    fn what_is_alike_is_added_up_in_one_row() {
        let mut pending = Pending::default();
        for (took_us, at) in [(40, AT + 5), (100, AT), (101, AT + 9), (2_000_000, AT + 3)] {
            assert!(pending.add(&seen("key_1", "/verify", 200, took_us, at)));
        }
        assert!(pending.add(&seen("key_1", "/verify", 204, 7, AT)), "the same class");
        let rows = pending.take();
        let row = Row {
            key_id: "key_1".into(),
            endpoint: "/verify".into(),
            hour: HOUR,
            class: 2,
            requests: 5,
            total_us: 2_000_248,
            max_us: 2_000_000,
            buckets: [3, 1, 0, 0, 0, 1],
            last_ms: AT + 9,
        };
        assert_eq!(rows, [row]);
        assert_eq!(pending.take(), []);
    }

    #[test]
    fn key_hour_endpoint_and_class_each_make_a_row_of_their_own() {
        let mut pending = Pending::default();
        for one in [
            seen("key_1", "/verify", 200, 1, AT),
            seen("key_1", "/verify", 403, 1, AT),
            seen("key_1", "/verify", 200, 1, AT + 3_600_000),
            seen("key_1", "/orders", 200, 1, AT),
            seen("key_2", "/verify", 200, 1, AT),
        ] {
            assert!(pending.add(&one));
        }
        let rows = pending.take();
        assert_eq!(rows.len(), 5);
        assert!(rows.is_sorted_by(|a, b| a.name() < b.name()));
    }

    #[test]
    fn a_key_with_endless_endpoints_has_a_bounded_number_of_rows() {
        let mut pending = Pending::default();
        for round in 0..2 {
            for number in 0..500 {
                assert!(
                    pending.add(&seen("key_1", &format!("/users/{number}"), 200, 1, AT)),
                    "round {round}"
                );
            }
            let rows = pending.take();
            assert_eq!(rows.len(), usize::from(MAX_ENDPOINTS) + 1);
            let other = rows.iter().find(|row| &*row.endpoint == OTHER).unwrap();
            assert_eq!(other.requests, 450, "the bound outlives a batch");
        }
        assert!(pending.add(&seen("key_1", "/verify", 200, 1, AT)));
        assert!(pending.add(&seen("key_2", "/users/499", 200, 1, AT)));
        assert!(pending.add(&seen("key_1", "/users/499", 200, 1, AT + 3_600_000)));
        let rows = pending.take();
        assert!(
            rows.iter().all(|row| &*row.endpoint != OTHER),
            "routes, other keys and the next hour are free: {rows:?}"
        );
    }

    #[test]
    fn beyond_the_bound_only_known_rows_grow() {
        let mut pending = Pending::default();
        pending.leave_room_for(MAX_ROWS - 2);
        assert!(pending.add(&seen("key_1", "/verify", 200, 1, AT)));
        assert!(pending.add(&seen("key_2", "/verify", 200, 1, AT)));
        assert!(!pending.add(&seen("key_3", "/verify", 200, 1, AT)));
        assert!(pending.add(&seen("key_2", "/verify", 200, 1, AT)));
        assert_eq!(pending.rows(), 2);
    }

    #[test]
    fn an_endpoint_is_written_down_only_as_far_as_it_is_harmless() {
        let long = format!("/{}", "é".repeat(150));
        for (sent, kept) in [
            ("/orders", "/orders"),
            ("GET /orders/{id}", "GET /orders/{id}"),
            ("/orders?api_key=sec_1", "/orders"),
            ("/orders#part", "/orders"),
            ("", OTHER),
            ("?x", OTHER),
            ("/a\nb", OTHER),
            ("/a\0b", OTHER),
            ("/login/sec_0001abc", OTHER),
            ("hk_live_abc", OTHER),
            ("/a_b", "/a_b"),
            (&long, &long[..199]),
        ] {
            assert_eq!(cleaned(sent), kept, "{sent:?}");
        }
    }

    #[test]
    fn an_id_is_read_as_the_json_that_it_is() {
        for (inside, id) in [
            ("key_1", "key_1"),
            (r#"a\u00e9\n\"b"#, "aé\n\"b"),
            (r"a\u0000", "a\u{fffd}"),
        ] {
            assert_eq!(unescaped(inside), id);
        }
    }
}
