//! What a document has to hold up against: before it comes into force, and before this instance writes onto it. For what is
//! written onto a document that is refused would be refused as well, or bring it into force with nobody's word.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::{LoadError, LoaderOptions};
use crate::{core::change::ChangeError, envelope::Envelope, store::commit::Found};

/// By what the rules of any moment are made.
pub(super) struct Standard {
    seals: bool,
    strict_generation: bool,
    /// An encrypted object was seen, so a plain one is a downgrade.
    sealed_seen: AtomicBool,
}

/// The rules as they are at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    accept_plain: bool,
    in_force: Option<u64>,
    allow_older: bool,
    strict_generation: bool,
}

impl Standard {
    pub(super) fn new(envelope: &Envelope, options: LoaderOptions) -> Self {
        Self {
            seals: envelope.seals(),
            strict_generation: options.strict_generation,
            sealed_seen: AtomicBool::new(false),
        }
    }

    pub(super) fn note(&self, object_sealed: bool) {
        self.sealed_seen.fetch_or(object_sealed, Relaxed);
    }

    /// With this generation in force.
    pub(super) fn rules(&self, in_force: Option<u64>, allow_older: bool) -> Rules {
        Rules {
            accept_plain: !(self.seals && self.sealed_seen.load(Relaxed)),
            in_force,
            allow_older,
            strict_generation: self.strict_generation,
        }
    }
}

impl Rules {
    /// The strictest that an instance can have with this generation in force: what holds up against them, it loads.
    pub fn strictest(envelope: &Envelope, in_force: Option<u64>) -> Self {
        Self {
            accept_plain: !envelope.seals(),
            in_force,
            allow_older: false,
            strict_generation: true,
        }
    }

    /// Never plain again after encrypted, and never back without the operator's word.
    pub fn check(&self, object_sealed: bool, generation: Option<u64>) -> Result<(), LoadError> {
        if !self.accept_plain && !object_sealed {
            return Err(LoadError::NotEncrypted);
        }
        match (self.in_force, generation) {
            _ if self.allow_older => Ok(()),
            (Some(in_force), Some(new)) if new < in_force => Err(LoadError::OlderGeneration),
            (Some(_), None) if self.strict_generation => Err(LoadError::GenerationLost),
            (None | Some(_), None | Some(_)) => Ok(()),
        }
    }

    /// Whether a change may be written onto this.
    pub fn check_found(&self, found: &Found<'_>) -> Result<(), ChangeError> {
        self.check(found.is_sealed, found.document.generation())
            .map_err(|_| ChangeError::Unsound)
    }

    pub(super) const fn in_force(&self) -> Option<u64> {
        self.in_force
    }
}
