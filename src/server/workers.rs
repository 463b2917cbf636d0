//! Starts the threads that answer requests.

use std::{io, sync::Arc};

use tokio::sync::{mpsc, watch};

use super::{StartError, no_threads};
use crate::http::{
    App,
    deadlines::Deadlines,
    identity::RequestIds,
    slots::Slots,
    worker::{Inlet, Stage, Worker},
};

/// The workers' receiving ends, and what tells that all have ended.
pub(super) struct Crew {
    pub inlets: Vec<Inlet>,
    pub ended: mpsc::Receiver<()>,
}

pub(super) fn start(
    app: &Arc<App>,
    count: usize,
    deadlines: Deadlines,
    slots: &Slots,
    stage: &watch::Receiver<Stage>,
) -> Result<Crew, StartError> {
    let (alive, ended) = mpsc::channel(1);
    let start = |number| {
        let (inlet, arrivals) = Inlet::new();
        let request_ids = RequestIds::starting_at(rand::random());
        Worker::new(app.clone(), deadlines, request_ids, slots.clone())
            .start(format!("worker-{number}"), arrivals, stage.clone(), alive.clone())
            .map(|()| inlet)
    };
    let inlets = (0..count).map(start).collect::<io::Result<_>>().map_err(no_threads)?;
    Ok(Crew { inlets, ended })
}
