//! Everything that needs more than one block.

mod architecture;
