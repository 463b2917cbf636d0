//! Hashes are made, checked, aged and bounded.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::*;
use crate::{accounts::login_name::LoginName, config::PasswordPolicy};

/// Fills a buffer with what no other call has filled one with.
fn counted(bytes: &mut [u8]) -> bool {
    static CALLS: AtomicU8 = AtomicU8::new(0);
    bytes.fill(CALLS.fetch_add(1, Relaxed));
    true
}

fn hasher() -> Hasher {
    let threads = NonZero::new(2).unwrap();
    Hasher::start(threads, counted, Arc::default()).unwrap()
}

fn new_password(text: &str) -> NewPassword {
    let policy = PasswordPolicy {
        min_length: 8,
        composition: false,
    };
    NewPassword::parse(policy, &LoginName::parse("user").unwrap(), text).unwrap()
}

fn password(text: &str) -> Password {
    Password::presented(text).unwrap()
}

async fn outcome(hasher: &Hasher, stored: &str, presented: &str) -> Outcome {
    hasher.check(Some(stored), &password(presented)).await.unwrap()
}

#[tokio::test]
async fn a_password_is_right_for_its_own_hash_alone() {
    let hasher = hasher();
    let hash = hasher.hash(&new_password("securepassword123")).await.unwrap();
    assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash:?}");
    assert_eq!(
        outcome(&hasher, hash.as_str(), "securepassword123").await,
        Outcome::Right
    );
    for wrong in ["", "securepassword124", "Securepassword123", "securepassword123 "] {
        assert_eq!(
            outcome(&hasher, hash.as_str(), wrong).await,
            Outcome::Wrong,
            "{wrong:?}"
        );
    }
    let other = hasher.hash(&new_password("securepassword123")).await.unwrap();
    assert_ne!(hash, other, "each has a salt of its own");
}

#[tokio::test]
async fn no_password_is_right_where_there_is_no_user() {
    let hasher = hasher();
    for presented in ["", "securepassword123"] {
        let found = hasher.check(None, &password(presented)).await;
        assert_eq!(found, Ok(Outcome::Wrong));
    }
}

#[tokio::test]
async fn a_password_is_the_same_however_its_letters_were_composed() {
    let hasher = hasher();
    let hash = hasher.hash(&new_password("Zo\u{eb}s Geheimnis")).await.unwrap();
    let typed = "Zoe\u{308}s\u{a0}Geheimnis";
    assert_eq!(outcome(&hasher, hash.as_str(), typed).await, Outcome::Right);
}

/// From the tests of the reference implementation, and of bcrypt's in C.
#[tokio::test]
async fn hashes_of_other_systems_are_checked_and_to_be_made_anew() {
    let hasher = hasher();
    let u72 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    for (stored, right) in [
        (
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "password",
        ),
        (
            "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
            "password",
        ),
        (
            "$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
            "password",
        ),
        ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
        ("$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
        ("$2y$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "U*U*"),
        ("$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui", u72),
    ] {
        assert_eq!(outcome(&hasher, stored, right).await, Outcome::RightButOld, "{stored}");
        assert_eq!(
            outcome(&hasher, stored, "another one").await,
            Outcome::Wrong,
            "{stored}"
        );
    }
}

#[tokio::test]
async fn a_hash_as_strong_as_a_new_one_stays() {
    let hasher = hasher();
    let stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    assert_eq!(outcome(&hasher, stored, "password").await, Outcome::Right);
}

#[tokio::test]
async fn bcrypt_looks_at_72_bytes_as_it_did_in_the_old_system() {
    let hasher = hasher();
    let stored = "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui";
    let u72 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let longer = format!("{u72}chars after 72 are ignored");
    assert_eq!(outcome(&hasher, stored, &longer).await, Outcome::RightButOld);
    assert_eq!(outcome(&hasher, stored, &u72[..71]).await, Outcome::Wrong);
    // The 72nd byte is the first of two that make one character, and the bytes are what counts.
    let cut = format!("{}é", "x".repeat(71));
    let stored = bcrypt::hash_with_salt(cut.as_bytes(), 4, [1; 16]).unwrap().to_string();
    let other_end = format!("{}è", "x".repeat(71));
    assert_eq!(outcome(&hasher, &stored, &other_end).await, Outcome::RightButOld);
    // And they are taken as they were sent, in whatever form of Unicode.
    let stored = bcrypt::hash_with_salt("Zoe\u{308}", 4, [1; 16]).unwrap().to_string();
    assert_eq!(outcome(&hasher, &stored, "Zoe\u{308}").await, Outcome::RightButOld);
    assert_eq!(outcome(&hasher, &stored, "Zo\u{eb}").await, Outcome::Wrong);
}

#[tokio::test]
async fn a_hash_that_is_malformed_or_asks_for_too_much_matches_nothing_and_harms_nobody() {
    let hasher = hasher();
    let output = "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    for stored in [
        String::new(),
        "password".to_owned(),
        "$argon2id$".to_owned(),
        "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ".to_owned(),
        format!("$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ${output}"),
        format!("$argon2id$v=19$m=4294967295,t=4294967295,p=16777215$c29tZXNhbHQ${output}"),
        format!("$argon2id$v=19$m=19456,t=1000000,p=1$c29tZXNhbHQ${output}"),
        format!("$argon2id$v=19$m=19456,t=2,p=255$c29tZXNhbHQ${output}"),
        format!("$argon2id$v=19$m=1,t=1,p=1$c29tZXNhbHQ${output}"),
        format!("$argon2id$v=20$m=19456,t=2,p=1$c29tZXNhbHQ${output}"),
        format!("$argon2id$v=19$m=19456,t=2,p=1,keyid=AAAA$c29tZXNhbHQ${output}"),
        format!("$scrypt$ln=15,r=8,p=1$c29tZXNhbHQ${output}"),
        "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
        "$2b$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
        "$2b$05$CCCCCCCC".to_owned(),
    ] {
        assert!(!is_usable(&stored), "{stored}");
        assert_eq!(outcome(&hasher, &stored, "password").await, Outcome::Wrong, "{stored}");
    }
}

/// Section 5.3 of RFC 9106. A key and associated data are no part of a password hash, so the terms are made here; the
/// computing, in memory that is used again, is the hasher's own.
#[test]
fn argon2id_computes_what_its_rfc_says() {
    use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
    let mut terms = ParamsBuilder::new();
    terms.m_cost(32).t_cost(3).p_cost(4).output_len(32);
    terms.data(AssociatedData::new(&[4; 12]).unwrap());
    let terms = terms.build().unwrap();
    let argon2 = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, terms).unwrap();
    let expected = [
        0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b, 0x53, 0xc9, 0xd0, 0x1e,
        0xf0, 0x45, 0x2d, 0x75, 0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9, 0x6b, 0x01, 0xe6, 0x59,
    ];
    let mut memory = Memory::default();
    for _ in 0..2 {
        let mut output = [0; 32];
        memory.hash(&argon2, &[1; 32], &[2; 16], &mut output).unwrap();
        assert_eq!(output, expected);
        // What another hash leaves behind makes no difference.
        memory.hash(&argon2, &[9; 32], &[9; 16], &mut [0; 32]).unwrap();
    }
}

#[tokio::test]
async fn without_random_numbers_nothing_is_hashed() {
    let threads = NonZero::<usize>::MIN;
    assert!(Hasher::start(threads, |_| false, Arc::default()).is_err());
    let mut hasher = hasher();
    hasher.fill = |_| false;
    let answer = hasher.hash(&new_password("securepassword123")).await;
    assert_eq!(answer, Err(HasherError::NoRandomness));
}

#[tokio::test]
async fn each_hash_is_counted_once() {
    let hasher = hasher();
    let hash = hasher.hash(&new_password("securepassword123")).await.unwrap();
    outcome(&hasher, hash.as_str(), "wrong").await;
    outcome(&hasher, "no hash at all", "wrong").await;
    let counted = hasher.metrics.take();
    assert_eq!(counted.counters["accounts.hash_duration_count"], 3);
}

#[tokio::test]
async fn an_unknown_user_costs_the_same_hash_as_a_wrong_password() {
    let hasher = hasher();
    let hash = hasher.hash(&new_password("securepassword123")).await.unwrap();
    let terms = |hash: &str| hash.rsplitn(3, '$').nth(2).map(str::to_owned);
    assert_eq!(terms(&hasher.nobodys), terms(hash.as_str()));
    hasher.metrics.take();
    for stored in [Some(hash.as_str()), None] {
        assert_eq!(hasher.check(stored, &password("wrong")).await, Ok(Outcome::Wrong));
        let counted = hasher.metrics.take();
        assert_eq!(counted.counters["accounts.hash_duration_count"], 1);
    }
}
