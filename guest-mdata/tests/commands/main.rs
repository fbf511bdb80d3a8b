//! The commands as their users run them, over real sockets and pseudo terminals. The numbers in the names are those of
//! the test matrix.
//!
//! The program is the one that cargo built, or the one that `MDATA_BIN` names, run by the words of `MDATA_RUNNER`: so
//! that the illumos executable goes through the same tests.

mod golden;
mod slow;
mod sockets;
mod stage;
mod terminals;
