//! An object on its way in. The index of a plain one is built while it arrives; an encrypted one has to be whole before it
//! opens.

use std::borrow::Cow;

use bytes::Bytes;

use super::LoadError;
use crate::{
    core::index::{Arriving, Index},
    courtesy::Turns,
    envelope::{self, Envelope},
    store,
};

pub(super) struct Intake {
    form: Form,
    announced: usize,
    keeps_document: bool,
}

/// What the object's first bytes say that it is.
enum Form {
    /// Too few have arrived.
    Unknown(Vec<u8>),
    Plain {
        index: Box<Arriving>,
        document: Option<Vec<u8>>,
    },
    Sealed(Vec<u8>),
}

impl Intake {
    /// `keeps_document`: not only the index is wanted at the end.
    pub(super) fn new(keeps_document: bool) -> Self {
        Self {
            form: Form::Unknown(Vec::new()),
            announced: 0,
            keeps_document,
        }
    }

    pub(super) fn is_sealed(&self) -> bool {
        matches!(self.form, Form::Sealed(_))
    }

    /// The index of all that has arrived, and its document where that is kept.
    pub(super) fn finish(self, envelope: &Envelope) -> Result<(Index, Option<Bytes>), LoadError> {
        let turns = Turns::begin();
        match self.form {
            Form::Sealed(object) => {
                let document = envelope.open(&object).map(Cow::into_owned)?;
                // It is a third larger than its document and no longer needed.
                drop(object);
                let index = Index::build_with_pauses(&document, || turns.pause())?;
                Ok((index, self.keeps_document.then(|| document.into())))
            }
            Form::Plain { index, document } => Ok((index.finish(|| turns.pause())?, document.map(Bytes::from))),
            Form::Unknown(few) => Ok((Index::build(&few)?, Some(few.into()))),
        }
    }

    fn plain(&self) -> Form {
        Form::Plain {
            index: Box::default(),
            document: self.keeps_document.then(|| Vec::with_capacity(self.announced)),
        }
    }
}

impl store::Intake for Intake {
    fn announce(&mut self, len: usize) {
        self.announced = len;
    }

    fn take(&mut self, piece: &[u8]) {
        match &mut self.form {
            Form::Sealed(object) => object.extend_from_slice(piece),
            Form::Plain { index, document } => {
                index.take(piece);
                if let Some(document) = document {
                    document.extend_from_slice(piece);
                }
            }
            Form::Unknown(begin) => {
                begin.extend_from_slice(piece);
                if begin.len() < envelope::HEADER.len() {
                    return;
                }
                let begin = std::mem::take(begin);
                self.form = if Envelope::is_sealed(&begin) {
                    Form::Sealed(Vec::with_capacity(self.announced))
                } else {
                    self.plain()
                };
                self.take(&begin);
            }
        }
    }
}
