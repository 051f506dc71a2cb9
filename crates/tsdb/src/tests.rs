//! The store as a whole over a simulated disk.

mod behaviour;
mod damage;
mod full_disk;
mod histograms;
mod late;
mod model_based;
mod rollups;
pub(crate) mod support;
mod threads;
