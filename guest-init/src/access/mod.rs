//! Ways to get in.

pub mod crypt;
pub mod password;
pub mod shadow;
