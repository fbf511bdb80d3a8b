//! What an owner types in a guest, on whole machines: looking, planning, making zones, doing by hand what services do.

mod bench;
mod by_hand;
mod changes;
mod rescue;
mod tour;
mod zones;
