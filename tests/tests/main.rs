//! Everything that needs more than one block, in one binary, so that it links once.

mod architecture;
mod dashboards;
mod harness;
mod interoperability;
mod processes;
