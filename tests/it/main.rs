//! Everything that needs more than one layer, in one binary so that it links once.

mod host_http;
mod real_caches;
mod support;
