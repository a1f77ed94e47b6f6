//! The line of a manifest that is shown with a problem: cut, cleaned and without what must be hidden, so that neither a line of
//! megabytes nor a terminal escape nor a secret reaches the terminal.

use std::ops::Range;

use super::diagnostic::{Hidden, Span};
use super::problem::printable_char;
use super::redact::{MASK, WINDOW_BYTES};
use super::source::SourceFile;

/// Most characters that are shown of a line.
const MAX_LINE_CHARS: usize = 140;
/// Characters kept before the marked place when a line is cut.
const CONTEXT_CHARS: usize = 40;

/// One line as it is shown.
pub(crate) struct Excerpt {
    /// Its text, cut and cleaned.
    pub(crate) text: String,
    /// The bytes of the text that the problem is about.
    pub(crate) marked: Range<usize>,
    /// Whether columns of the text are not those of the line: its beginning is cut off, or something before the place is masked.
    pub(crate) is_cut: bool,
}

impl Excerpt {
    /// The line of `file` at `span`.
    pub(crate) fn of(files: &[SourceFile], hidden: &[Hidden], file: usize, span: Span) -> Self {
        let bytes = files.get(file).and_then(|file| file.text().ok()).unwrap_or_default();
        let start = (span.start as usize).min(bytes.len());
        let line_start = bytes[..start].iter().rposition(|b| matches!(b, b'\n' | b'\r')).map_or(0, |at| at + 1);
        let line_end =
            bytes[start..].iter().position(|b| matches!(b, b'\n' | b'\r')).map_or(bytes.len(), |at| start + at);
        // Far more than is shown; the rest of a line of megabytes is not looked at.
        let window =
            line_start.max(start.saturating_sub(WINDOW_BYTES))..line_end.min(start.saturating_add(WINDOW_BYTES));
        let end = (span.end as usize).clamp(start, window.end);
        let hidden: Vec<&Hidden> = hidden
            .iter()
            .filter(|piece| piece.file == file && (piece.start as usize) < line_end && piece.end as usize > line_start)
            .collect();
        let hidden_at = |at: usize| {
            hidden.iter().find(|piece| (piece.start as usize..piece.end as usize).contains(&at)).map(|piece| piece.end)
        };
        let mut shown: Vec<(usize, char)> = Vec::new();
        let mut masked_to = 0;
        let mut at = window.start;
        for chunk in bytes[window].utf8_chunks() {
            for c in chunk.valid().chars() {
                let begin = at;
                at += c.len_utf8();
                if begin == 0 && c == '\u{feff}' || begin < masked_to {
                    continue;
                }
                if let Some(end) = hidden_at(begin) {
                    shown.extend(MASK.chars().map(|c| (begin, c)));
                    masked_to = end as usize;
                    continue;
                }
                // `##[` is a command to some CI systems, wherever in a line it stands.
                let is_command = c == '[' && matches!(shown.as_slice(), [.., (_, '#'), (_, '#')]);
                shown.push((begin, if is_command { char::REPLACEMENT_CHARACTER } else { printable_char(c) }));
            }
            if !chunk.invalid().is_empty() {
                if at >= masked_to {
                    shown.push((at, char::REPLACEMENT_CHARACTER));
                }
                at += chunk.invalid().len();
            }
        }
        let has_mask = hidden.iter().any(|piece| (piece.start as usize) < start);
        // What is marked of a secret is its mask.
        let start =
            hidden_at(start).and_then(|_| shown.iter().rev().find(|(at, _)| *at <= start)).map_or(start, |(at, _)| *at);
        let excerpt = cut(&shown, start, end);
        Self { is_cut: excerpt.is_cut || has_mask, ..excerpt }
    }
}

/// Cuts a line around the marked bytes.
fn cut(line: &[(usize, char)], start: usize, end: usize) -> Excerpt {
    let marked = line.partition_point(|(at, _)| *at < start)..line.partition_point(|(at, _)| *at < end);
    let from = if line.len() > MAX_LINE_CHARS { marked.start.saturating_sub(CONTEXT_CHARS) } else { 0 };
    let to = line.len().min(from + MAX_LINE_CHARS);
    let mut text = String::new();
    if from > 0 {
        text.push('…');
    }
    let mut range = None;
    let mut range_end = None;
    for (index, (_, c)) in line.iter().enumerate().take(to).skip(from) {
        if index == marked.start {
            range = Some(text.len());
        }
        if index == marked.end {
            range_end = Some(text.len());
        }
        text.push(*c);
    }
    let start = range.unwrap_or(text.len());
    let end = range_end.unwrap_or(text.len()).max(start);
    if to < line.len() {
        text.push('…');
    }
    Excerpt { text, marked: start..end, is_cut: from > 0 }
}
