//! Which platform gets which piece.
//!
//! `from` is the first stamp that gets a piece, `until` the first that does not; empty means no bound. Where a platform
//! changed on some day, builds of that day may be old or new: the bound is then the next day when the older piece also
//! works on the newer platform.

use super::Home::{BootArchive, Custom};
use super::Piece;

/// OpenSSH took the place of SunSSH (illumos-extra OS-4688, 2015-08-14). It still takes SunSSH's words.
const OPENSSH: &str = "20150815T000000Z";

/// ntpd became 4.2.7p446 (illumos-extra, July 2014), the first with `pool` and `restrict source`.
const NTP_POOLS: &str = "20140801T000000Z";

macro_rules! piece {
    ($home:ident, $path:literal, $file:literal, $from:expr, $until:expr) => {
        Piece {
            home: $home,
            path: $path,
            contents: include_str!(concat!("../../../overlays/", $file)),
            from: $from,
            until: $until,
        }
    };
}

/// All pieces.
#[rustfmt::skip]
pub(super) const PIECES: &[Piece] = &[
    piece!(BootArchive, "etc/cron.d/crontabs/root", "boot_archive/etc/cron.d/crontabs/root",     "",        ""),
    piece!(BootArchive, "etc/inet/ntp.conf",        "boot_archive/etc/inet/ntp.conf.servers",    "",        NTP_POOLS),
    piece!(BootArchive, "etc/inet/ntp.conf",        "boot_archive/etc/inet/ntp.conf.pool",       NTP_POOLS, ""),
    piece!(BootArchive, "etc/issue",                "boot_archive/etc/issue",                    "",        ""),
    piece!(BootArchive, "etc/ssh/sshd_config",      "boot_archive/etc/ssh/sshd_config.sunssh",   "",        OPENSSH),
    piece!(BootArchive, "etc/ssh/sshd_config",      "boot_archive/etc/ssh/sshd_config.openssh",  OPENSSH,   ""),
    piece!(Custom,      "etc/zone.json.tmpl",       "custom/etc/zone.json.tmpl",                 "",        ""),
    piece!(Custom,      "root/.bash_history",       "custom/root/.bash_history",                 "",        ""),
    piece!(Custom,      "root/.bash_profile",       "custom/root/.bash_profile",                 "",        ""),
    piece!(Custom,      "root/.bashrc",             "custom/root/.bashrc",                       "",        ""),
    piece!(Custom,      "root/.curlrc",             "custom/root/.curlrc",                       "",        ""),
    piece!(Custom,      "root/.profile",            "custom/root/.profile",                      "",        ""),
    piece!(Custom,      "root/.ssh/authorized_keys", "custom/root/.ssh/authorized_keys",         "",        ""),
    piece!(Custom,      "root/.vimrc",              "custom/root/.vimrc",                        "",        ""),
];
