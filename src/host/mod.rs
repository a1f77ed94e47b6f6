//! Effects: what touches the machine, one seam a file.

pub mod manifest_files;
