//! File systems as trees and as text: what a real system lists of a folder, beside what a [`kiln_zstream::fs::Tree`] says.
//!
//! The text is made here on both sides: of trees by the tests, of folders by the program `witness`, which runs where the folder is.

mod alter;
mod dice;
mod listing;
mod pieces;

pub use alter::alter;
pub use dice::Dice;
pub use listing::{Listed, System, of_folder, of_tree};
