//! Replicas in front of a store in memory.

mod cases;
mod markers;
mod requests;
mod support;
mod watermark;
mod worlds;
