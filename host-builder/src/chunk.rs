//! Memory for bytes that go to a file or come from one, as direct input and output wants it.

/// What memory, lengths and places in a file have to be multiples of: the sectors of all disks are at most that large.
pub const ALIGNMENT: usize = 4096;

/// Bytes in a chunk, at most.
pub const CHUNK: usize = 1 << 20;

/// At most [`CHUNK`] bytes whose place in memory is a multiple of [`ALIGNMENT`].
#[derive(Debug)]
pub struct Chunk {
    /// Has its full capacity from the beginning, so that it never moves.
    memory: Vec<u8>,
    start: usize,
}

impl Chunk {
    /// An empty chunk.
    pub fn new() -> Chunk {
        let mut memory = Vec::<u8>::with_capacity(CHUNK + ALIGNMENT);
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        // The offset may be unknown by its contract, and then nothing is aligned, which is slower and works.
        let start = if start < ALIGNMENT { start } else { 0 };
        memory.resize(start, 0);
        Chunk { memory, start }
    }

    /// Forgets its bytes.
    pub fn clear(&mut self) {
        self.memory.truncate(self.start);
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..]
    }

    /// Its bytes, for change.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..]
    }

    /// Adds as many bytes from the beginning of `bytes` as there is room for, and says how many that was.
    pub fn fill(&mut self, bytes: &[u8]) -> usize {
        let length = bytes.len().min(CHUNK - self.bytes().len());
        self.memory.extend_from_slice(&bytes[..length]);
        length
    }

    /// Makes it longer with zeros, or shorter; at most [`CHUNK`] bytes.
    pub fn resize(&mut self, length: usize) {
        self.memory.resize(self.start + length.min(CHUNK), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_where_it_is_however_it_is_used() {
        let mut chunk = Chunk::new();
        let place = chunk.bytes().as_ptr();
        assert_eq!(place.align_offset(ALIGNMENT), 0);
        assert_eq!((chunk.fill(&[7; 5]), chunk.fill(&vec![8; 2 * CHUNK])), (5, CHUNK - 5));
        assert_eq!((chunk.bytes().len(), chunk.bytes()[4], chunk.bytes()[5]), (CHUNK, 7, 8));
        chunk.clear();
        assert!(chunk.bytes().is_empty());
        chunk.resize(3);
        assert_eq!(chunk.bytes(), [0; 3]);
        chunk.resize(2 * CHUNK);
        assert_eq!((chunk.bytes().len(), chunk.bytes().as_ptr()), (CHUNK, place));
    }
}
