//! Everything that needs more than one layer, in one binary so that it links once.

#![expect(
    clippy::disallowed_methods,
    reason = "tests start programs, read their own environment and look at real clocks"
)]

mod acceptance;
mod accounts;
mod addresses;
mod cli_apply;
mod cli_bad_input;
mod cli_commands;
mod cli_queries;
mod cli_scan;
mod cli_unchanged;
mod collapse;
mod concealed;
mod conformance;
mod crash;
mod doubt;
mod emulators;
mod examples;
mod executor;
mod fuzz;
mod guards;
mod host_http;
mod host_probe;
mod json_schemas;
mod lost_purge;
mod machine;
mod manifest_hints;
mod manifest_proof;
mod manifests;
mod namespaces;
mod newcomer;
mod offers;
mod owners;
mod planning;
mod proof_shown;
mod quotas;
mod readme;
mod real_caches;
mod rounds;
mod secrets;
mod serve;
mod signing;
mod simple_lists;
mod sources;
mod state_files;
mod store;
mod support;
mod tidy;
mod watch;
