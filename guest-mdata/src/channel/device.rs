//! Which channel to use: the one that was named, or the one that this kind of guest has.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Channel, Serial, Tcp, Unix};

/// Where a zone's socket can be, in the order to look: since SDC 7, for an LX zone, and until SDC 6.
pub const ZONE_SOCKETS: [&str; 3] =
    ["/.zonecontrol/metadata.sock", "/native/.zonecontrol/metadata.sock", "/var/run/smartdc/metadata.sock"];

/// The SMBIOS product name of a virtual machine of SmartOS.
const HVM_PRODUCT: &str = "SmartDC HVM";
/// What it begins with; Linux guests have always looked for no more.
const HVM_PRODUCT_PREFIX: &str = "SmartDC";
/// The version that the kernel of an LX zone says it is.
const LX_KERNEL: &str = "BrandZ virtual linux";

/// A channel by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// A serial port.
    Serial(PathBuf),
    /// The first of these that is a Unix socket.
    Unix(Vec<PathBuf>),
    /// A TCP server.
    Tcp(SocketAddr),
}

/// The name of a device that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no device: use PATH, unix:PATH or tcp:IP:PORT")]
pub struct UnknownDevice(String);

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, UnknownDevice> {
        let unknown = || UnknownDevice(name.to_owned());
        if let Some(address) = name.strip_prefix("tcp:") {
            return address.parse().map(Self::Tcp).map_err(|_| unknown());
        }
        let path = name.strip_prefix("unix:").unwrap_or(name);
        if path.is_empty() {
            return Err(unknown());
        }
        Ok(if path.len() < name.len() { Self::Unix(vec![path.into()]) } else { Self::Serial(path.into()) })
    }
}

impl Device {
    /// The channel to it. `superuser`: see [`Unix::new`].
    pub fn channel(self, superuser: bool) -> Box<dyn Channel> {
        match self {
            Self::Serial(path) => Box::new(Serial::new(path)),
            Self::Unix(paths) => Box::new(Unix::new(paths, superuser)),
            Self::Tcp(address) => Box::new(Tcp::new(address)),
        }
    }
}

/// What a guest knows about itself that tells which channel it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guest {
    /// An illumos zone that is not the global one.
    Zone,
    /// The global zone of illumos, with the SMBIOS product name if there is one.
    GlobalZone {
        /// The product name of SMBIOS structure type 1.
        product: Option<String>,
    },
    /// Linux, with what it says of the machine and of itself.
    Linux {
        /// The product name of SMBIOS structure type 1.
        product: Option<String>,
        /// The version that `uname -v` prints.
        kernel: String,
    },
}

/// A machine that has no channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "I don't know how to get metadata on this system. It is no SmartOS guest ({}); --device names a channel",
    .product.as_ref().map_or("no SMBIOS product name".to_owned(), |name| format!("SMBIOS product '{name}'"))
)]
pub struct UnknownGuest {
    product: Option<String>,
}

impl Guest {
    /// The channel that such a guest has.
    ///
    /// The original client asks Linux for nothing and takes `/dev/ttyS1` of any machine. Here only a machine that has
    /// no product name at all gets that; one that says it is something else is left alone.
    pub fn device(self) -> Result<Device, UnknownGuest> {
        match self {
            Self::Zone => Ok(Device::Unix(ZONE_SOCKETS.map(PathBuf::from).to_vec())),
            Self::GlobalZone { product: Some(product) } if product == HVM_PRODUCT => {
                Ok(Device::Serial("/dev/term/b".into()))
            }
            Self::Linux { kernel, .. } if kernel == LX_KERNEL => {
                Ok(Device::Unix(vec![ZONE_SOCKETS[1].into()]))
            }
            Self::Linux { product, .. }
                if product.as_ref().is_none_or(|name| name.starts_with(HVM_PRODUCT_PREFIX)) =>
            {
                Ok(Device::Serial("/dev/ttyS1".into()))
            }
            Self::GlobalZone { product } | Self::Linux { product, .. } => Err(UnknownGuest { product }),
        }
    }
}
