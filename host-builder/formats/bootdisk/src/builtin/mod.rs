//! The built-in block-list loader: its image, the writer of its tables, and its recogniser.
