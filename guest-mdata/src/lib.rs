//! The SmartOS metadata protocol. It is not written yet: this crate is empty until its own issue.
