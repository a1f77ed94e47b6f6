//! The pure core: values in, decisions out. No clock, environment, files, network, randomness or async.

pub mod contract;
pub mod http;
pub mod model;
pub mod secret;
pub mod target;
pub mod time;
