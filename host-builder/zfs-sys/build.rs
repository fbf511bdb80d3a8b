//! Makes Rust's declarations of libzfs_core and libnvpair from the headers of the machine that builds.

fn main() {
    #[cfg(feature = "bindings")]
    bindings::generate();
}

#[cfg(feature = "bindings")]
mod bindings {
    use std::env;
    use std::path::{Path, PathBuf};

    /// The functions that the crate and its tests call, all of them in OpenZFS 2.1 and in illumos since 2013.
    const FUNCTIONS: [&str; 16] = [
        "libzfs_core_init",
        "libzfs_core_fini",
        "lzc_snapshot",
        "lzc_destroy_snaps",
        "lzc_hold",
        "lzc_release",
        "lzc_send",
        "nvlist_alloc",
        "nvlist_free",
        "nvlist_add_boolean",
        "nvlist_add_int32",
        "nvlist_add_string",
        "nvlist_add_nvlist",
        "nvlist_lookup_nvlist",
        "nvlist_next_nvpair",
        "nvpair_value_int32",
    ];

    /// Where Linux keeps the headers, away from those of the system. On illumos they are among them.
    const HEADERS: [&str; 2] = ["/usr/include/libzfs", "/usr/include/libspl"];

    pub fn generate() {
        println!("cargo::rerun-if-changed=build.rs");
        println!("cargo::rustc-link-lib=dylib=zfs_core");
        println!("cargo::rustc-link-lib=dylib=nvpair");

        let folders = HEADERS.iter().filter(|folder| Path::new(folder).is_dir());
        let mut builder = bindgen::Builder::default()
            .header_contents("zfs.h", "#include <libzfs_core.h>\n#include <libnvpair.h>\n")
            .clang_args(folders.map(|folder| format!("-I{folder}")))
            .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
            .allowlist_var("NV_UNIQUE_NAME")
            .opaque_type("nvlist|nvpair")
            .prepend_enum_name(false)
            .formatter(bindgen::Formatter::None);
        for function in FUNCTIONS {
            builder = builder.allowlist_function(function);
        }
        let bindings = builder.generate().unwrap_or_else(|error| {
            panic!(
                "there are no bindings to libzfs_core: {error}\n\
                 They need libclang and the headers of ZFS; on Debian, `cargo xtask setup` installs the packages \
                 libclang-dev and libzfslinux-dev (from contrib)."
            )
        });
        let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it for build scripts"));
        bindings.write_to_file(folder.join("bindings.rs")).expect("cargo has made the folder");
    }
}
