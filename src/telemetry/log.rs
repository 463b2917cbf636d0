//! Bunyan lines through one bounded queue to one writer thread. A stalled or closed stdout costs lines, never time;
//! dropped lines are counted and reported.

use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    mem,
    os::fd::AsFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_bunyan_formatter::{BunyanFormattingLayer, JsonStorageLayer};
use tracing_subscriber::{filter::Targets, fmt::MakeWriter, layer::SubscriberExt, registry};

use super::{
    stamp::Stamp,
    tap::{Look, Taps},
};
use crate::{clock::Clock, config::LogLevel};

/// The bunyan name, on every line.
const NAME: &str = "heare-auth";

/// What waits for the writer at most; as much again may be in its hands.
pub const DEFAULT_CAPACITY: usize = 8 << 20;

/// How long the writer gathers lines after it was woken, so that it wakes and writes at most 200 times a second.
const LINGER: Duration = Duration::from_millis(5);

/// How long the writer waits when a non-blocking stdout takes nothing.
const RETRY: Duration = Duration::from_millis(10);

/// Buffers that a burst made larger than this give their memory back.
const KEPT_CAPACITY: usize = 1 << 20;

/// The queue's writing end. Cloning is cheap. The writer thread ends when the last clone is dropped.
#[derive(Clone)]
pub struct LogQueue(Arc<Owner>);

impl LogQueue {
    /// A queue that is written to stdout. The stream is used without std's buffer and lock, as a stalled writer
    /// must not be able to hold up the end of the process.
    pub fn stdout() -> io::Result<Self> {
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Self::start(stdout, DEFAULT_CAPACITY)
    }

    /// A queue of so many bytes that is written to `out`, with level `info` until `install` or `set_level`.
    pub fn start(out: impl Write + Send + 'static, capacity: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            idle: Condvar::new(),
            capacity,
            dropped: AtomicU64::new(0),
            level: AtomicU8::new(bunyan_level(LogLevel::Info)),
            taps: Taps::default(),
            heads: Line::ALL.map(|line| head(line.message(), bunyan_level(line.level()))),
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            out,
            batch: Vec::new(),
            unfinished: Vec::new(),
            unreported: 0,
        };
        thread::Builder::new().name("log".into()).spawn(move || writer.run())?;
        Ok(Self(Arc::new(Owner(shared))))
    }

    /// Queues one whole line, its newline included, or drops it when there is no room. Never waits for the writer.
    pub fn append(&self, line: &[u8]) {
        let mut state = self.shared().lock();
        if line.len() > self.shared().capacity - state.lines.len() {
            state.lost += 1;
            drop(state);
            self.shared().dropped.fetch_add(1, Relaxed);
            return;
        }
        state.lines.extend_from_slice(line);
        let asleep = mem::take(&mut state.writer_asleep);
        drop(state);
        if asleep {
            self.shared().wake.notify_one();
        }
    }

    /// Shows all lines from now on, until it wants no more.
    pub fn tap(&self, look: Look) {
        self.shared().taps.add(look);
    }

    /// How many lines were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.shared().dropped.load(Relaxed)
    }

    /// Waits until everything queued is written, but not longer than this. Tells whether it is.
    pub fn flush(&self, within: Duration) -> bool {
        let mut state = self.shared().lock();
        state.flushing += 1;
        self.shared().wake.notify_one();
        let unwritten = |state: &mut State| state.writer_busy || !state.lines.is_empty();
        let (mut state, timeout) = self
            .shared()
            .idle
            .wait_timeout_while(state, within, unwritten)
            .unwrap_or_else(PoisonError::into_inner);
        state.flushing -= 1;
        !timeout.timed_out()
    }

    /// Lines of a lower level are not written.
    pub fn set_level(&self, level: LogLevel) {
        self.shared().level.store(bunyan_level(level), Relaxed);
    }

    pub(super) fn wants(&self, level: LogLevel) -> bool {
        bunyan_level(level) >= self.shared().level.load(Relaxed)
    }

    /// The beginning of a directly written line, up to where the time stands.
    pub(super) fn head(&self, line: Line) -> &[u8] {
        &self.shared().heads[line as usize]
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

/// Everything the crate says through tracing goes into the queue from now on, and panics too. Fails if the process
/// has such a subscriber already.
pub fn install(level: LogLevel, queue: LogQueue) -> Result<(), tracing::subscriber::SetGlobalDefaultError> {
    tracing::subscriber::set_global_default(subscriber(level, queue.clone()))?;
    log_panics(queue);
    Ok(())
}

/// What `install` makes the process's own. Only our own events pass: those of libraries have no `event`, and could
/// say things that we have not looked through for secrets.
pub fn subscriber(level: LogLevel, queue: LogQueue) -> impl Subscriber + Send + Sync {
    queue.set_level(level);
    let own = Targets::new().with_target(env!("CARGO_CRATE_NAME"), tracing_level(level));
    let formatter = BunyanFormattingLayer::new(NAME.into(), queue)
        .skip_fields(["target", "line", "file"].into_iter())
        .expect("none of the three is a core field");
    registry().with(own).with(JsonStorageLayer).with(formatter)
}

/// From now on a panic is a line like any other. Its text may hold a secret, so only its place is logged.
pub fn log_panics(queue: LogQueue) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or_else(|| "unknown".into(), ToString::to_string);
        let mut line = stamped_head("panicked", LogLevel::Error);
        line.extend_from_slice(b",\"event\":\"panic\",\"location\":");
        line.extend_from_slice(&json_string(&place));
        line.extend_from_slice(b"}\n");
        queue.append(&line);
        // The process may end right after its main thread.
        if thread::current().name() == Some("main") {
            queue.flush(Duration::from_millis(500));
        }
    }));
}

/// The lines that are written without tracing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    VerificationSuccess,
    VerificationFailed,
}

impl Line {
    const ALL: [Self; 2] = [Self::VerificationSuccess, Self::VerificationFailed];

    pub const fn word(self) -> &'static str {
        match self {
            Self::VerificationSuccess => "verification_success",
            Self::VerificationFailed => "verification_failed",
        }
    }

    pub const fn level(self) -> LogLevel {
        match self {
            Self::VerificationSuccess => LogLevel::Info,
            Self::VerificationFailed => LogLevel::Warn,
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::VerificationSuccess => "the key is good",
            Self::VerificationFailed => "the key is not good",
        }
    }
}

/// The formatter gets a line's bytes together in one call.
impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.append(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What all clones hold together; its end is the queue's end.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wake.notify_one();
    }
}

struct Shared {
    state: Mutex<State>,
    /// For the writer: there are lines, or somebody flushes, or the queue is closed.
    wake: Condvar,
    /// For those who flush: nothing is queued or in the writer's hands.
    idle: Condvar,
    capacity: usize,
    dropped: AtomicU64,
    level: AtomicU8,
    taps: Taps,
    heads: [Vec<u8>; 2],
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    /// Lines that found no room since the writer last took the others.
    lost: u64,
    writer_asleep: bool,
    writer_busy: bool,
    flushing: usize,
    closed: bool,
}

impl Shared {
    /// Nothing panics while it holds the lock, and if it did the state would still be whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread at the other end.
struct Writer<W> {
    shared: Arc<Shared>,
    out: W,
    batch: Vec<u8>,
    /// The rest of a line whose beginning was written before an error. It goes out first, so that no line is torn.
    unfinished: Vec<u8>,
    /// Dropped lines that no line has told of yet.
    unreported: u64,
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        while self.gather() {
            self.shared.taps.show(&self.batch);
            self.write_batch();
            self.batch.clear();
            self.batch.shrink_to(KEPT_CAPACITY);
        }
    }

    /// Waits for lines and takes all there are. False when there will be none any more.
    fn gather(&mut self) -> bool {
        let shared = &*self.shared;
        let mut state = shared.lock();
        state.writer_busy = false;
        if state.lines.is_empty() {
            shared.idle.notify_all();
            state.writer_asleep = true;
            let nothing = |state: &mut State| state.lines.is_empty() && !state.closed;
            state = shared
                .wake
                .wait_while(state, nothing)
                .unwrap_or_else(PoisonError::into_inner);
            state.writer_asleep = false;
        }
        let patient = |state: &mut State| state.flushing == 0 && !state.closed;
        let lingered = shared.wake.wait_timeout_while(state, LINGER, patient);
        let (mut state, _) = lingered.unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut state.lines, &mut self.batch);
        self.unreported += mem::take(&mut state.lost);
        state.writer_busy = !self.batch.is_empty();
        state.writer_busy
    }

    /// Writes what goes out. The rest is dropped, but for the rest of a line that has begun.
    fn write_batch(&mut self) {
        let begun = !self.unfinished.is_empty();
        self.batch.splice(0..0, self.unfinished.drain(..));
        let written = write_most(&mut self.out, &self.batch);
        let within_line = self.batch[..written].last().map_or(begun, |&byte| byte != b'\n');
        let rest = &self.batch[written..];
        let (unfinished, lost) = rest.split_at(if within_line { end_of_line(rest) } else { 0 });
        self.unfinished.extend_from_slice(unfinished);
        let lost = lost.split_inclusive(|&byte| byte == b'\n').count() as u64;
        self.unreported += lost;
        self.shared.dropped.fetch_add(lost, Relaxed);
        if self.unreported > 0 && rest.is_empty() {
            self.report_dropped();
        }
    }

    fn report_dropped(&mut self) {
        let mut line = stamped_head("log lines were dropped", LogLevel::Warn);
        line.extend_from_slice(b",\"event\":\"log_dropped\",\"lines\":");
        line.extend_from_slice(itoa::Buffer::new().format(self.unreported).as_bytes());
        line.extend_from_slice(b"}\n");
        let written = write_most(&mut self.out, &line);
        if written > 0 {
            self.unreported = 0;
            self.unfinished = line.split_off(written);
        }
    }
}

/// Writes until the end or an error, and returns how many bytes went out.
fn write_most(out: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(_) => break,
        }
    }
    written
}

fn end_of_line(lines: &[u8]) -> usize {
    lines
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(lines.len(), |newline| newline + 1)
}

/// A line's beginning, up to where the time's text stands.
fn head(message: &str, level: u8) -> Vec<u8> {
    let host = json_string(&gethostname::gethostname().to_string_lossy());
    let (host, pid) = (String::from_utf8_lossy(&host), std::process::id());
    format!(r#"{{"v":0,"name":"{NAME}","msg":"{message}","level":{level},"hostname":{host},"pid":{pid},"time":""#)
        .into()
}

/// All members that every line has. What follows begins with a comma.
fn stamped_head(message: &str, level: LogLevel) -> Vec<u8> {
    let mut line = head(message, bunyan_level(level));
    line.extend_from_slice(Stamp::new().at(Clock::wall_micros()));
    line.push(b'"');
    line
}

fn json_string(text: &str) -> Vec<u8> {
    serde_json::to_vec(text).expect("a string is always JSON")
}

const fn bunyan_level(level: LogLevel) -> u8 {
    match level {
        LogLevel::Trace => 10,
        LogLevel::Debug => 20,
        LogLevel::Info => 30,
        LogLevel::Warn => 40,
        LogLevel::Error => 50,
    }
}

const fn tracing_level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}
