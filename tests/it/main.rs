//! One binary for all integration tests, so that it links once.

mod conformance;
mod emulators;
mod signing;
