//! Codings of a body, undone as it comes.

use std::io::{self, Write};

use brotli_decompressor::{BrotliDecoderParameter, DecompressorWriter};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use self::zstd::ZstdDecoder;
use super::sink::Sink;

mod zstd;

/// Decoded bytes that are handed on at once.
const BUFFER_BYTES: usize = 16 * 1024;

/// Longest name of a coding that is kept, in characters.
const LONGEST_NAME: usize = 64;

/// A coding that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    /// With a frame of zlib, or without, as some servers send it.
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    /// The one coding of a body, by the headers of its answer.
    ///
    /// # Errors
    /// The names of several, or of one that cannot be undone.
    pub(super) fn of<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Self, String> {
        let is_coding = |name: &str| matches!(name, "content-encoding" | "transfer-encoding");
        let values = headers.filter(|(name, _)| is_coding(name)).map(|(_, value)| String::from_utf8_lossy(value));
        let names: Vec<String> = values
            .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()).collect::<Vec<_>>())
            .filter(|name| !matches!(name.as_str(), "" | "identity" | "chunked"))
            .collect();
        match names.as_slice() {
            [] => Ok(Self::Identity),
            [one] if matches!(one.as_str(), "gzip" | "x-gzip") => Ok(Self::Gzip),
            [one] if one == "deflate" => Ok(Self::Deflate),
            [one] if one == "br" => Ok(Self::Brotli),
            [one] if one == "zstd" => Ok(Self::Zstd),
            _ => Err(names.join(", ").chars().take(LONGEST_NAME).collect()),
        }
    }

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// Undoes a coding on the way into a sink.
pub(super) enum Decoder {
    Plain(Box<Sink>),
    Gzip(Box<MultiGzDecoder<Sink>>),
    Zlib(Box<ZlibDecoder<Sink>>),
    Raw(Box<DeflateDecoder<Sink>>),
    Brotli(Box<DecompressorWriter<Sink>>),
    Zstd(Box<ZstdDecoder<Sink>>),
}

impl Decoder {
    /// A decoder for a body that begins with `first`.
    pub(super) fn new(coding: Coding, first: u8, sink: Sink) -> Self {
        match coding {
            Coding::Identity => Self::Plain(Box::new(sink)),
            Coding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(sink))),
            // The method of compression in a frame. Without one, no block begins so.
            Coding::Deflate if first & 0x0f == 8 => Self::Zlib(Box::new(ZlibDecoder::new(sink))),
            Coding::Deflate => Self::Raw(Box::new(DeflateDecoder::new(sink))),
            Coding::Brotli => {
                let mut decoder = DecompressorWriter::new(sink, BUFFER_BYTES);
                // Windows of up to a gigabyte are no part of the coding that HTTP knows.
                decoder.set_parameter(BrotliDecoderParameter::BROTLI_DECODER_PARAM_LARGE_WINDOW, 0);
                Self::Brotli(Box::new(decoder))
            }
            Coding::Zstd => Self::Zstd(Box::new(ZstdDecoder::new(sink))),
        }
    }

    /// Takes coded bytes.
    ///
    /// # Errors
    /// They are not what the coding says, or the sink refuses what they stand for.
    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(sink) => sink.write_all(piece),
            Self::Gzip(decoder) => decoder.write_all(piece),
            Self::Zlib(decoder) => decoder.write_all(piece),
            Self::Raw(decoder) => decoder.write_all(piece),
            Self::Brotli(decoder) => decoder.write_all(piece),
            Self::Zstd(decoder) => decoder.write(piece),
        }
    }

    /// Ends the body.
    ///
    /// # Errors
    /// As for [`write`](Self::write); it is cut as well.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Zlib(decoder) => decoder.try_finish(),
            Self::Raw(decoder) => decoder.try_finish(),
            Self::Brotli(decoder) => decoder.close(),
            Self::Zstd(decoder) => decoder.finish(),
        }
    }

    pub(super) fn sink(&mut self) -> &mut Sink {
        match self {
            Self::Plain(sink) => sink,
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zlib(decoder) => decoder.get_mut(),
            Self::Raw(decoder) => decoder.get_mut(),
            Self::Brotli(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }

    /// The sink, once the body has [ended](Self::finish).
    pub(super) fn into_sink(self) -> io::Result<Sink> {
        match self {
            Self::Plain(sink) => Ok(*sink),
            Self::Gzip(decoder) => decoder.finish(),
            Self::Zlib(decoder) => decoder.finish(),
            Self::Raw(decoder) => decoder.finish(),
            Self::Brotli(decoder) => decoder.into_inner().map_err(|_| io::ErrorKind::InvalidData.into()),
            Self::Zstd(decoder) => Ok(decoder.into_inner()),
        }
    }
}
