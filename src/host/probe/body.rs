//! The body of an answer: read as it comes, decoded, and hashed.

use std::ops::Deref;
use std::time::Duration;

use super::coding::{Coding, Decoder};
use super::sink::{Exceeded, Sink};
use crate::core::http::TransportFailure;
use crate::core::probe::SeenBody;
use crate::host::http::answer::Answer;
use crate::host::http::failure::unknown;

/// So many coded bytes are decoded at once.
const PIECE_BYTES: usize = 4096;
/// After so many decoded bytes other tasks of the thread have their turn.
const BETWEEN_TURNS: u64 = 1024 * 1024;

/// Reads the body of `answer` into `sink`, with no more than `between_ms` between two pieces. Returns how many bytes came over
/// the network as well.
///
/// # Errors
/// A body that is cut, or stops.
pub(super) async fn read(
    answer: &mut Answer,
    sink: Sink,
    between_ms: u64,
) -> Result<(SeenBody, u64), TransportFailure> {
    let coding = match Coding::of(answer.headers()) {
        Ok(coding) => coding,
        Err(names) => return Ok((SeenBody::Coded(names), 0)),
    };
    let Some(first) = next(answer, between_ms).await? else {
        // Nothing is nothing in any coding.
        return Ok((digest(sink).await?, 0));
    };
    let mut decoder = Decoder::new(coding, first.first().copied().unwrap_or_default(), sink);
    let (mut chunk, mut bytes, mut turn) = (Some(first), 0, 0);
    while let Some(received) = chunk {
        bytes += received.len() as u64;
        if decoder.sink().receive(received.len()).is_err() {
            return Ok((refused(decoder.sink(), coding), bytes));
        }
        for piece in received.chunks(PIECE_BYTES) {
            if decoder.write(piece).is_err() {
                return Ok((refused(decoder.sink(), coding), bytes));
            }
            if decoder.sink().decoded() > turn + BETWEEN_TURNS {
                turn = decoder.sink().decoded();
                tokio::task::yield_now().await;
            }
        }
        drop(received);
        chunk = next(answer, between_ms).await?;
    }
    if decoder.finish().is_err() {
        return Ok((refused(decoder.sink(), coding), bytes));
    }
    match decoder.into_sink() {
        Ok(sink) => Ok((digest(sink).await?, bytes)),
        Err(_) => Ok((undecoded(coding), bytes)),
    }
}

/// The next bytes of the body; `None` at its end.
async fn next(
    answer: &mut Answer,
    between_ms: u64,
) -> Result<Option<impl Deref<Target = [u8]> + use<>>, TransportFailure> {
    tokio::time::timeout(Duration::from_millis(between_ms), answer.chunk())
        .await
        .unwrap_or_else(|_| Err(unknown(format!("the body stopped for {between_ms} ms"))))
}

/// The digest of all that came.
async fn digest(sink: Sink) -> Result<SeenBody, TransportFailure> {
    if !sink.is_held() {
        return Ok(sink.finish());
    }
    tokio::task::spawn_blocking(|| sink.finish()).await.map_err(|_| unknown("the body could not be hashed".to_owned()))
}

/// Why bytes could not be decoded, or were not taken.
fn refused(sink: &Sink, coding: Coding) -> SeenBody {
    match sink.exceeded() {
        Some(Exceeded::Size) => SeenBody::TooLarge(sink.most_bytes()),
        Some(Exceeded::Ratio) => SeenBody::Coded(format!("{}, with more than 1000 bytes for one", coding.name())),
        None => undecoded(coding),
    }
}

fn undecoded(coding: Coding) -> SeenBody {
    SeenBody::Coded(format!("{}, which it is not", coding.name()))
}
