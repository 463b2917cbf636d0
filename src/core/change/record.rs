//! The record of a new key, as it is written.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::core::{
    document::json_of,
    key::SecretType,
    secret::Digest,
    terms::{Burst, Environment, Networks, RateLimit, Scopes, Windows},
    time::Timestamp,
};

/// Everything that is known of a new key. What is `None` or empty is not written, but for the members that every key has.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub id: String,
    pub digest: Digest,
    pub name: String,
    pub secret_type: SecretType,
    /// As the operator gave it, already found to be a date.
    pub expires_at: Option<String>,
    /// A JSON object, kept to the letter.
    pub metadata: Box<RawValue>,
    pub created_at: Timestamp,
    /// `None` for an operator's key.
    pub user_id: Option<String>,
    /// `None` for a key whose secret begins with `sec_`.
    pub environment: Option<Environment>,
    /// The beginning of the secret that may be shown.
    pub key_prefix: Option<String>,
    pub rate_limit_per_hour: Option<RateLimit>,
    pub burst: Option<Burst>,
    pub limits: Windows,
    pub allowed_ips: Networks,
    pub scopes: Scopes,
}

#[derive(Serialize)]
struct Empty {}

/// A record's members in the order in which the Python service wrote them, then those it did not know.
#[derive(Serialize)]
struct NewRecord<'a> {
    id: &'a str,
    secret_hash: String,
    name: &'a str,
    secret_type: &'static str,
    created_at: String,
    updated_at: Option<String>,
    expires_at: Option<&'a str>,
    metadata: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<Environment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_prefix: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit_per_hour: Option<RateLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<Burst>,
    #[serde(skip_serializing_if = "Windows::is_empty")]
    limits: &'a Windows,
    #[serde(skip_serializing_if = "Networks::is_empty")]
    allowed_ips: &'a Networks,
    #[serde(skip_serializing_if = "Scopes::is_empty")]
    scopes: &'a Scopes,
}

impl NewKey {
    /// An operator's key without expiry, metadata, scopes and limits.
    pub fn new(id: String, digest: Digest, name: String, created_at: Timestamp) -> Self {
        Self {
            id,
            digest,
            name,
            secret_type: SecretType::default(),
            expires_at: None,
            metadata: json_of(&Empty {}),
            created_at,
            user_id: None,
            environment: None,
            key_prefix: None,
            rate_limit_per_hour: None,
            burst: None,
            limits: Windows::default(),
            allowed_ips: Networks::default(),
            scopes: Scopes::default(),
        }
    }

    pub fn to_record(&self) -> Box<RawValue> {
        json_of(&NewRecord {
            id: &self.id,
            secret_hash: self.digest.to_string(),
            name: &self.name,
            secret_type: self.secret_type.word(),
            created_at: self.created_at.to_string(),
            updated_at: None,
            expires_at: self.expires_at.as_deref(),
            metadata: &self.metadata,
            user_id: self.user_id.as_deref(),
            environment: self.environment,
            key_prefix: self.key_prefix.as_deref(),
            rate_limit_per_hour: self.rate_limit_per_hour,
            burst: self.burst,
            limits: &self.limits,
            allowed_ips: &self.allowed_ips,
            scopes: &self.scopes,
        })
    }
}
