//! Which lines of the log a page is shown, as which events, and how many of them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError, Weak, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use memchr::{memchr, memchr_iter, memmem};
use serde_json::value::RawValue;

use super::Line;

/// Events in a second.
const MOST_SENT: u32 = 20;
/// Lines in a second that are searched for one's own keys.
const MOST_SEARCHED: u32 = 2000;
const SECOND: Duration = Duration::from_secs(1);

/// What somebody may see.
#[derive(Clone)]
pub enum View {
    /// An operator: everything.
    All,
    /// What happens with these keys.
    Own(Arc<Mutex<HashSet<String>>>),
}

/// The events that are about a key, for whoever it belongs to.
const OF_KEYS: [&str; 2] = ["verification_success", "audit"];
/// What of them is told: not from where somebody else has changed a key, nor on which machine.
const TOLD: [&str; 14] = [
    "time",
    "level",
    "msg",
    "event",
    "key_id",
    "key_name",
    "code",
    "what",
    "when",
    "result",
    "endpoint",
    "client_ip",
    "user_agent",
    "request_id",
];

/// One page's look at the log.
pub struct Gaze {
    view: View,
    line: Weak<Line>,
    began: Instant,
    sent: u32,
    searched: u32,
}

impl Gaze {
    pub fn new(view: View, line: &Arc<Line>) -> Self {
        Self {
            view,
            line: Arc::downgrade(line),
            began: Instant::now(),
            sent: 0,
            searched: 0,
        }
    }

    /// Shows what it may of these lines. False once nobody watches.
    pub fn look(&mut self, lines: &[u8]) -> bool {
        let Some(line) = self.line.upgrade().filter(|line| !line.pieces.is_closed()) else {
            return false;
        };
        if self.began.elapsed() >= SECOND {
            (self.began, self.sent, self.searched) = (Instant::now(), 0, 0);
        }
        match self.view.clone() {
            View::All => self.show_all(&line, lines),
            View::Own(ids) => self.show_own(&line, &ids.lock().unwrap_or_else(PoisonError::into_inner), lines),
        }
        true
    }

    /// What is beyond the bound is only counted.
    fn show_all(&mut self, line: &Line, mut lines: &[u8]) {
        while self.sent < MOST_SENT
            && let Some((text, rest)) = first(lines)
        {
            if let Some(event) = word(text, EVENT) {
                self.send(line, event, text);
            }
            lines = rest;
        }
        line.skip(memchr_iter(b'\n', lines).count() as u64);
    }

    fn show_own(&mut self, line: &Line, own: &HashSet<String>, mut lines: &[u8]) {
        while let Some((text, rest)) = first(lines) {
            if self.searched >= MOST_SEARCHED {
                line.is_more.store(true, Relaxed);
                return;
            }
            self.searched += 1;
            lines = rest;
            let is_own = word(text, KEY_ID).is_some_and(|id| own.contains(id));
            let event = word(text, EVENT).filter(|event| OF_KEYS.contains(event));
            let Some(event) = event.filter(|_| is_own) else {
                continue;
            };
            if self.sent >= MOST_SENT {
                line.skip(1);
            } else if let Some(told) = told(text) {
                self.send(line, event, told.as_bytes());
            }
        }
    }

    fn send(&mut self, line: &Line, event: &str, data: &[u8]) {
        self.sent += 1;
        let kind = kind(event);
        let mut piece = Vec::with_capacity(data.len() + 32);
        for part in [b"event: ", kind.as_bytes(), b"\ndata: ", data, b"\n\n"] {
            piece.extend_from_slice(part);
        }
        if !line.send(piece) {
            line.skip(1);
        }
    }
}

const EVENT: &[u8] = b",\"event\":\"";
const KEY_ID: &[u8] = b",\"key_id\":\"";

/// The value of a member whose text has no escapes. In a string the quotation marks around the name would be escaped, so
/// what is found is the member.
fn word<'a>(line: &'a [u8], member: &[u8]) -> Option<&'a str> {
    let rest = &line[memmem::find(line, member)? + member.len()..];
    let end = memchr(b'"', rest)?;
    str::from_utf8(&rest[..end]).ok()
}

/// The first line, without its end, and what follows.
fn first(lines: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(b'\n', lines)?;
    Some((&lines[..end], &lines[end + 1..]))
}

fn told(line: &[u8]) -> Option<String> {
    let mut members: BTreeMap<&str, &RawValue> = serde_json::from_slice(line).ok()?;
    members.retain(|name, _| TOLD.contains(name));
    serde_json::to_string(&members).ok()
}

/// What a page listens to.
fn kind(event: &str) -> &'static str {
    match event {
        "verification_success" | "verification_failed" => "verify",
        "audit" => "change",
        "management" => "call",
        "keys_loaded" | "load_failed" | "poll_failed" | "poll_recovered" | "refresh_success" | "refresh_failed"
        | "refresh_rejected" | "snapshot_loaded" => "refresh",
        "login_success"
        | "login_failed"
        | "logout"
        | "token_refreshed"
        | "session_ended"
        | "account_registered"
        | "account_deleted"
        | "password_changed"
        | "dashboard_login"
        | "dashboard_login_failed"
        | "dashboard_logout" => "account",
        _ => "notice",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64};

    use tokio::sync::mpsc;

    use super::*;

    fn line() -> (Arc<Line>, mpsc::Receiver<bytes::Bytes>) {
        let (pieces, received) = mpsc::channel(64);
        let line = Line {
            pieces,
            skipped: AtomicU64::new(0),
            is_more: AtomicBool::new(false),
        };
        (Arc::new(line), received)
    }

    fn verify(key_id: &str) -> String {
        format!(
            "{{\"v\":0,\"hostname\":\"h\",\"time\":\"t\",\"event\":\"verification_success\",\"key_id\":\"{key_id}\",\
             \"user_agent\":\"x\\\",\\\"key_id\\\":\\\"own\"}}\n"
        )
    }

    fn received(from: &mut mpsc::Receiver<bytes::Bytes>) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(piece) = from.try_recv() {
            all.push(String::from_utf8(piece.to_vec()).unwrap());
        }
        all
    }

    fn own(ids: &[&str]) -> View {
        View::Own(Arc::new(Mutex::new(ids.iter().map(|id| (*id).to_owned()).collect())))
    }

    #[test]
    fn an_operator_sees_each_line_as_it_is_and_the_rest_of_a_flood_is_counted() {
        let (line, mut sent) = line();
        let mut gaze = Gaze::new(View::All, &line);
        assert!(gaze.look(verify("k").as_bytes()));
        let expected = format!("event: verify\ndata: {}\n", verify("k"));
        assert_eq!(received(&mut sent), [expected]);
        assert!(gaze.look(verify("k").repeat(100).as_bytes()));
        assert_eq!(received(&mut sent).len(), 19);
        assert_eq!(line.skipped.load(Relaxed), 81);
        line.tell_skipped();
        assert_eq!(
            received(&mut sent),
            ["event: skipped\ndata: {\"events\":81,\"exact\":true}\n\n"]
        );
    }

    #[test]
    fn an_owner_sees_their_own_keys_alone_whatever_a_header_says() {
        let (line, mut sent) = line();
        let mut gaze = Gaze::new(own(&["own"]), &line);
        let audit =
            "{\"hostname\":\"h\",\"event\":\"audit\",\"who\":\"key:op\",\"key_id\":\"own\",\"from\":\"10.0.0.1\"}\n";
        let lines = [
            &*verify("other"),
            &verify("own"),
            audit,
            "{\"a\":1,\"event\":\"startup\"}\n",
            "no json\n",
        ]
        .concat();
        gaze.look(lines.as_bytes());
        let sent = received(&mut sent);
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert!(sent[0].starts_with("event: verify\ndata: {\"event\""));
        assert_eq!(
            sent[1],
            "event: change\ndata: {\"event\":\"audit\",\"key_id\":\"own\"}\n\n"
        );
    }

    #[test]
    fn of_others_an_owner_learns_not_even_how_many_there_were() {
        let (line, mut sent) = line();
        let mut gaze = Gaze::new(own(&["own"]), &line);
        let lines = [verify("other").repeat(500), verify("own").repeat(30)].concat();
        gaze.look(lines.as_bytes());
        assert_eq!(received(&mut sent).len(), 20);
        assert_eq!(line.skipped.load(Relaxed), 10);
        gaze.look(verify("other").repeat(3000).as_bytes());
        line.tell_skipped();
        assert_eq!(
            received(&mut sent),
            ["event: skipped\ndata: {\"events\":10,\"exact\":false}\n\n"]
        );
    }

    #[test]
    fn nobody_is_shown_anything_once_the_watcher_or_the_page_has_gone() {
        let (first, sent) = line();
        let mut gaze = Gaze::new(View::All, &first);
        drop(sent);
        assert!(!gaze.look(verify("k").as_bytes()));
        let (second, _sent) = line();
        let mut gaze = Gaze::new(View::All, &second);
        drop(second);
        assert!(!gaze.look(verify("k").as_bytes()));
    }
}
