//! An HTTP proxy in front of the S3 server that fails on demand, in every way a network or a store can.

mod message;

use message::{HTML_ANSWER, NOT_MODIFIED, Request, body_start, error_answer, tagged, without};
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every connection is reset at once. (A port that nobody listens on could become another test's.)
    Refuse,
    /// The request is read and never answered.
    Silence,
    /// The request is read, and the connection closed.
    Hangup,
    /// The request is not passed on before the proxy is healed.
    Hold,
    /// The answer comes later.
    Delay(Duration),
    /// The connection is reset after half of the body.
    ResetMidBody,
    /// The connection is closed after half of the announced body.
    CutBody,
    /// After the head, one byte of the body a second.
    Trickle,
    /// The request does not reach the store; the answer has this status and an S3 error of this code.
    Status(u16, &'static str),
    /// The request does not reach the store; the answer is a page, and it is fine.
    Html,
    /// The store does what was asked, and nobody is told.
    LoseAnswer,
    /// The answer of the store arrives without this header.
    DropHeader(&'static str),
    /// The answer of the store has this `ETag` instead of its own.
    Tag(&'static str),
    /// Whoever asks for what has changed is told that nothing has.
    NotModified,
    /// The store does not see write conditions.
    IgnoreConditions,
}

/// What happens to the next requests with one method.
#[derive(Clone, Copy, Debug)]
struct Step {
    method: &'static str,
    fault: Option<Fault>,
    times: usize,
}

#[derive(Default)]
struct State {
    always: Option<Fault>,
    steps: Vec<Step>,
}

/// The proxy runs on a thread of its own until it is dropped.
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    counts: watch::Receiver<Counts>,
    heals: watch::Sender<()>,
    /// Dropped to end the thread.
    _end: watch::Sender<()>,
}

/// How many requests with each method have arrived.
type Counts = BTreeMap<String, usize>;

impl FaultProxy {
    /// Passes everything on until a fault is set.
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket of this process");
        let address = listener.local_addr().expect("a bound socket");
        let state = Arc::new(Mutex::new(State::default()));
        let (end, ended) = watch::channel(());
        let (count, counts) = watch::channel(Counts::new());
        let (heals, healed) = watch::channel(());
        let link = Link {
            upstream,
            state: Arc::clone(&state),
            count,
            healed,
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async { accept(TcpListener::from_std(listener).expect("a socket"), ended, link).await });
        });
        Self {
            address,
            state,
            counts,
            heals,
            _end: end,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request fails from now on.
    pub fn set(&self, fault: Fault) {
        self.lock().always = Some(fault);
    }

    /// The next `times` requests with this method fail, after those that were planned before.
    pub fn fail(&self, method: &'static str, times: usize, fault: Fault) {
        self.lock().steps.push(Step {
            method,
            fault: Some(fault),
            times,
        });
    }

    /// The next `times` requests with this method are passed on, after those that were planned before.
    pub fn pass(&self, method: &'static str, times: usize) {
        self.lock().steps.push(Step {
            method,
            fault: None,
            times,
        });
    }

    /// Every request is passed on again.
    pub fn heal(&self) {
        *self.lock() = State::default();
        self.heals.send_replace(());
    }

    /// How many requests with this method have arrived.
    pub fn count(&self, method: &str) -> usize {
        self.counts.borrow().get(method).copied().unwrap_or_default()
    }

    /// Waits until so many requests with this method have arrived since the start.
    pub async fn wait_for_count(&self, method: &str, times: usize) {
        let mut counts = self.counts.clone();
        let enough = counts.wait_for(|counts| counts.get(method).is_some_and(|count| *count >= times));
        enough.await.expect("the proxy runs");
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

async fn accept(listener: TcpListener, mut ended: watch::Receiver<()>, link: Link) {
    loop {
        tokio::select! {
            _ = ended.changed() => return,
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                let link = link.clone();
                // A client that goes away ends its connection, and that is all.
                tokio::spawn(async move { link.serve(client).await.ok() });
            }
        }
    }
}

#[derive(Clone)]
struct Link {
    upstream: SocketAddr,
    state: Arc<Mutex<State>>,
    count: watch::Sender<Counts>,
    healed: watch::Receiver<()>,
}

impl Link {
    /// One request for each connection, so that no answer depends on the one before.
    async fn serve(&self, client: TcpStream) -> io::Result<()> {
        if self.always() == Some(Fault::Refuse) {
            return reset(&client);
        }
        let mut client = BufReader::new(client);
        let request = Request::read(&mut client).await?;
        let mut client = client.into_inner();
        let mut healed = self.healed.clone();
        healed.mark_unchanged();
        match self.fault_for(request.method()) {
            Some(Fault::Silence) => wait_for_end(&mut client).await,
            Some(Fault::Refuse) => reset(&client),
            Some(Fault::Hangup) => Ok(()),
            Some(Fault::Hold) => {
                // A proxy that is gone holds nothing up.
                let _ = healed.changed().await;
                client.write_all(&self.ask(&request).await?).await
            }
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                client.write_all(&self.ask(&request).await?).await
            }
            Some(Fault::ResetMidBody) => {
                send_half(&mut client, &self.ask(&request).await?).await?;
                reset(&client)
            }
            Some(Fault::CutBody) => send_half(&mut client, &self.ask(&request).await?).await,
            Some(Fault::Trickle) => trickle(&mut client, &self.ask(&request).await?).await,
            Some(Fault::Status(status, code)) => client.write_all(error_answer(status, code).as_bytes()).await,
            Some(Fault::Html) => client.write_all(HTML_ANSWER.as_bytes()).await,
            Some(Fault::LoseAnswer) => self.ask(&request).await.map(drop),
            Some(Fault::DropHeader(name)) => client.write_all(&without(name, &self.ask(&request).await?)).await,
            Some(Fault::Tag(tag)) => client.write_all(&tagged(tag, &self.ask(&request).await?)).await,
            Some(Fault::NotModified) if request.header("if-none-match").is_some() => {
                client.write_all(NOT_MODIFIED.as_bytes()).await
            }
            Some(Fault::IgnoreConditions) => {
                client
                    .write_all(&self.ask(&request.without(&["if-match", "if-none-match"])).await?)
                    .await
            }
            Some(Fault::NotModified) | None => client.write_all(&self.ask(&request).await?).await,
        }
    }

    fn always(&self) -> Option<Fault> {
        self.state.lock().expect("no holder panics").always
    }

    fn fault_for(&self, method: &str) -> Option<Fault> {
        self.count
            .send_modify(|counts| *counts.entry(method.to_owned()).or_default() += 1);
        let mut state = self.state.lock().expect("no holder panics");
        let always = state.always;
        let step = state
            .steps
            .iter_mut()
            .find(|step| step.method == method && step.times > 0);
        step.map_or(always, |step| {
            step.times -= 1;
            step.fault
        })
    }

    /// The whole answer of the store, head and body.
    async fn ask(&self, request: &Request) -> io::Result<Vec<u8>> {
        let mut store = TcpStream::connect(self.upstream).await?;
        store
            .write_all(
                request
                    .without(&["connection", "expect"])
                    .head_for_one_answer()
                    .as_bytes(),
            )
            .await?;
        store.write_all(&request.body).await?;
        let mut answer = Vec::new();
        store.read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

fn reset(client: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(client).set_linger(Some(Duration::ZERO))
}

async fn wait_for_end(client: &mut TcpStream) -> io::Result<()> {
    tokio::io::copy(client, &mut tokio::io::sink()).await.map(drop)
}

async fn send_half(client: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
    let body = body_start(answer);
    client.write_all(&answer[..body + (answer.len() - body) / 2]).await
}

async fn trickle(client: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
    let (head, body) = answer.split_at(body_start(answer));
    client.write_all(head).await?;
    for byte in body {
        client.write_all(&[*byte]).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
