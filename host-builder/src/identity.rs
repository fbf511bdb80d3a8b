//! Identities that follow from contents.

use uuid::Uuid;

/// Namespace of the image UUIDs that kiln derives (itself a version 5 UUID of `kiln.image` in the DNS namespace).
const NAMESPACE: Uuid = Uuid::from_u128(0xadbc_c575_45e1_5bc8_adf8_f5e8_1f3f_c43d);

/// The UUID of the image that `manifest` describes with a UUID of zeros: its digests are in there, so images that differ never
/// share one.
pub fn of_image(manifest: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, manifest.as_bytes())
}
