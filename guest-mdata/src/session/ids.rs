//! Identifiers of requests.

use crate::wire::RequestId;

/// A sequence of identifiers that looks random (SplitMix64), so that an answer to another process's request, or to an
/// earlier one of this process, is not taken for one's own.
#[derive(Debug)]
pub struct RequestIds {
    state: u64,
}

impl RequestIds {
    /// The sequence of this seed. Processes that share a line need different ones.
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next one.
    pub fn next_id(&mut self) -> RequestId {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        RequestId((mixed ^ mixed >> 31) as u32)
    }
}
