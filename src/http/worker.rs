//! The threads that serve connections: each has a runtime of its own, and one sweep over its connections that holds
//! them to their deadlines.

use std::{
    collections::HashMap,
    io,
    net::{self, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
};

use hyper_util::{rt::TokioExecutor, server::conn::auto};
use tokio::{
    net::TcpStream,
    runtime,
    sync::{mpsc, watch},
    task::{self, JoinSet},
    time::{MissedTickBehavior, interval},
};

use super::{
    App, Face,
    connection::{self, Connection, Order},
    deadlines::Deadlines,
    door::Door,
    identity::RequestIds,
    slots::{Slot, Slots},
};

/// What the connections of one thread share.
pub struct Worker {
    pub app: Arc<App>,
    pub deadlines: Deadlines,
    pub request_ids: RequestIds,
    pub slots: Slots,
    pub door: Door,
    /// Counts the sweeps: the clock of all deadlines.
    sweep: AtomicU32,
}

/// A connection on its way from the accept loop to a worker.
pub struct Accepted {
    pub stream: net::TcpStream,
    pub peer: SocketAddr,
    pub face: Arc<Face>,
    pub slot: Slot,
}

/// The way to a worker.
#[derive(Clone)]
pub struct Inlet {
    worker: mpsc::UnboundedSender<Arrival>,
    /// As many, and one more for each inlet, as the worker has connections.
    aboard: Aboard,
}

/// Held for as long as a connection lasts.
type Aboard = Arc<()>;

/// A connection that is given to a worker.
type Arrival = (Accepted, Aboard);

/// How far the service is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Serving,
    /// What is in flight is finished; nothing new begins.
    Draining,
    Ending,
}

impl Inlet {
    /// An inlet, and where what is handed to it arrives.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Arrival>) {
        let (worker, arrivals) = mpsc::unbounded_channel();
        let aboard = Aboard::default();
        (Self { worker, aboard }, arrivals)
    }

    /// That of the worker which has the fewest connections.
    pub fn of_the_fewest(workers: &[Self]) -> &Self {
        let fewest = workers.iter().min_by_key(|inlet| Arc::strong_count(&inlet.aboard));
        fewest.expect("there is at least one worker")
    }

    pub fn hand(&self, accepted: Accepted) {
        // A worker only ends when nobody has an inlet to it.
        let _ = self.worker.send((accepted, self.aboard.clone()));
    }
}

impl Worker {
    pub fn new(app: Arc<App>, deadlines: Deadlines, request_ids: RequestIds, slots: Slots) -> Self {
        Self {
            app,
            deadlines,
            request_ids,
            slots,
            door: Door::default(),
            sweep: AtomicU32::new(0),
        }
    }

    /// The number of sweeps so far.
    pub fn sweep(&self) -> u32 {
        self.sweep.load(Relaxed)
    }

    /// Starts the thread. It ends, and drops `alive`, once the accept loops are gone and the last connection is.
    pub fn start(
        self,
        name: String,
        arrivals: mpsc::UnboundedReceiver<Arrival>,
        stage: watch::Receiver<Stage>,
        alive: mpsc::Sender<()>,
    ) -> io::Result<()> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let crew = Crew {
            worker: Arc::new(self),
            builder: Arc::new(protocol()),
            tasks: JoinSet::new(),
            connections: HashMap::new(),
        };
        thread::Builder::new().name(name).spawn(move || {
            runtime.block_on(crew.work(arrivals, stage));
            drop(alive);
        })?;
        Ok(())
    }
}

/// Everything that bounds a conversation in size. There is no timer: `Deadlines` says why.
fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .half_close(false)
        .header_read_timeout(None)
        .max_buf_size(16 * 1024);
    builder
        .http2()
        .max_concurrent_streams(200)
        .max_header_list_size(16 * 1024)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(256 * 1024)
        .max_send_buf_size(64 * 1024);
    builder
}

/// A worker's connections and their tasks.
struct Crew {
    worker: Arc<Worker>,
    builder: Arc<auto::Builder<TokioExecutor>>,
    tasks: JoinSet<()>,
    connections: HashMap<task::Id, Arc<Connection>>,
}

impl Crew {
    async fn work(mut self, mut arrivals: mpsc::UnboundedReceiver<Arrival>, mut stage: watch::Receiver<Stage>) {
        let mut sweeps = interval(self.worker.deadlines.sweep);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut arriving = true;
        let worker = self.worker.clone();
        task::spawn(async move { worker.door.keep().await });
        while arriving || !self.tasks.is_empty() {
            tokio::select! {
                arrival = arrivals.recv(), if arriving => match arrival {
                    Some(arrival) => {
                        self.welcome(arrival, *stage.borrow());
                        self.worker.door.pass().await;
                    }
                    None => arriving = false,
                },
                Some(ended) = self.tasks.join_next_with_id() => {
                    self.connections.remove(&ended.map_or_else(|panicked| panicked.id(), |(id, ())| id));
                }
                _ = sweeps.tick() => self.sweep(*stage.borrow()),
                Ok(()) = stage.changed() => {
                    let stage = *stage.borrow_and_update();
                    self.tell_all(stage);
                }
            }
        }
    }

    fn welcome(&mut self, (accepted, aboard): Arrival, stage: Stage) {
        let Accepted {
            stream,
            peer,
            face,
            slot,
        } = accepted;
        let Ok(stream) = TcpStream::from_std(stream) else {
            return;
        };
        let connection = Arc::new(Connection::new(peer, face, self.worker.clone()));
        connection.tell(connection.order_in(stage));
        let serving = connection::serve(connection.clone(), stream, self.builder.clone());
        let task = self.tasks.spawn(async move {
            serving.await;
            drop((aboard, slot));
        });
        self.connections.insert(task.id(), connection);
    }

    fn sweep(&mut self, stage: Stage) {
        self.worker.app.telemetry.metrics.connections(self.worker.slots.taken());
        self.worker.sweep.fetch_add(1, Relaxed);
        for connection in self.connections.values() {
            let order = connection.judge(stage);
            if order != Order::Carry {
                connection.tell(order);
            }
        }
    }

    fn tell_all(&self, stage: Stage) {
        for connection in self.connections.values() {
            connection.tell(connection.order_in(stage));
        }
    }
}
