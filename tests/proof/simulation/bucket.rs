//! The simulated S3 server: one object, every fault a network and a store can have, and a judge of every write that lands.

use super::{actor::Chance, history::History};
use aws_sdk_s3::{
    config::{
        Region, RuntimeComponents, SharedHttpClient,
        http::{HttpRequest, HttpResponse},
    },
    primitives::SdkBody,
};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        result::ConnectorError,
    },
    http::StatusCode,
};
use heare_auth::store::{
    Store,
    s3::{S3Limits, S3Store},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};

/// Arrivals fall on milliseconds that leave the actor's number when divided by this: no two actors meet in one
/// millisecond, so that their order does not depend on threads.
pub const LANES: u64 = 16;

const MAX_BYTES: usize = 1 << 20;

/// What happens to the requests of one schedule.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// How many of a hundred requests go wrong before it calms.
    pub faults: u32,
    /// Whether readers may be given an older version of the object.
    pub stale: bool,
    /// Whether nobody reaches the store.
    pub cut_off: bool,
}

/// What a reader is given instead of the object for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruin {
    Gone,
    Empty,
    Page,
    Truncated,
    NoKeys,
    First,
}

/// One way in which a request goes wrong.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Refused,
    Busy,
    Forbidden,
    /// 200 with a page of something in between.
    Page,
    AnswerLost,
    FailedAfterwards,
    Twice,
    /// Nobody answers, and it arrives when nobody waits any more.
    Stuck,
    Slow,
    Cut,
}

/// The dearer ones come twice as often.
const FAULTS: [Fault; 12] = [
    Fault::Refused,
    Fault::Busy,
    Fault::Forbidden,
    Fault::Page,
    Fault::AnswerLost,
    Fault::AnswerLost,
    Fault::FailedAfterwards,
    Fault::Twice,
    Fault::Stuck,
    Fault::Stuck,
    Fault::Slow,
    Fault::Cut,
];

const OUTAGES: [Fault; 3] = [Fault::Refused, Fault::Busy, Fault::Stuck];

pub struct Bucket {
    began: Instant,
    state: Mutex<State>,
}

struct State {
    weather: Weather,
    ruin: Option<Ruin>,
    /// Readers were shown an older version, or may be.
    lies: bool,
    history: History,
}

/// One way to the bucket, that of one process.
#[derive(Clone)]
pub struct Way {
    bucket: Arc<Bucket>,
    lane: u64,
    name: String,
    reads_only: bool,
    chance: Arc<Mutex<Chance>>,
    /// By generation; 0 is that nothing is stored.
    confirmed: Arc<Mutex<BTreeMap<u64, Confirmed>>>,
    /// What becomes of the next writes, whatever the weather.
    script: Arc<Mutex<VecDeque<Fault>>>,
}

/// When a process asked, and when it was told that what is stored is of this generation.
#[derive(Clone, Copy, Debug)]
pub struct Confirmed {
    pub asked: Instant,
    pub told: Instant,
}

impl Bucket {
    pub fn new(weather: Weather, history: History) -> Arc<Self> {
        let state = State {
            weather,
            ruin: None,
            lies: weather.stale,
            history,
        };
        Arc::new(Self {
            began: Instant::now(),
            state: Mutex::new(state),
        })
    }

    /// From now on nothing goes wrong any more, except what is on its way.
    pub fn calm(&self) {
        let mut state = self.state();
        state.weather = Weather {
            faults: 0,
            stale: false,
            cut_off: false,
        };
        (state.ruin, state.lies) = (None, false);
    }

    pub fn cut_off(&self) {
        self.state().weather.cut_off = true;
        self.tell("nobody reaches the store");
    }

    pub fn ruin(&self, ruin: Option<Ruin>) {
        let mut state = self.state();
        state.ruin = ruin;
        // Whoever starts now and has no snapshot takes the first for the newest, and a missing object for an empty store.
        state.lies |= matches!(ruin, Some(Ruin::First | Ruin::Gone));
        drop(state);
        self.tell(format!("the object is {ruin:?}"));
    }

    pub fn lies(&self) -> bool {
        self.state().lies
    }

    pub fn look<T>(&self, at: impl FnOnce(&mut History) -> T) -> T {
        at(&mut self.state().history)
    }

    pub fn tell(&self, what: impl AsRef<str>) {
        let line = format!("{:>7} {}", self.now_ms(), what.as_ref());
        self.look(|history| history.told.push(line));
    }

    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).expect("a short run")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it was held")
    }
}

impl Way {
    pub fn new(bucket: &Arc<Bucket>, lane: u64, name: String, reads_only: bool, chance: Chance) -> Self {
        Self {
            bucket: Arc::clone(bucket),
            lane,
            name,
            reads_only,
            chance: Arc::new(Mutex::new(chance)),
            confirmed: Arc::default(),
            script: Arc::default(),
        }
    }

    /// Another process goes this way from now on, which has been told nothing.
    pub fn begin_anew(&self) {
        self.confirmed.lock().expect("no panic while it was held").clear();
    }

    pub fn confirmed(&self, generation: u64) -> Option<Confirmed> {
        let confirmed = self.confirmed.lock().expect("no panic while it was held");
        confirmed.get(&generation).copied()
    }

    pub fn next_writes(&self, faults: impl IntoIterator<Item = Fault>) {
        self.script.lock().expect("no panic while it was held").extend(faults);
    }

    /// The product's own S3 store, whose requests go this way.
    pub fn store(&self) -> Store {
        use aws_sdk_s3::config::{BehaviorVersion, Credentials, SharedCredentialsProvider};
        let sdk = aws_config::SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url("http://simulated")
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "AKIASIMULATED",
                "simulated",
                None,
                None,
                "test",
            )))
            .sleep_impl(aws_sdk_s3::config::SharedAsyncSleep::new(TokioSleep))
            .http_client(SharedHttpClient::new(self.clone()))
            .build();
        let (bucket, key) = ("bucket".to_owned(), "keys.json".to_owned());
        Store::S3(S3Store::from_sdk_config(
            &sdk,
            bucket,
            key,
            MAX_BYTES,
            S3Limits::default(),
        ))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn draw(&self, below: u32) -> u32 {
        self.chance.lock().expect("no panic while it was held").below(below)
    }

    /// Until a millisecond of this actor's own.
    async fn travel(&self, least_ms: u32, most_ms: u32) {
        let earliest = self.bucket.now_ms() + u64::from(least_ms + self.draw(most_ms - least_ms + 1));
        let at = earliest + (LANES + self.lane - earliest % LANES) % LANES;
        sleep_until(self.bucket.began + Duration::from_millis(at)).await;
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let asked = Instant::now();
        let request = Request::of(&request);
        let fault = self.fault(&request);
        self.travel(1, 120).await;
        let answer = match fault {
            Some(fault) => self.fail(&request, fault).await,
            None => Ok(self.serve(&request)),
        };
        self.travel(1, 120).await;
        if let Ok(Said {
            generation: Some(generation),
            ..
        }) = answer
        {
            let told = Instant::now();
            let mut confirmed = self.confirmed.lock().expect("no panic while it was held");
            confirmed.insert(generation, Confirmed { asked, told });
        }
        answer.map(HttpResponse::from)
    }

    fn fault(&self, request: &Request) -> Option<Fault> {
        if let Request::Put { .. } = request
            && let Some(fault) = self.script.lock().expect("no panic while it was held").pop_front()
        {
            return Some(fault);
        }
        let weather = self.bucket.state().weather;
        let goes_wrong = weather.cut_off || self.draw(100) < weather.faults;
        let faults: &[Fault] = if weather.cut_off { &OUTAGES } else { &FAULTS };
        let fault = self.chance.lock().expect("no panic while it was held").one_of(faults);
        goes_wrong.then_some(fault)
    }

    async fn fail(&self, request: &Request, fault: Fault) -> Result<Said, ConnectorError> {
        self.bucket.tell(format!("{} {}: {fault:?}", self.name, request.verb()));
        match fault {
            Fault::Refused => Err(ConnectorError::io("refused".into())),
            Fault::Busy => Ok(Said::new(503, None, "<Error><Code>SlowDown</Code></Error>")),
            Fault::Forbidden => Ok(Said::new(403, None, "<Error><Code>AccessDenied</Code></Error>")),
            Fault::Page => Ok(Said::new(200, None, "<html>log in to this network</html>")),
            Fault::AnswerLost => {
                let _ = self.serve(request);
                Err(ConnectorError::io("reset".into()))
            }
            Fault::FailedAfterwards => {
                let _ = self.serve(request);
                Ok(Said::new(500, None, "<Error><Code>InternalError</Code></Error>"))
            }
            Fault::Twice => {
                let _ = self.serve(request);
                self.travel(1, 500).await;
                Ok(self.serve(request))
            }
            Fault::Stuck => {
                self.come_through_later(request.clone());
                std::future::pending().await
            }
            Fault::Slow => {
                self.travel(2_000, 12_000).await;
                Ok(self.serve(request))
            }
            Fault::Cut => {
                let mut whole = self.serve(request);
                if !whole.body.is_empty() {
                    whole.body.truncate(whole.body.len() / 2);
                    whole.generation = None;
                }
                Ok(whole)
            }
        }
    }

    fn come_through_later(&self, request: Request) {
        let way = self.clone();
        tokio::spawn(async move {
            way.travel(1000, 30_000).await;
            way.bucket.tell(format!("{} comes through", way.name));
            way.serve(&request);
        });
    }

    fn serve(&self, request: &Request) -> Said {
        let mut state = self.bucket.state();
        let at = self.bucket.now_ms();
        match request {
            Request::Get { known } => {
                let is_old = self.reads_only && state.weather.stale && self.draw(4) == 0;
                let back = if is_old { 1 + self.draw(2) as usize } else { 0 };
                // Nobody can write by a store that shows writers what is long gone.
                let ruin = state.ruin.filter(|ruin| self.reads_only || *ruin != Ruin::First);
                let (found, answer) = state.history.get(known.as_deref(), back, ruin);
                state.history.told.push(format!("{at:>7} {} GET: {found}", self.name));
                answer
            }
            Request::Put { expect, body } => {
                let (found, answer) = state.history.put(&self.name, expect.as_deref(), body);
                state.history.told.push(format!("{at:>7} {} PUT: {found}", self.name));
                answer
            }
        }
    }
}

#[derive(Clone)]
enum Request {
    Get { known: Option<String> },
    Put { expect: Option<String>, body: Vec<u8> },
}

impl Request {
    fn of(request: &HttpRequest) -> Self {
        let header = |name: &str| request.headers().get(name).map(str::to_owned);
        match request.method() {
            "GET" => Self::Get {
                known: header("if-none-match"),
            },
            "PUT" => {
                assert!(header("if-match").is_some() != header("if-none-match").is_some());
                Self::Put {
                    expect: header("if-match"),
                    body: request.body().bytes().expect("a body in memory").to_vec(),
                }
            }
            other => panic!("{other} is not simulated"),
        }
    }

    fn verb(&self) -> &'static str {
        match self {
            Self::Get { .. } => "GET",
            Self::Put { .. } => "PUT",
        }
    }
}

/// What the bucket says to a request.
pub struct Said {
    status: u16,
    etag: Option<String>,
    length: usize,
    body: Vec<u8>,
    /// Of what is said to be stored, when that is a whole document or nothing.
    generation: Option<u64>,
}

impl Said {
    pub fn new(status: u16, etag: Option<String>, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            status,
            etag,
            length: body.len(),
            body,
            generation: None,
        }
    }

    pub fn of(self, generation: u64) -> Self {
        Self {
            generation: Some(generation),
            ..self
        }
    }
}

impl From<Said> for HttpResponse {
    fn from(said: Said) -> Self {
        let status = StatusCode::try_from(said.status).expect("a status");
        let mut response = Self::new(status, SdkBody::from(said.body));
        response.headers_mut().insert("content-length", said.length.to_string());
        if let Some(etag) = said.etag {
            response.headers_mut().insert("etag", etag);
        }
        response
    }
}

impl HttpClient for Way {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Connection {
            way: self.clone(),
            read_timeout: settings.read_timeout(),
        })
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Connection {
    way: Way,
    read_timeout: Option<Duration>,
}

impl HttpConnector for Connection {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (way, read_timeout) = (self.way.clone(), self.read_timeout);
        HttpConnectorFuture::new(async move {
            let Some(read_timeout) = read_timeout else {
                return way.send(request).await;
            };
            tokio::time::timeout(read_timeout, way.send(request))
                .await
                .unwrap_or_else(|_| Err(ConnectorError::timeout("nothing was answered".into())))
        })
    }
}

/// The SDK waits by the simulation's clock, too.
#[derive(Debug)]
struct TokioSleep;

impl aws_sdk_s3::config::AsyncSleep for TokioSleep {
    fn sleep(&self, duration: Duration) -> aws_sdk_s3::config::Sleep {
        aws_sdk_s3::config::Sleep::new(sleep(duration))
    }
}
