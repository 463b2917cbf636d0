//! What signs the tokens of accounts, and for how long they are good.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{ConfigError, DEFAULT_DATA_DIR, DatabasePlace, Lookup, Setting, Values, parse, settings::setting, wrong};
use crate::core::secret::Secret;

/// HMAC-SHA256 is as strong as its key up to this length, and RFC 7518 asks for no less.
pub const MIN_SECRET_BYTES: usize = 32;
/// Issuer and audience stand in every token, which has a length of its own to keep.
const MAX_NAME_BYTES: usize = 200;
const SECOND: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(24 * 3650);
const TOKEN_TTL: Duration = Duration::from_hours(24);
const REFRESH_TTL: Duration = Duration::from_hours(24 * 30);
const DEFAULT_NAME: &str = "heare-auth";
const SECRET_FILE: &str = "jwt-secret";

pub(super) const SETTINGS: [Setting; 7] = [
    setting(
        "SECRET_KEY",
        "",
        "signs the tokens of accounts (HS256), 32 bytes or more; without it and JWT_PRIVATE_KEY $DATA_DIR/jwt-secret",
    ),
    setting(
        "SECRET_KEY_PREVIOUS",
        "",
        "the SECRET_KEY before this one: what it signed is good until it expires",
    ),
    setting(
        "JWT_PRIVATE_KEY",
        "",
        "signs tokens by EdDSA instead: Ed25519 keys in PEM form, or a file of them; the first signs, all verify",
    ),
    setting("TOKEN_TTL", "24h", "how long an access token is good"),
    setting("REFRESH_TTL", "30days", "how long a session lasts without being used"),
    setting("JWT_ISSUER", DEFAULT_NAME, "the iss of tokens"),
    setting("JWT_AUDIENCE", DEFAULT_NAME, "the aud of tokens"),
];

/// What making and checking tokens needs.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    pub signing: SigningConfig,
    pub issuer: String,
    pub audience: String,
    pub token_ttl: Duration,
    pub refresh_ttl: Duration,
}

#[derive(Clone, Debug)]
pub enum SigningConfig {
    /// Nothing is named, and there is no local file in which a key of our own could be kept.
    Missing,
    /// A secret of our own, made once in this file.
    Own {
        path: PathBuf,
    },
    Given(GivenKeys),
}

/// At least one of the first two is there. Where both are, the private key signs.
#[derive(Clone, Debug)]
pub struct GivenKeys {
    pub private_key: Option<PrivateKey>,
    pub secret_key: Option<Secret>,
    pub previous: Option<Secret>,
}

#[derive(Clone, Debug)]
pub enum PrivateKey {
    Pem(Secret),
    File(PathBuf),
}

impl TokenConfig {
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let values = Values(lookup);
        let name = |variable| {
            let name = values.read(variable, name, "a name of at most 200 bytes without control characters")?;
            Ok(name.unwrap_or_else(|| DEFAULT_NAME.to_owned()))
        };
        let token_ttl = token_ttl(lookup)?;
        let refresh_ttl = ttl(&values, "REFRESH_TTL", REFRESH_TTL.max(token_ttl))?;
        if refresh_ttl < token_ttl {
            return Err(wrong("REFRESH_TTL", "must not be shorter than TOKEN_TTL"));
        }
        Ok(Self {
            signing: SigningConfig::from_lookup(lookup)?,
            issuer: name("JWT_ISSUER")?,
            audience: name("JWT_AUDIENCE")?,
            token_ttl,
            refresh_ttl,
        })
    }
}

/// For the server and for the command that drops keys when no token of theirs can be good any more.
pub fn token_ttl(lookup: Lookup<'_>) -> Result<Duration, ConfigError> {
    ttl(&Values(lookup), "TOKEN_TTL", TOKEN_TTL)
}

impl SigningConfig {
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let values = Values(lookup);
        let given = GivenKeys {
            private_key: private_key(&values)?,
            secret_key: secret(&values, "SECRET_KEY")?,
            previous: secret(&values, "SECRET_KEY_PREVIOUS")?,
        };
        if given.private_key.is_some() || given.secret_key.is_some() {
            return Ok(Self::Given(given));
        }
        if given.previous.is_some() {
            return Err(wrong(
                "SECRET_KEY_PREVIOUS",
                "needs SECRET_KEY or JWT_PRIVATE_KEY beside it, as it signs nothing",
            ));
        }
        Ok(match DatabasePlace::from_lookup(lookup)? {
            DatabasePlace::Sqlite { .. } => Self::Own {
                path: Path::new(&values.get_or("DATA_DIR", DEFAULT_DATA_DIR)).join(SECRET_FILE),
            },
            DatabasePlace::Postgres { .. } | DatabasePlace::Off => Self::Missing,
        })
    }
}

/// As it stands, white space and all, as other programs take it.
fn secret(values: &Values<'_>, variable: &'static str) -> Result<Option<Secret>, ConfigError> {
    let Some(text) = values.get(variable).map(Secret::new) else {
        return Ok(None);
    };
    if text.expose().len() < MIN_SECRET_BYTES {
        let problem = "must be 32 bytes or more, and random: such as 'openssl rand -base64 48' prints";
        return Err(wrong(variable, problem));
    }
    Ok(Some(text))
}

fn private_key(values: &Values<'_>) -> Result<Option<PrivateKey>, ConfigError> {
    const VARIABLE: &str = "JWT_PRIVATE_KEY";
    let Some(text) = values.get(VARIABLE).map(Secret::new) else {
        return Ok(None);
    };
    if !text.expose().contains("-----BEGIN") {
        let path = text.expose().trim();
        let is_path = !path.is_empty() && !path.contains(['\n', '\0']);
        let problem = "must be Ed25519 private keys in PEM form, or the path of a file of them";
        return is_path
            .then(|| Some(PrivateKey::File(path.into())))
            .ok_or_else(|| wrong(VARIABLE, problem));
    }
    // Where a variable cannot have several lines, they are written with the two characters \n.
    let is_one_line = !text.expose().trim().contains('\n');
    Ok(Some(PrivateKey::Pem(if is_one_line {
        Secret::new(text.expose().replace("\\n", "\n"))
    } else {
        text
    })))
}

/// Tokens tell time in whole seconds.
fn ttl(values: &Values<'_>, variable: &'static str, default: Duration) -> Result<Duration, ConfigError> {
    let parse = |text: &str| parse::duration(text, SECOND).filter(|ttl| *ttl <= LONGEST && ttl.subsec_nanos() == 0);
    let ttl = values.read(
        variable,
        parse,
        "a duration of whole seconds from 1s to 3650days, such as 24h",
    )?;
    Ok(ttl.unwrap_or(default))
}

fn name(text: &str) -> Option<String> {
    let is_name = text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control);
    (is_name && !text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "0123456789abcdef0123456789abcdef";

    fn read(pairs: &[(&str, &str)]) -> Result<TokenConfig, ConfigError> {
        TokenConfig::from_lookup(&|name| {
            let found = pairs.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_weak_secret_stops_the_start_with_the_variables_name_and_without_the_secret() {
        for variable in ["SECRET_KEY", "SECRET_KEY_PREVIOUS"] {
            let weak = "your-secret-key-here";
            let error = read(&[(variable, weak), ("SECRET_KEY", GOOD)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{variable} must be 32 bytes")), "{error}");
            assert!(!error.contains(weak), "{error}");
        }
        assert!(read(&[("SECRET_KEY", &GOOD[1..])]).is_err());
        assert!(read(&[("SECRET_KEY", GOOD)]).is_ok());
    }

    #[test]
    fn a_key_of_our_own_is_kept_beside_a_local_database_only() {
        let own = |pairs: &[(&str, &str)]| match read(pairs).unwrap().signing {
            SigningConfig::Own { path } => Some(path),
            _ => None,
        };
        assert_eq!(own(&[("DATA_DIR", "/data")]), Some("/data/jwt-secret".into()));
        assert_eq!(own(&[("DATABASE_URL", "postgres://db/auth")]), None);
        assert_eq!(own(&[("DATABASE_URL", "off")]), None);
        assert_eq!(own(&[("SECRET_KEY", GOOD)]), None);
        assert_eq!(own(&[("JWT_PRIVATE_KEY", "/keys.pem")]), None);
    }

    #[test]
    fn a_previous_secret_alone_is_refused() {
        let error = read(&[("SECRET_KEY_PREVIOUS", GOOD)]).unwrap_err();
        assert_eq!(error.variable, "SECRET_KEY_PREVIOUS");
    }

    #[test]
    fn a_private_key_is_a_path_or_pem_text_on_one_line_or_several() {
        let key = |value: &str| match read(&[("JWT_PRIVATE_KEY", value)]).unwrap().signing {
            SigningConfig::Given(given) => given.private_key.unwrap(),
            _ => panic!("a key is given"),
        };
        assert!(matches!(key(" /etc/keys.pem "), PrivateKey::File(path) if path == Path::new("/etc/keys.pem")));
        for text in [
            "-----BEGIN X-----\nAA\n-----END X-----\n",
            r"-----BEGIN X-----\nAA\n-----END X-----\n",
        ] {
            let PrivateKey::Pem(pem) = key(text) else {
                panic!("it is PEM");
            };
            assert_eq!(pem.expose(), "-----BEGIN X-----\nAA\n-----END X-----\n");
        }
        assert!(read(&[("JWT_PRIVATE_KEY", "AAAA\nBBBB")]).is_err());
    }

    #[test]
    fn times_are_whole_seconds_and_a_session_outlives_its_token() {
        let plain = read(&[]).unwrap();
        assert_eq!((plain.token_ttl, plain.refresh_ttl), (TOKEN_TTL, REFRESH_TTL));
        for (variable, value) in [
            ("TOKEN_TTL", "0s"),
            ("TOKEN_TTL", "500ms"),
            ("TOKEN_TTL", "1s 5ms"),
            ("TOKEN_TTL", "3651days"),
            ("REFRESH_TTL", "23h"),
        ] {
            assert_eq!(read(&[(variable, value)]).unwrap_err().variable, variable, "{value}");
        }
        let long = read(&[("TOKEN_TTL", "60days")]).unwrap();
        assert_eq!(long.refresh_ttl, long.token_ttl);
    }
}
