//! Which platform gets which piece.
//!
//! `from` is the first stamp that gets a piece, `until` the first that does not; empty means no bound. Where a platform
//! changed on some day, builds of that day may be old or new: the bound is then the next day when the older piece also
//! works on the newer platform.

use super::Home::{BootArchive, Custom};
use super::{Matter, Piece};

/// OpenSSH took the place of SunSSH (illumos-extra OS-4688, 2015-08-14). It still takes SunSSH's words. Its platforms keep a file
/// of their own, which changes with its releases; guest-init changes in it what has to be.
const OPENSSH: &str = "20150815T000000Z";

/// ntpd became 4.2.7p446 (illumos-extra, July 2014), the first with `pool` and `restrict source`.
const NTP_POOLS: &str = "20140801T000000Z";

/// The platform got its own `mdata-get` for the global zone (smartos-live TOOLS-292, 2013-10-24). As in the original, the first
/// year that surely has it begins later.
const MDATA: &str = "20140101T000000Z";

/// The last platform whose ntpd the original replaced has the stamp 20151103T000000Z.
const NTPD: &str = "20151103T000001Z";

/// The program of the first boot.
const GUEST_INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest-init"));

/// The commands of the metadata channel.
const MDATA_COMMANDS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mdata"));

macro_rules! piece {
    ($home:ident, $path:literal, text $file:literal, $from:expr, $until:expr) => {
        piece!($home, $path, Matter::Text(include_str!(concat!("../../../", $file))), $from, $until)
    };
    ($home:ident, $path:literal, link $target:literal, $from:expr, $until:expr) => {
        piece!($home, $path, Matter::Link($target), $from, $until)
    };
    ($home:ident, $path:literal, program $program:ident, $from:expr, $until:expr) => {
        piece!($home, $path, Matter::Program($program), $from, $until)
    };
    ($home:ident, $path:literal, $matter:expr, $from:expr, $until:expr) => {
        Piece { home: $home, path: $path, matter: $matter, from: $from, until: $until }
    };
}

/// Whether some platform gets a piece of this path in its boot archive.
pub(super) fn in_boot_archive(path: &str) -> bool {
    PIECES.iter().any(|piece| piece.home == BootArchive && piece.path == path)
}

/// All pieces.
#[rustfmt::skip]
pub(super) const PIECES: &[Piece] = &[
    piece!(BootArchive, "etc/cron.d/crontabs/root", text "overlays/boot_archive/etc/cron.d/crontabs/root",    "",        ""),
    piece!(BootArchive, "etc/inet/ntp.conf",        text "overlays/boot_archive/etc/inet/ntp.conf.servers",   "",        NTP_POOLS),
    piece!(BootArchive, "etc/inet/ntp.conf",        text "overlays/boot_archive/etc/inet/ntp.conf.pool",      NTP_POOLS, ""),
    piece!(BootArchive, "etc/issue",                text "overlays/boot_archive/etc/issue",                   "",        ""),
    piece!(BootArchive, "etc/ssh/sshd_config",      text "overlays/boot_archive/etc/ssh/sshd_config.sunssh",  "",        OPENSSH),
    piece!(BootArchive, "lib/svc/manifest/site/guest-setup.xml",      text "smf/guest-setup.xml",             "",        ""),
    piece!(BootArchive, "lib/svc/manifest/site/guest-userscript.xml", text "smf/guest-userscript.xml",        "",        ""),
    piece!(BootArchive, "lib/svc/method/guest-init",         program GUEST_INIT,                              "",        ""),
    piece!(BootArchive, "lib/svc/method/fs-joyent",          link "guest-init",                               "",        ""),
    piece!(BootArchive, "lib/svc/method/smartdc-config",     link "guest-init",                               "",        ""),
    piece!(BootArchive, "lib/svc/method/smartdc-init",       link "guest-init",                               "",        ""),
    piece!(BootArchive, "lib/svc/method/smartos-setup",      link "guest-init",                               "",        ""),
    piece!(BootArchive, "lib/svc/method/smartos-userscript", link "guest-init",                               "",        ""),
    piece!(BootArchive, "lib/svc/method/ntp",                link "guest-init",                               "",        NTPD),
    piece!(BootArchive, "system/usr/bin/smbios",             link "../../../lib/svc/method/guest-init",       "",        ""),
    piece!(Custom,      "bin/mdata",                program MDATA_COMMANDS,                                   "",        MDATA),
    piece!(Custom,      "bin/mdata-delete",         link "mdata",                                             "",        MDATA),
    piece!(Custom,      "bin/mdata-get",            link "mdata",                                             "",        MDATA),
    piece!(Custom,      "bin/mdata-list",           link "mdata",                                             "",        MDATA),
    piece!(Custom,      "bin/mdata-put",            link "mdata",                                             "",        MDATA),
    piece!(Custom,      "bin/zone-create",          link "/lib/svc/method/guest-init",                        "",        ""),
    piece!(Custom,      "etc/zone.json.tmpl",       text "overlays/custom/etc/zone.json.tmpl",                "",        ""),
    piece!(Custom,      "root/.bash_history",       text "overlays/custom/root/.bash_history",                "",        ""),
    piece!(Custom,      "root/.bash_profile",       text "overlays/custom/root/.bash_profile",                "",        ""),
    piece!(Custom,      "root/.bashrc",             text "overlays/custom/root/.bashrc",                      "",        ""),
    piece!(Custom,      "root/.curlrc",             text "overlays/custom/root/.curlrc",                      "",        ""),
    piece!(Custom,      "root/.profile",            text "overlays/custom/root/.profile",                     "",        ""),
    piece!(Custom,      "root/.ssh/authorized_keys", text "overlays/custom/root/.ssh/authorized_keys",        "",        ""),
    piece!(Custom,      "root/.vimrc",              text "overlays/custom/root/.vimrc",                       "",        ""),
];
