//! What can be wrong with a record, each with its word.

/// Why a record is no key. Its holder is denied; the log names it by id and by this word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Defect {
    NotAnObject,
    BadId,
    BadName,
    NoSecret,
    BadSecret,
    BadDigest,
    SecretAndDigestDiffer,
    NoKeyPrefix,
    UnknownSecretType,
    BadExpiry,
    BadRevocation,
    BadMetadata,
    BadUserId,
    BadEnvironment,
    BadKeyPrefix,
    BadLimits,
    BadAllowedIps,
    BadScopes,
    BadPrevious,
    DuplicateId,
    DuplicateSecret,
    SharedPrefix,
}

impl Defect {
    pub const ALL: [Self; 22] = [
        Self::NotAnObject,
        Self::BadId,
        Self::BadName,
        Self::NoSecret,
        Self::BadSecret,
        Self::BadDigest,
        Self::SecretAndDigestDiffer,
        Self::NoKeyPrefix,
        Self::UnknownSecretType,
        Self::BadExpiry,
        Self::BadRevocation,
        Self::BadMetadata,
        Self::BadUserId,
        Self::BadEnvironment,
        Self::BadKeyPrefix,
        Self::BadLimits,
        Self::BadAllowedIps,
        Self::BadScopes,
        Self::BadPrevious,
        Self::DuplicateId,
        Self::DuplicateSecret,
        Self::SharedPrefix,
    ];

    /// The word in the log, such as `bad_expiry`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotAnObject => "not_an_object",
            Self::BadId => "bad_id",
            Self::BadName => "bad_name",
            Self::NoSecret => "no_secret",
            Self::BadSecret => "bad_secret",
            Self::BadDigest => "bad_digest",
            Self::SecretAndDigestDiffer => "secret_and_digest_differ",
            Self::NoKeyPrefix => "no_key_prefix",
            Self::UnknownSecretType => "unknown_secret_type",
            Self::BadExpiry => "bad_expiry",
            Self::BadRevocation => "bad_revocation",
            Self::BadMetadata => "bad_metadata",
            Self::BadUserId => "bad_user_id",
            Self::BadEnvironment => "bad_environment",
            Self::BadKeyPrefix => "bad_key_prefix",
            Self::BadLimits => "bad_limits",
            Self::BadAllowedIps => "bad_allowed_ips",
            Self::BadScopes => "bad_scopes",
            Self::BadPrevious => "bad_previous",
            Self::DuplicateId => "duplicate_id",
            Self::DuplicateSecret => "duplicate_secret",
            Self::SharedPrefix => "shared_prefix",
        }
    }
}
