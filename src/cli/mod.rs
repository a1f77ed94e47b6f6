//! The command line: arguments in, text and exit status out.

pub mod diagnostics;
