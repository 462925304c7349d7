//! What is sent behind the head of an answer: a few bytes, or a file.
//!
//! Invariant: of a file two blocks are in memory at most, the one that is sent and the one behind it.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::files::{Files, Reading};

/// An answer's body.
pub(super) enum Outgoing {
    /// Nothing, or nothing any more.
    Nothing,
    /// All at once.
    Bytes(Bytes),
    /// A part of a file.
    File(Box<FilePart>),
}

/// What of a file is still to be sent.
pub(super) struct FilePart {
    files: Rc<Files>,
    /// The block that is being read.
    reading: Option<Reading>,
    /// Bytes not yet handed out, that block included.
    left: u64,
}

impl Outgoing {
    /// The next `bytes` bytes of an open file that stands where they begin.
    pub fn file(files: Rc<Files>, file: std::fs::File, bytes: u64) -> Outgoing {
        let reading = (bytes > 0).then(|| files.read(file, bytes));
        match reading {
            Some(reading) => Outgoing::File(Box::new(FilePart { files, reading: Some(reading), left: bytes })),
            None => Outgoing::Nothing,
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Outgoing::Nothing => Poll::Ready(None),
            Outgoing::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Outgoing::Nothing;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Outgoing::File(part) => {
                let Some(reading) = &mut part.reading else { return Poll::Ready(None) };
                let (file, block) = match ready!(reading.as_mut().poll(cx)) {
                    Ok(read) => read,
                    Err(e) => return Poll::Ready(Some(Err(e))),
                };
                part.left = part.left.saturating_sub(block.len() as u64);
                part.reading = (part.left > 0).then(|| part.files.read(file, part.left));
                if part.left == 0 {
                    *self = Outgoing::Nothing;
                }
                Poll::Ready(Some(Ok(Frame::data(Bytes::from(block)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Outgoing::Nothing)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Outgoing::Nothing => 0,
            Outgoing::Bytes(bytes) => bytes.len() as u64,
            Outgoing::File(part) => part.left,
        })
    }
}
