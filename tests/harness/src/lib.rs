//! Machines and foreign tools for the tests.
