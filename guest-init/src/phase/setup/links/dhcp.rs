//! What is asked of DHCP servers.

use std::io;
use std::path::Path;

use anyhow::{Context, Result};

use crate::files::{self, Owner};

/// The defaults of the DHCP agent, which it reads anew for every link (illumos `dhcpagent(8)`).
const FILE: &str = "/etc/default/dhcpagent";

/// The longest file that is read, in bytes.
const LONGEST: u64 = 64 << 10;

/// Netmask, DNS servers, host name, domain, broadcast address: the platform's own list without 3, the router. Only one card
/// has a default route, the first.
const REQUEST: &str = "1,6,12,15,28";

/// Keeps the agent from asking for a router on this link.
pub fn ask_for_no_router(link: &str) -> Result<()> {
    let path = Path::new(FILE);
    let text = match files::read(path, LONGEST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {FILE}")),
    };
    files::keep(path, &with_request(&text, link), Owner::root(0o644))
        .with_context(|| format!("cannot write {FILE}"))?;
    Ok(())
}

/// The file with a line for the link, unless somebody has put one there.
fn with_request(text: &[u8], link: &str) -> Vec<u8> {
    let name = format!("{link}.PARAM_REQUEST_LIST=");
    let mut result = text.to_vec();
    if text.split(|&byte| byte == b'\n').any(|line| line.trim_ascii_start().starts_with(name.as_bytes())) {
        return result;
    }
    if result.last().is_some_and(|&byte| byte != b'\n') {
        result.push(b'\n');
    }
    result.extend_from_slice(format!("{name}{REQUEST}\n").as_bytes());
    result
}

#[cfg(test)]
mod tests {
    use super::with_request;

    #[test]
    fn one_line_a_link() {
        let once = with_request(b"RELEASE_ON_SIGTERM=yes", "e1000g1");
        assert_eq!(once, b"RELEASE_ON_SIGTERM=yes\ne1000g1.PARAM_REQUEST_LIST=1,6,12,15,28\n");
        assert_eq!(with_request(&once, "e1000g1"), once);
        let own = b"e1000g1.PARAM_REQUEST_LIST=1,3\n";
        assert_eq!(with_request(own, "e1000g1"), own);
        assert_eq!(with_request(&once, "e1000g10").len(), once.len() + 41);
    }
}
