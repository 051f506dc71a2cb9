//! The store as a whole over a simulated disk.

mod behaviour;
mod damage;
mod model_based;
mod rollups;
mod support;
mod threads;
