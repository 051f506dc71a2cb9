//! Requests and their exact answers, against a small store.

mod administration;
mod answers;
mod federation;
mod fixture;
mod hostile;
mod transport;
