//! Centrals in one process: stores on a disk, endpoints on loopback, comparisons one by one.

mod agreement;
mod hostile;
mod support;
