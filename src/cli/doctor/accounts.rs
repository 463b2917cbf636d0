//! Looks at what accounts need beside their stores: a key that signs tokens, strong and nobody else's, and hashes that do
//! not take too long.

use std::{
    collections::BTreeSet, fs, num::NonZero, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Instant,
};

use rand::{TryRng as _, rngs::SysRng};

use crate::{
    accounts::{
        Off,
        hasher::Hasher,
        key_file::{self, Form},
        password::Password,
    },
    cli::{args::Settings, output::shown},
    config::{DatabasePlace, GivenKeys, PrivateKey, SigningConfig},
    core::secret::Secret,
    durable,
};

use super::report::Report;

const NAME: &str = "accounts";
/// A text of 32 random hexadecimal digits has fewer once in many thousand times.
const LEAST_CHARACTERS: usize = 9;
/// Who logs in waits so long, and for those before.
const BEARABLE_MS: u128 = 1000;

pub async fn check(settings: &Settings, has_database: bool, report: &mut Report) {
    let lookup = |name: &str| settings.get(name);
    // A wrong setting has been named with the settings.
    let (Ok(place), Ok(signing)) = (DatabasePlace::from_lookup(&lookup), SigningConfig::from_lookup(&lookup)) else {
        return;
    };
    if matches!(place, DatabasePlace::Off) {
        return report.ok(NAME, Off::NoDatabase.sentence());
    }
    let is_usable = match &signing {
        SigningConfig::Missing => {
            let advice = "Where people are to log in, set SECRET_KEY to the same text on every instance: 'openssl rand -base64 48' prints one.";
            report.ok_but(NAME, Off::NoSigningKey.sentence(), advice);
            return;
        }
        SigningConfig::Own { path } => check_own(path, has_database, report),
        SigningConfig::Given(given) => check_given(given, has_database, report),
    };
    if is_usable {
        check_hash(report).await;
    }
}

/// Whether accounts work with it.
fn check_own(path: &Path, has_database: bool, report: &mut Report) -> bool {
    if path.exists() {
        return check_file(path, Form::Lines, has_database, report);
    }
    if durable::takes_new_file(path).is_err() {
        let message = format!("off: {} cannot be made, as its folder takes no new file", name(path));
        let advice = "Let the service's user write to the folder, or set SECRET_KEY or JWT_PRIVATE_KEY.";
        report.warn(NAME, message, advice);
        return false;
    }
    let message = format!("{} is made when the service starts", name(path));
    tell_on(&message, has_database, report);
    true
}

/// With what is signed, and whether anybody can log in.
fn tell_on(message: &str, has_database: bool, report: &mut Report) {
    if has_database {
        report.ok(NAME, format!("on; {message}"));
    } else {
        let message = format!("nobody logs in while the database cannot be used; {message}");
        report.warn(NAME, message, "Mend the database first.");
    }
}

fn check_given(given: &GivenKeys, has_database: bool, report: &mut Report) -> bool {
    let is_usable = match &given.private_key {
        Some(PrivateKey::File(path)) => check_file(path, Form::Pem, has_database, report),
        Some(PrivateKey::Pem(text)) => match key_file::parse(text.expose(), Form::Pem) {
            Ok(keys) => {
                let message = format!(
                    "tokens are signed by the first of {} keys in JWT_PRIVATE_KEY",
                    keys.len()
                );
                tell_on(&message, has_database, report);
                true
            }
            Err(error) => {
                report.fail(
                    NAME,
                    format!("JWT_PRIVATE_KEY {error}"),
                    "'heare-auth jwt rotate' makes one.",
                );
                false
            }
        },
        None => {
            tell_on("tokens are signed by SECRET_KEY", has_database, report);
            true
        }
    };
    for (variable, secret) in [
        ("SECRET_KEY", &given.secret_key),
        ("SECRET_KEY_PREVIOUS", &given.previous),
    ] {
        if secret.as_ref().is_some_and(is_weak) {
            let message = format!("{variable} has few different characters, and may be guessed");
            report.warn(
                "signing",
                message,
                "Replace it by what 'openssl rand -base64 48' prints; 'heare-auth jwt rotate' says how.",
            );
        }
    }
    is_usable
}

fn check_file(path: &Path, form: Form, has_database: bool, report: &mut Report) -> bool {
    match key_file::read(path, form) {
        Ok(keys) => {
            let message = format!(
                "tokens are signed by the first of {} keys in {}",
                keys.len(),
                name(path)
            );
            tell_on(&message, has_database, report);
        }
        Err(error) => {
            let advice = "The service does not start with it; restore the file, or move it away and make another by 'heare-auth jwt rotate --init': then everybody has to log in again.";
            report.fail(NAME, format!("{} {error}", name(path)), advice);
            return false;
        }
    }
    let mode = fs::metadata(path)
        .map(|found| found.permissions().mode() & 0o777)
        .unwrap_or_default();
    if mode & 0o077 != 0 {
        let message = format!("{} can be read or written by others (mode {mode:o})", name(path));
        report.warn(
            "signing",
            message,
            "Give it to the service alone: chmod 600. Whoever has read it can log in as anybody.",
        );
    }
    true
}

/// Hashes as a login makes them.
async fn check_hash(report: &mut Report) {
    const ADVICE: &str =
        "Each login takes that long at least; give the service a faster processor, or look what else runs here.";
    let fill = |bytes: &mut [u8]| SysRng.try_fill_bytes(bytes).is_ok();
    let Ok(hasher) = Hasher::start(NonZero::<usize>::MIN, fill, Arc::default()) else {
        return report.fail(
            "hash",
            "the system gives no random numbers or no threads",
            "Look at the limits of this machine.",
        );
    };
    let nothing = Password::presented("").expect("an empty text is not too long");
    // What else runs here may disturb one of them.
    let mut best = u128::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        // Nobody's hash costs what everybody's does.
        if let Err(error) = hasher.check(None, &nothing).await {
            return report.warn("hash", error.to_string(), ADVICE);
        }
        best = best.min(began.elapsed().as_millis());
    }
    if best <= BEARABLE_MS {
        report.ok("hash", format!("a password is hashed in {best} ms"));
    } else {
        let message = format!("a password is hashed in {best} ms, which is long");
        report.warn("hash", message, ADVICE);
    }
}

fn is_weak(secret: &Secret) -> bool {
    let different: BTreeSet<u8> = secret.expose().bytes().collect();
    different.len() < LEAST_CHARACTERS
}

fn name(path: &Path) -> String {
    shown(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_repeats_few_characters_is_weak() {
        for (text, expected) in [
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true),
            ("passwordpasswordpasswordpassword", true),
            ("0123456789abcdef0123456789abcdef", false),
            ("f7Kq2mZs9LxWc4Vb8Nt1Rj6Yp3Hd5Gg0", false),
        ] {
            assert_eq!(is_weak(&Secret::new(text.to_owned())), expected, "{text}");
        }
    }
}
