//! remote-write
