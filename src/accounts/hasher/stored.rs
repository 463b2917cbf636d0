//! A password hash as the database has it: which kinds are understood, how a password is held against each, and which of
//! them are weaker than those that are made now.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};

use super::pool::Memory;
use crate::{accounts::password::Password, core::imported::BcryptHash};

/// What a new hash costs: 19 MiB and two passes, which OWASP holds to be enough.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What a stored hash may cost. More would hold up everybody behind it, or take the memory of the whole service.
const MOST_MEMORY_KIB: u32 = 64 * 1024;
const MOST_PASSES: u32 = 10;
const MOST_LANES: u32 = 8;

/// bcrypt looks at so much of a password and passes over the rest in silence, and so did the system that made the hash.
const BCRYPT_BYTES: usize = 72;

/// A hash that a password can be checked against at a bearable cost.
pub enum StoredHash<'a> {
    Argon2 {
        argon2: Box<Argon2<'static>>,
        salt: Salt,
        output: Output,
        is_old: bool,
    },
    Bcrypt(&'a str),
}

impl<'a> StoredHash<'a> {
    /// Takes PHC strings of Argon2 in all its kinds and versions, and bcrypt's `$2a$`, `$2b$` and `$2y$`.
    pub fn parse(text: &'a str) -> Option<Self> {
        if BcryptHash::parse(text).is_some() {
            return Some(Self::Bcrypt(text));
        }
        let hash = PasswordHash::new(text).ok()?;
        let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
        let version = hash.version.map_or(Ok(Version::V0x10), Version::try_from).ok()?;
        let params = Params::try_from(&hash).ok()?;
        let (salt, output) = (hash.salt?, hash.hash?);
        // A hash with a key that is kept elsewhere cannot be checked here.
        let is_bearable = params.keyid().is_empty()
            && params.m_cost() <= MOST_MEMORY_KIB
            && params.t_cost() <= MOST_PASSES
            && params.p_cost() <= MOST_LANES;
        is_bearable.then(|| Self::Argon2 {
            is_old: is_weaker(algorithm, version, &params) || output.len() < super::OUTPUT_BYTES,
            argon2: Box::new(Argon2::new(algorithm, version, params)),
            salt,
            output,
        })
    }

    /// Takes long, by design.
    pub fn matches(&self, password: &Password, memory: &mut Memory) -> bool {
        match self {
            Self::Argon2 {
                argon2, salt, output, ..
            } => {
                let text = password.to_hash();
                let mut found = [0; Output::MAX_LENGTH];
                let found = &mut found[..output.len()];
                let hashed = memory.hash(argon2, text.expose().as_bytes(), salt, found);
                // Outputs compare in constant time.
                hashed.is_ok() && Output::new(found).is_ok_and(|found| found == *output)
            }
            Self::Bcrypt(text) => {
                let presented = password.as_presented().as_bytes();
                let looked_at = &presented[..presented.len().min(BCRYPT_BYTES)];
                bcrypt::verify(looked_at, text).unwrap_or(false)
            }
        }
    }

    /// Whether a hash that is made now would be stronger.
    pub const fn is_old(&self) -> bool {
        match self {
            Self::Argon2 { is_old, .. } => *is_old,
            Self::Bcrypt(_) => true,
        }
    }
}

/// Memory and passes weigh alike: OWASP's other choices, with more memory and one pass, are as good.
fn is_weaker(algorithm: Algorithm, version: Version, params: &Params) -> bool {
    let cost = |memory: u32, passes: u32| u64::from(memory) * u64::from(passes);
    algorithm != Algorithm::Argon2id
        || version != Version::V0x13
        || cost(params.m_cost(), params.t_cost()) < cost(MEMORY_KIB, PASSES)
}

/// As new hashes are made.
pub fn argon2id() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params())
}

/// A new hash as it is stored.
pub fn phc_string(salt: &[u8; super::SALT_BYTES], output: &[u8; super::OUTPUT_BYTES]) -> String {
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params()).expect("three short numbers have room"),
        salt: Some(Salt::new(salt).expect("16 bytes are a salt")),
        hash: Some(Output::new(output).expect("32 bytes are an output")),
    };
    hash.to_string()
}

fn params() -> Params {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(super::OUTPUT_BYTES));
    params.expect("the terms are within Argon2's own bounds")
}
