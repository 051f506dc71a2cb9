//! Requests and their exact answers, against a small store.

mod administration;
mod answers;
mod clients;
mod description;
mod exemplars;
mod federation;
mod fixture;
mod fleet;
mod hostile;
mod remote_read;
mod transport;
