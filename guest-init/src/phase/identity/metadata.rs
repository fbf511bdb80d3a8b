//! What the host says about this guest.

use std::time::Duration;

use guest_mdata::{Clock, Deadline, Error, MetadataSource};

/// What the host says about this guest. A host that was silent once is not waited for as long again.
pub struct Metadata {
    source: Box<dyn MetadataSource>,
    clock: Box<dyn Clock>,
    /// How long a request may take.
    patience: Duration,
}

impl Metadata {
    /// From this source.
    pub fn new(source: Box<dyn MetadataSource>, clock: Box<dyn Clock>, patience: Duration) -> Self {
        Self { source, clock, patience }
    }

    /// The value of a key, if there is one.
    pub fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.source.get(key, Deadline::after(self.patience, &*self.clock))
    }

    /// Stores a value, which must not be empty. The host may take so long.
    pub fn put(&mut self, key: &str, value: &[u8], patience: Duration) -> Result<(), Error> {
        self.source.put(key, value, Deadline::after(patience, &*self.clock))
    }
}
