//! What a cookie of the dashboard says: who is logged in, until when, and by which token a page shows that it was served
//! here. It is sealed, and holds nothing by which anybody could get in elsewhere.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    accounts::{Accounts, UserId, sessions::SessionId},
    core::{
        secret::{Digest, Secret},
        time::Timestamp,
    },
    http::keys::Fill,
    seal::{OnlyOnce, Seal},
};

/// How long anybody stays logged in.
const LIFETIME_MS: i64 = 12 * 60 * 60 * 1000;

/// By what somebody is logged in. Whether that is still good is asked at each use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// What the index has the key under.
    Key(Digest),
    Person {
        user: UserId,
        session: SessionId,
    },
}

#[derive(Clone, Debug)]
pub struct Ticket {
    pub holder: Holder,
    /// What a page has to send with whatever changes something.
    pub csrf: Secret,
    pub expires_at: Timestamp,
}

/// Makes tickets, and reads them back.
pub struct Tickets {
    sealer: Sealer,
    fill: Fill,
}

enum Sealer {
    /// By the keys that sign tokens, which are rotated with them and shared by all instances.
    Accounts(Accounts),
    Own(Seal),
}

/// As it stands inside the seal.
#[derive(Serialize, Deserialize)]
struct Written<'a> {
    #[serde(rename = "k", skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(rename = "u", skip_serializing_if = "Option::is_none")]
    user: Option<i64>,
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(rename = "c", borrow)]
    csrf: &'a str,
    #[serde(rename = "e")]
    expires_at: i64,
}

impl Tickets {
    /// Without accounts and without a storage secret the key is `random`, and only this process reads its tickets.
    pub fn new(accounts: Option<&Accounts>, storage_secret: Option<&Secret>, random: [u8; 32], fill: Fill) -> Self {
        let own = |secret: &[u8]| Sealer::Own(Seal::derived(secret, "cookies"));
        let sealer = match (accounts, storage_secret) {
            (Some(accounts), _) => Sealer::Accounts(accounts.clone()),
            (None, Some(secret)) => own(secret.expose().as_bytes()),
            (None, None) => own(Zeroizing::new(random).as_slice()),
        };
        Self { sealer, fill }
    }

    /// The ticket and its sealed text. Good until what it stands for ends, and no longer than its own lifetime. `None`
    /// while the system gives no random numbers.
    pub fn issue(&self, holder: Holder, ends: Option<Timestamp>, now: Timestamp) -> Option<(Ticket, String)> {
        let (mut once, mut csrf) = (OnlyOnce::default(), Zeroizing::new([0; 16]));
        let had_random = (self.fill)(&mut once) && (self.fill)(&mut *csrf);
        let lifetime = now.as_millis() + LIFETIME_MS;
        let ticket = Ticket {
            holder,
            csrf: Secret::new(URL_SAFE_NO_PAD.encode(*csrf)),
            expires_at: Timestamp::from_millis(ends.map_or(lifetime, |ends| ends.as_millis().min(lifetime))),
        };
        let text = Zeroizing::new(ticket.written());
        let sealed = match &self.sealer {
            Sealer::Accounts(accounts) => accounts.seal(once, text.as_bytes()),
            Sealer::Own(seal) => seal.seal(once, text.as_bytes()),
        };
        had_random.then_some((ticket, sealed))
    }

    /// `None` for what was not made here, and for what is over.
    pub fn read(&self, sealed: &str, now: Timestamp) -> Option<Ticket> {
        let text = match &self.sealer {
            Sealer::Accounts(accounts) => accounts.unseal(sealed),
            Sealer::Own(seal) => seal.open(sealed),
        };
        Ticket::read(&text?).filter(|ticket| now < ticket.expires_at)
    }
}

impl Ticket {
    fn written(&self) -> String {
        let (key, user, session) = match &self.holder {
            Holder::Key(digest) => (Some(digest.to_string()), None, None),
            Holder::Person { user, session } => (None, Some(user.0), Some(session.to_string())),
        };
        let written = Written {
            key,
            user,
            session,
            csrf: self.csrf.expose(),
            expires_at: self.expires_at.as_millis(),
        };
        serde_json::to_string(&written).expect("texts and numbers are always JSON")
    }

    fn read(text: &[u8]) -> Option<Self> {
        let written: Written<'_> = serde_json::from_slice(text).ok()?;
        let holder = match (written.key, written.user, written.session) {
            (Some(digest), None, None) => Holder::Key(digest.parse().ok()?),
            (None, Some(user), Some(session)) => Holder::Person {
                user: UserId(user),
                session: SessionId::parse(&session)?,
            },
            _ => return None,
        };
        Some(Self {
            holder,
            csrf: Secret::new(written.csrf),
            expires_at: Timestamp::from_millis(written.expires_at),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const END: Timestamp = Timestamp::from_millis(NOW.as_millis() + LIFETIME_MS);

    fn fill(bytes: &mut [u8]) -> bool {
        bytes.fill(3);
        true
    }

    fn tickets(secret: Option<&str>, random: u8) -> Tickets {
        Tickets::new(None, secret.map(Secret::new).as_ref(), [random; 32], fill)
    }

    fn person() -> Holder {
        Holder::Person {
            user: UserId(17),
            session: SessionId::new([5; 16]),
        }
    }

    #[test]
    fn a_ticket_is_read_back_and_says_nothing_to_anybody_else() {
        let tickets = tickets(None, 1);
        for holder in [person(), Holder::Key(Digest::of("sec_1"))] {
            let (ticket, sealed) = tickets.issue(holder.clone(), None, NOW).unwrap();
            let read = tickets.read(&sealed, NOW).unwrap();
            assert_eq!((read.holder, read.expires_at), (holder, END));
            assert_eq!(read.csrf.expose(), ticket.csrf.expose());
            assert!(!sealed.contains("sha256") && !sealed.contains("ses_"));
        }
    }

    #[test]
    fn a_ticket_ends_with_what_it_stands_for_and_after_twelve_hours_at_the_latest() {
        let at = |millis| Timestamp::from_millis(NOW.as_millis() + millis);
        let tickets = tickets(None, 1);
        for (ends, expected) in [
            (None, END),
            (Some(at(5000)), at(5000)),
            (Some(at(LIFETIME_MS + 1)), END),
        ] {
            let (ticket, sealed) = tickets.issue(person(), ends, NOW).unwrap();
            assert_eq!(ticket.expires_at, expected);
            let before = Timestamp::from_millis(expected.as_millis() - 1);
            assert!(tickets.read(&sealed, before).is_some() && tickets.read(&sealed, expected).is_none());
        }
    }

    #[test]
    fn instances_with_one_storage_secret_read_each_others_tickets_and_others_do_not() {
        let (_, sealed) = tickets(Some("shared"), 1).issue(person(), None, NOW).unwrap();
        assert!(tickets(Some("shared"), 2).read(&sealed, NOW).is_some());
        assert!(tickets(Some("another"), 1).read(&sealed, NOW).is_none());
        let (_, sealed) = tickets(None, 1).issue(person(), None, NOW).unwrap();
        assert!(tickets(None, 2).read(&sealed, NOW).is_none());
    }

    #[test]
    fn no_ticket_is_made_without_random_numbers() {
        let tickets = Tickets::new(None, None, [1; 32], |_| false);
        assert!(tickets.issue(person(), None, NOW).is_none());
    }

    #[test]
    fn what_names_both_a_key_and_a_person_is_no_ticket() {
        for text in [
            r#"{"c":"x","e":1}"#,
            r#"{"k":"sha256:0","c":"x","e":1}"#,
            r#"{"u":1,"c":"x","e":1}"#,
            r#"{"u":1,"s":"other","c":"x","e":1}"#,
        ] {
            assert!(Ticket::read(text.as_bytes()).is_none(), "{text}");
        }
    }
}
