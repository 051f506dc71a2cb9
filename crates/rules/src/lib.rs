//! Recording and alerting rules.

pub mod status;
mod text;
