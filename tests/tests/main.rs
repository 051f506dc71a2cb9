//! Everything that needs more than one block, in one binary, so that it links once.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on should stop with the reason")]

mod architecture;
mod chaos;
mod completeness;
mod dashboards;
mod demo;
mod differential;
mod durability;
mod end_to_end;
mod federation;
mod harness;
mod interoperability;
mod moving;
mod processes;
mod remote_read;
mod replicas;
mod result_cache;
mod rule_tests;
mod side_by_side;
mod storage;
