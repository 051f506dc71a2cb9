//! The decisions of a router: synchronous and without a clock, so that tables can test them.

pub mod alert;
pub mod dedup;
pub mod group;
pub mod inhibit;
pub mod matchers;
pub mod order;
pub mod replica;
pub mod route;
pub mod silence;
pub mod state;
pub mod time_interval;
