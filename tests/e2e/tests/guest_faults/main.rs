//! External commands that fail while a guest boots, in whatever way.

mod key;
mod sweep;
mod view;
