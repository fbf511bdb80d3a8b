//! What this machine says it is.

use guest_mdata::channel::Guest;

#[cfg(target_os = "illumos")]
mod system {
    use std::process::{Command, Stdio};

    use super::Guest;

    /// Not through PATH: images of old platforms have a wrapper of this name there, which runs `mdata-get` itself.
    const SMBIOS: &str = "/usr/sbin/smbios";

    /// The zone that every other one is in.
    const GLOBAL_ZONE: i32 = 0;

    // SAFETY: it takes nothing and cannot fail (getzoneid(3C), in libc since Solaris 10).
    #[allow(unsafe_code)]
    unsafe extern "C" {
        safe fn getzoneid() -> i32;
    }

    pub fn this() -> Result<Guest, String> {
        if getzoneid() != GLOBAL_ZONE {
            return Ok(Guest::Zone);
        }
        let output = Command::new(SMBIOS)
            .args(["-t", "SMB_TYPE_SYSTEM"])
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .map_err(|error| format!("{SMBIOS} cannot be run: {error}; --device names a channel"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let product = text.lines().find_map(|line| line.trim().strip_prefix("Product:"));
        Ok(Guest::GlobalZone { product: product.map(|name| name.trim().to_owned()) })
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs;

    use super::Guest;

    const PRODUCT: &str = "/sys/class/dmi/id/product_name";

    // The signature is that of systems where it can fail.
    #[allow(clippy::unnecessary_wraps)]
    pub fn this() -> Result<Guest, String> {
        let product = fs::read_to_string(PRODUCT).ok().map(|name| name.trim().to_owned());
        let kernel = rustix::system::uname().version().to_string_lossy().into_owned();
        Ok(Guest::Linux { product, kernel })
    }
}

/// This machine.
pub fn this() -> Result<Guest, String> {
    system::this()
}
