//! The first-boot program of retro images. It is not written yet: this crate is empty until its own issue.
