//! Nothing here: the tests are in `tests/`, one integration binary.
