//! Configurations, hostile targets, and the life of pools over reloads: with real sockets, and a store that remembers.

mod configuration;
mod hostile;
mod reload;
mod support;
mod watermark;

pub(crate) use support::scrape_config;
