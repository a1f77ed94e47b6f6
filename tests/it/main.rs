//! Everything that needs more than one layer, in one binary so that it links once.

mod cli_apply;
mod cli_bad_input;
mod cli_commands;
mod conformance;
mod emulators;
mod host_http;
mod manifests;
mod real_caches;
mod secrets;
mod signing;
mod support;
