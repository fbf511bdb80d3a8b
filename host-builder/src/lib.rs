//! kiln builds SmartOS and Triton images on any machine.
