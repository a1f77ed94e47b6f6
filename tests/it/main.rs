//! Everything that needs more than one layer, in one binary so that it links once.

mod conformance;
mod emulators;
mod host_http;
mod machine;
mod planning;
mod real_caches;
mod signing;
mod store;
mod support;
