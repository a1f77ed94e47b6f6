//! Zstandard, frame by frame and block by block (RFC 8878). The decoder reads whole blocks only, so they are gathered here.

use std::io::{self, Write};

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Largest window that a body in this coding may have (RFC 9659).
const MOST_WINDOW_BYTES: u64 = 8 * 1024 * 1024;
/// Longest block.
const MOST_BLOCK_BYTES: usize = 128 * 1024;

const FRAME: u32 = 0xfd2f_b528;
/// A frame of anything, which is passed over. The last four bits are free.
const SKIPPED_FRAME: u32 = 0x184d_2a50;

const BLOCK_HEADER_BYTES: usize = 3;
const SUM_BYTES: usize = 4;
/// Type of a block that repeats its one byte.
const REPEATED: u32 = 1;
/// Type of no block.
const RESERVED: u32 = 3;

/// Writes what coded bytes stand for.
pub(in crate::host::probe) struct ZstdDecoder<W> {
    writer: W,
    frames: FrameDecoder,
    /// Coded bytes that are not yet whole.
    pending: Vec<u8>,
    next: Part,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Part {
    Frame,
    Block { is_summed: bool },
    Skipped(u64),
}

impl<W: Write> ZstdDecoder<W> {
    pub(super) fn new(writer: W) -> Self {
        let mut frames = FrameDecoder::new();
        frames.set_max_window_size(MOST_WINDOW_BYTES);
        Self { writer, frames, pending: Vec::new(), next: Part::Frame }
    }

    pub(super) fn get_mut(&mut self) -> &mut W {
        &mut self.writer
    }

    pub(super) fn into_inner(self) -> W {
        self.writer
    }

    /// Takes coded bytes.
    ///
    /// # Errors
    /// They are no frames of Zstandard, or the writer refuses what they stand for.
    pub(super) fn write(&mut self, coded: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(coded);
        let mut done = 0;
        while let Some(bytes) = self.part(done)? {
            done += bytes;
        }
        self.pending.drain(..done);
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    /// It is cut.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let is_whole = self.pending.is_empty() && matches!(self.next, Part::Frame | Part::Skipped(0));
        if is_whole { Ok(()) } else { Err(broken()) }
    }

    /// Decodes the next part of what is pending from `at` on, and returns its length; `None`: it is not there as a whole.
    fn part(&mut self, at: usize) -> io::Result<Option<usize>> {
        let pending = &self.pending[at..];
        match self.next {
            Part::Skipped(0) => self.next = Part::Frame,
            Part::Skipped(bytes) => {
                let there = pending.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
                self.next = Part::Skipped(bytes - there as u64);
                return Ok((there > 0).then_some(there));
            }
            Part::Frame => {
                let Some(magic) = number(pending, 4) else { return Ok(None) };
                if magic & !0xf == SKIPPED_FRAME {
                    let Some(bytes) = pending.get(4..).and_then(|rest| number(rest, 4)) else { return Ok(None) };
                    self.next = Part::Skipped(bytes.into());
                    return Ok(Some(8));
                }
                if magic != FRAME {
                    return Err(broken());
                }
                let Some((bytes, is_summed)) = frame_header(pending) else { return Ok(None) };
                self.frames.reset(&pending[..bytes]).map_err(|_| broken())?;
                self.next = Part::Block { is_summed };
                return Ok(Some(bytes));
            }
            Part::Block { is_summed } => {
                let Some((bytes, is_last)) = block(pending)? else { return Ok(None) };
                let bytes = bytes + if is_last && is_summed { SUM_BYTES } else { 0 };
                let Some(whole) = pending.get(..bytes) else { return Ok(None) };
                self.frames.decode_blocks(whole, BlockDecodingStrategy::UptoBlocks(1)).map_err(|_| broken())?;
                self.frames.collect_to_writer(&mut self.writer)?;
                if is_last {
                    self.next = Part::Frame;
                }
                return Ok(Some(bytes));
            }
        }
        Ok(Some(0))
    }
}

/// The length of the header of a frame, and whether a sum follows its blocks; `None`: it is not there as a whole.
fn frame_header(coded: &[u8]) -> Option<(usize, bool)> {
    let descriptor = *coded.get(4)?;
    let is_single = descriptor & 0b0010_0000 != 0;
    let window = usize::from(!is_single);
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 0b11)];
    let size = match descriptor >> 6 {
        0 => usize::from(is_single),
        power => 1 << power,
    };
    let bytes = 5 + window + dictionary + size;
    (coded.len() >= bytes).then_some((bytes, descriptor & 0b100 != 0))
}

/// The length of a block with its header, and whether it is the last one; `None`: its header is not there.
fn block(coded: &[u8]) -> io::Result<Option<(usize, bool)>> {
    let Some(header) = number(coded, BLOCK_HEADER_BYTES) else { return Ok(None) };
    let (is_last, kind, size) = (header & 1 != 0, header >> 1 & 0b11, (header >> 3) as usize);
    if kind == RESERVED || size > MOST_BLOCK_BYTES {
        return Err(broken());
    }
    let content = if kind == REPEATED { 1 } else { size };
    Ok(Some((BLOCK_HEADER_BYTES + content, is_last)))
}

/// The number in the first `bytes` of `coded`, the least first.
fn number(coded: &[u8], bytes: usize) -> Option<u32> {
    let digits = coded.get(..bytes)?;
    Some(digits.iter().rev().fold(0, |number, digit| number << 8 | u32::from(*digit)))
}

fn broken() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
