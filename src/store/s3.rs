//! The object in S3: one GET, one conditional PUT, each within time limits of our own.

mod bounded;
mod clock;
mod versions;

use std::{error::Error, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future};
use aws_sdk_s3::{
    Client,
    config::{
        Config, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
        StalledStreamProtectionConfig, http::HttpResponse, retry::RetryConfig, timeout::TimeoutConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
    operation::get_object::GetObjectOutput,
    primitives::ByteStream,
};
use aws_smithy_http_client::tls;
use aws_types::service_config::ServiceConfigKey;
use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{OnceCell, mpsc},
    time::timeout,
};

use self::bounded::BoundedAnswers;
use super::{Conditions, Expect, Fetched, Intake, StoreError, Version, Written};
use crate::{
    courtesy::{Turns, begin_aside},
    envelope::Envelope,
};

/// How long the store may take. The SDK's own retries, stream watching and 60-second defaults are off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Limits {
    /// Finding credentials: without any, the SDK would ask a metadata service that may not exist.
    pub credentials: Duration,
    /// Opening a connection, TLS included.
    pub connect: Duration,
    /// From sending a read to the head of its answer.
    pub first_byte: Duration,
    /// Between two pieces of a body.
    pub chunk_idle: Duration,
    /// From the end of an upload to its answer; the upload itself is allowed for by its size.
    pub confirm: Duration,
    /// A whole read or a whole write, whatever else happens: stops an answer that trickles.
    pub deadline: Duration,
}

impl Default for S3Limits {
    fn default() -> Self {
        Self {
            credentials: Duration::from_secs(5),
            connect: Duration::from_millis(1500),
            first_byte: Duration::from_secs(3),
            chunk_idle: Duration::from_secs(5),
            confirm: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
        }
    }
}

/// How much of a body goes to the other thread at a time: waking that thread costs as much as reading a few thousand bytes.
const PIECE: usize = 64 * 1024;
/// How many such pieces may wait there.
const PIECES_AHEAD: usize = 64;

/// What an upload must reach for its answer to be waited for.
const UPLOAD_BYTES_PER_SECOND: u64 = 4 << 20;

/// No object ever has this `ETag`: a write that expects it must be refused.
const IMPOSSIBLE_ETAG: &str = "\"heare-auth-condition-probe\"";
/// What the probe offers where nothing is stored: harmless if a store that ignores conditions keeps it.
const EMPTY_DOCUMENT: &[u8] = b"{\"keys\":[]}";

#[derive(Debug)]
pub struct S3Store {
    client: Client,
    bucket: String,
    key: String,
    max_bytes: usize,
    limits: S3Limits,
    /// AWS keeps write conditions; another server has to show that it does.
    custom_endpoint: bool,
    keeps_conditions: OnceCell<bool>,
}

impl S3Store {
    /// Takes endpoint and credentials from the SDK's usual sources. Connects to nothing yet.
    pub async fn open(bucket: String, key: String, region: String, max_bytes: usize) -> Self {
        let sdk = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region))
            .http_client(https_client())
            .load()
            .await;
        Self::from_sdk_config(&sdk, bucket, key, max_bytes, S3Limits::default())
    }

    /// The same from a configuration that is already there.
    pub fn from_sdk_config(sdk: &SdkConfig, bucket: String, key: String, max_bytes: usize, limits: S3Limits) -> Self {
        let custom_endpoint = has_custom_endpoint(sdk);
        let mut config = aws_sdk_s3::config::Builder::from(sdk)
            .behavior_version(BehaviorVersion::latest())
            // Servers other than AWS are reached by an address, which has no sub-domain for the bucket.
            .force_path_style(custom_endpoint)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(&limits).read_timeout(limits.first_byte).build())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .interceptor(BoundedAnswers { max_bytes });
        if sdk.http_client().is_none() {
            config = config.http_client(https_client());
        }
        if let Some(found_by) = sdk.credentials_provider() {
            config = config.credentials_provider(BoundedCredentials {
                found_by,
                within: limits.credentials,
            });
        }
        Self {
            client: Client::from_conf(config.build()),
            bucket,
            key,
            max_bytes,
            limits,
            custom_endpoint,
            keeps_conditions: OnceCell::new(),
        }
    }

    pub async fn read_into<I: Intake>(&self, known: Option<&Version>, intake: I) -> Result<Fetched<I>, StoreError> {
        let read = async {
            let answer = match self.get(known).await {
                // A pooled connection may have been closed while it was idle; a second try opens a new one.
                Err(StoreError::Unreachable) => self.get(known).await?,
                answer => answer?,
            };
            self.receive(answer, intake).await
        };
        timeout(self.limits.deadline, read)
            .await
            .unwrap_or(Err(StoreError::Timeout))
    }

    pub async fn write_if_unchanged(&self, bytes: Bytes, expect: &Expect) -> Result<Written, StoreError> {
        if bytes.len() > self.max_bytes {
            // Every reader would refuse it.
            return Err(StoreError::TooLarge);
        }
        let allowed = self.upload_limit(bytes.len());
        timeout(allowed, self.put(bytes, expect))
            .await
            .unwrap_or(Err(StoreError::Timeout))
    }

    /// Asks once, by writes that must be refused. Where nothing is stored yet only half can be asked,
    /// so that answer is not kept.
    pub async fn keeps_conditions(&self, current: &Fetched) -> Result<bool, StoreError> {
        if !self.custom_endpoint {
            return Ok(true);
        }
        match current {
            Fetched::Object { bytes, .. } => self
                .keeps_conditions
                .get_or_try_init(|| self.refuses_both(bytes))
                .await
                .copied(),
            Fetched::Missing | Fetched::Unchanged => match self.keeps_conditions.get() {
                Some(known) => Ok(*known),
                None => self.refuses(Bytes::from_static(EMPTY_DOCUMENT), &impossible()).await,
            },
        }
    }

    /// The same, asked whoever the store is and however often it was.
    pub async fn try_conditions(&self, current: &Fetched) -> Result<Conditions, StoreError> {
        Ok(match current {
            Fetched::Object { bytes, .. } if self.refuses_both(bytes).await? => Conditions::Kept,
            Fetched::Object { .. } => Conditions::Ignored,
            Fetched::Missing | Fetched::Unchanged => {
                let offered = Bytes::from_static(EMPTY_DOCUMENT);
                if self.refuses(offered, &impossible()).await? {
                    Conditions::HalfKept
                } else {
                    Conditions::IgnoredAndTaken
                }
            }
        })
    }

    pub fn location(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.key)
    }

    /// The answer's head. Its body is still to come.
    async fn get(&self, known: Option<&Version>) -> Result<Fetched<GetObjectOutput>, StoreError> {
        let request = self.client.get_object().bucket(&self.bucket).key(&self.key);
        let answer = request
            .set_if_none_match(known.map(|version| version.0.clone()))
            .send()
            .await;
        match answer {
            Ok(output) => {
                // Without an ETag it is not an object of a store, but a page of something in between.
                let version = Version(output.e_tag.clone().ok_or(StoreError::Failed)?);
                if Some(&version) == known {
                    return Ok(Fetched::Unchanged);
                }
                Ok(Fetched::Object { version, bytes: output })
            }
            Err(error) if status(&error) == Some(304) => Ok(Fetched::Unchanged),
            // Only the store's own word means that the object is absent; any 404 could come from something else.
            Err(error) if status(&error) == Some(404) && error.code() == Some("NoSuchKey") => Ok(Fetched::Missing),
            Err(error) => Err(failure(&error)),
        }
    }

    async fn receive<I: Intake>(&self, answer: Fetched<GetObjectOutput>, intake: I) -> Result<Fetched<I>, StoreError> {
        match answer {
            Fetched::Unchanged => Ok(Fetched::Unchanged),
            Fetched::Missing => Ok(Fetched::Missing),
            Fetched::Object { version, bytes: output } => {
                let bytes = self.take_in(output, intake).await?;
                Ok(Fetched::Object { version, bytes })
            }
        }
    }

    /// Hands the body over to another thread while it arrives.
    async fn take_in<I: Intake>(&self, output: GetObjectOutput, mut intake: I) -> Result<I, StoreError> {
        let announced = output.content_length.and_then(|length| usize::try_from(length).ok());
        let expected = announced.unwrap_or_default();
        if expected > self.max_bytes {
            return Err(StoreError::TooLarge);
        }
        let (pieces, mut arriving) = mpsc::channel::<Bytes>(PIECES_AHEAD);
        let taken = begin_aside(move || {
            intake.announce(expected);
            let turns = Turns::begin();
            while let Some(piece) = arriving.blocking_recv() {
                intake.take(&piece);
                turns.pause();
            }
            intake
        });
        let taken = taken.ok_or(StoreError::Failed)?;
        let len = self.pass_on(output.body, pieces).await?;
        if announced.is_some_and(|announced| announced != len) {
            return Err(StoreError::Incomplete);
        }
        // A failed join means that the process is shutting down or that the intake panicked: no answer either way.
        taken.await.map_err(|_| StoreError::Failed)
    }

    /// The length of the body.
    async fn pass_on(&self, mut body: ByteStream, pieces: mpsc::Sender<Bytes>) -> Result<usize, StoreError> {
        let (mut piece, mut len) = (BytesMut::new(), 0);
        while let Some(chunk) = timeout(self.limits.chunk_idle, body.next())
            .await
            .map_err(|_| StoreError::Timeout)?
        {
            let chunk = chunk.map_err(|_| StoreError::Incomplete)?;
            len += chunk.len();
            if len > self.max_bytes {
                return Err(StoreError::TooLarge);
            }
            piece.extend_from_slice(&chunk);
            if piece.len() >= PIECE {
                let full = std::mem::replace(&mut piece, BytesMut::with_capacity(2 * PIECE));
                pieces.send(full.freeze()).await.map_err(|_| StoreError::Failed)?;
            }
        }
        pieces.send(piece.freeze()).await.map_err(|_| StoreError::Failed)?;
        Ok(len)
    }

    async fn put(&self, bytes: Bytes, expect: &Expect) -> Result<Written, StoreError> {
        match self.offer(bytes.clone(), expect).await? {
            Some(written) => Ok(written),
            None => self.read_back(&bytes).await,
        }
    }

    /// Nothing when whoever answered did not say what is stored now.
    async fn offer(&self, bytes: Bytes, expect: &Expect) -> Result<Option<Written>, StoreError> {
        let (absent, version) = match expect {
            Expect::Absent => (Some("*".to_owned()), None),
            Expect::Version(version) => (None, Some(version.0.clone())),
        };
        let request = self.client.put_object().bucket(&self.bucket).key(&self.key);
        let request = request
            .set_if_none_match(absent)
            .set_if_match(version)
            .content_type(content_type(&bytes))
            .body(ByteStream::from(bytes));
        // The SDK's read timeout would include the upload.
        let unhurried = Config::builder().timeout_config(timeouts(&self.limits).disable_read_timeout().build());
        match request.customize().config_override(unhurried).send().await {
            Ok(output) => Ok(output.e_tag.map(|etag| Written::Done(Version(etag)))),
            Err(error) if is_conflict(&error, expect) => Ok(Some(Written::Conflict)),
            Err(error) => Err(failure(&error)),
        }
    }

    /// An answer without an `ETag` proves nothing; what is stored does.
    async fn read_back(&self, written: &Bytes) -> Result<Written, StoreError> {
        let answer = self.get(None).await?;
        match self.receive(answer, Vec::new()).await? {
            Fetched::Object { version, bytes } if bytes == *written => Ok(Written::Done(version)),
            Fetched::Object { .. } | Fetched::Missing | Fetched::Unchanged => Err(StoreError::Failed),
        }
    }

    async fn refuses_both(&self, stored: &Bytes) -> Result<bool, StoreError> {
        Ok(self.refuses(stored.clone(), &Expect::Absent).await? && self.refuses(stored.clone(), &impossible()).await?)
    }

    /// What is offered is stored already, so that reading it back would prove nothing: an answer without an `ETag`, such as a
    /// page of something in between, is none.
    async fn refuses(&self, bytes: Bytes, expect: &Expect) -> Result<bool, StoreError> {
        let allowed = self.upload_limit(bytes.len());
        let answer = timeout(allowed, self.offer(bytes, expect)).await;
        match answer.unwrap_or(Err(StoreError::Timeout))? {
            Some(Written::Conflict) => Ok(true),
            Some(Written::Done(_)) => Ok(false),
            None => Err(StoreError::Failed),
        }
    }

    fn upload_limit(&self, len: usize) -> Duration {
        let upload = Duration::from_secs(len as u64 / UPLOAD_BYTES_PER_SECOND);
        (self.limits.confirm + upload).min(self.limits.deadline)
    }
}

fn content_type(object: &[u8]) -> &'static str {
    if Envelope::is_sealed(object) {
        "application/octet-stream"
    } else {
        "application/json"
    }
}

fn impossible() -> Expect {
    Expect::Version(Version(IMPOSSIBLE_ETAG.to_owned()))
}

fn timeouts(limits: &S3Limits) -> aws_sdk_s3::config::timeout::TimeoutConfigBuilder {
    TimeoutConfig::builder().connect_timeout(limits.connect)
}

/// One idle connection is enough for one object, and leaves at most one to be found closed.
fn https_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .pool_max_idle_per_host(1)
        .build_https()
}

/// Whether `AWS_ENDPOINT_URL`, its S3 variant or a profile names the server; the SDK has read them all.
fn has_custom_endpoint(sdk: &SdkConfig) -> bool {
    let for_s3 = ServiceConfigKey::builder()
        .service_id("S3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let for_s3 = for_s3.expect("all three parts of the key are given");
    sdk.endpoint_url().is_some()
        || sdk
            .service_config()
            .is_some_and(|source| source.load_config(for_s3).is_some())
}

/// 412 and 409 say it; a 404 says it when a version was expected, unless it is the bucket that is missing.
fn is_conflict<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>, expect: &Expect) -> bool {
    match status(error) {
        Some(412 | 409) => true,
        Some(404) => error.code() != Some("NoSuchBucket") && matches!(expect, Expect::Version(_)),
        _ => false,
    }
}

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// The meaning of a failure. The status counts more than the body, which may come from something in between.
fn failure<E>(error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match (status(error), error) {
        (Some(401 | 403), _) => StoreError::Forbidden,
        (Some(404), _) if error.code() == Some("NoSuchBucket") => StoreError::NoBucket,
        (Some(_), _) | (None, SdkError::ConstructionFailure(_)) => StoreError::Failed,
        (None, SdkError::TimeoutError(_)) => StoreError::Timeout,
        (None, SdkError::DispatchFailure(dispatch)) if dispatch.is_timeout() => StoreError::Timeout,
        (None, _) if comes_from_credentials(error) => StoreError::NoCredentials,
        (None, _) => StoreError::Unreachable,
    }
}

fn comes_from_credentials(error: &(dyn Error + 'static)) -> bool {
    error.is::<CredentialsError>() || error.source().is_some_and(comes_from_credentials)
}

/// Ends the search for credentials with an error that says so.
#[derive(Debug)]
struct BoundedCredentials {
    found_by: SharedCredentialsProvider,
    within: Duration,
}

impl ProvideCredentials for BoundedCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            match timeout(self.within, self.found_by.provide_credentials()).await {
                Ok(found) => found,
                Err(_) => Err(CredentialsError::provider_timed_out(self.within)),
            }
        })
    }

    fn fallback_on_interrupt(&self) -> Option<aws_credential_types::Credentials> {
        self.found_by.fallback_on_interrupt()
    }
}
