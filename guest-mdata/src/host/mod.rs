//! The host's side of the protocol: what the metadata agent of SmartOS answers to a guest, for runs and tests on any
//! machine.
//!
//! [`Description`] is the machine that guests ask about, [`Agent`] the rules by which they may see and change it, and
//! [`Conversation`] the lines of one guest. Nothing here reads, writes or waits; `kiln metadata serve` does that.
//!
//! The rules are those of `src/vm/lib/metadata/agent.js` and `common.js` of `TritonDataCenter/smartos-live`, with
//! three differences, each for safety: names of JavaScript's own (`constructor`, `__proto__`) are keys like any other,
//! nothing of the internal metadata can be read in a roundabout way (`sdc:internal_metadata.NAME`), and lines have a
//! limit.

mod agent;
mod conversation;
mod description;
mod routes;

pub use agent::{Agent, Update};
pub use conversation::{Answer, Conversation, Dialect, Envelope, Heard};
pub use description::{Description, Flaw};
