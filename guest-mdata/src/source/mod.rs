//! Where metadata comes from: the host, or a list in memory.

mod recorded;

pub use recorded::Recorded;

use crate::clock::Deadline;
use crate::error::Error;

/// Something that has metadata. Values are bytes; most are UTF-8 text.
pub trait MetadataSource {
    /// The value of `key`, or `None` if there is no such key. An empty value is a value.
    fn get(&mut self, key: &str, deadline: Deadline) -> Result<Option<Vec<u8>>, Error>;

    /// Stores a value, which must not be empty.
    fn put(&mut self, key: &str, value: &[u8], deadline: Deadline) -> Result<(), Error>;

    /// Forgets a key. One that is not there is forgotten already.
    fn delete(&mut self, key: &str, deadline: Deadline) -> Result<(), Error>;

    /// The names of the keys that the instance's owner set. Those with the prefix `sdc:` are never among them.
    fn keys(&mut self, deadline: Deadline) -> Result<Vec<String>, Error>;

    /// Leaves the channel to others, who cannot ask as long as it is held, until the next request.
    fn release(&mut self) {}
}
