//! The pure core: values in, decisions out. No clock, environment, files, network, randomness or async.

pub mod algorithm;
pub mod apply;
pub mod budget;
pub mod changes;
pub mod collapse;
pub mod contract;
pub mod diff;
pub mod entries;
pub mod event;
pub mod guard;
pub mod http;
pub mod lane;
pub mod model;
pub mod pack;
pub mod plan;
pub mod query;
pub mod quota;
pub mod recorded;
pub mod report;
pub mod retry;
pub mod secret;
pub mod states;
pub mod target;
pub mod text;
pub mod time;
pub mod watch;
