//! How the program is linked, as far as Cargo.toml cannot say it.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = env::var("TARGET").unwrap_or_default();
    let is_here = env::var("HOST").is_ok_and(|host| host == target);
    if target != "x86_64-unknown-linux-gnu" || !is_here {
        return;
    }
    // Relocations as bits: an eighth of a megabyte less. The loader has to know them, and the system that builds is taken
    // for the oldest that is to run it.
    if glibc() >= Some((2, 36)) {
        println!("cargo::rustc-link-arg-bin=lampone=-Wl,-z,pack-relative-relocs");
    }
    // Functions that are alike byte by byte become one.
    if links_with_lld(&target) {
        println!("cargo::rustc-link-arg-bin=lampone=-Wl,--icf=all");
    }
}

/// Whether the linker is the one that comes with the compiler, which is LLVM's, and nobody has chosen another.
fn links_with_lld(target: &str) -> bool {
    let is_chosen = env::var_os("RUSTC_LINKER").is_some()
        || env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("link"));
    let Some(compiler) = env::var_os("RUSTC").filter(|_| !is_chosen) else { return false };
    let sysroot = Command::new(compiler).args(["--print", "sysroot"]).output();
    sysroot.is_ok_and(|said| {
        let sysroot = String::from_utf8_lossy(&said.stdout);
        Path::new(sysroot.trim()).join("lib/rustlib").join(target).join("bin/gcc-ld/ld.lld").exists()
    })
}

/// The version of the C library that this runs with.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn glibc() -> Option<(u32, u32)> {
    use std::ffi::{CStr, c_char};
    unsafe extern "C" {
        fn gnu_get_libc_version() -> *const c_char;
    }
    // SAFETY: it takes nothing and returns a string that lives as long as the process.
    let version = unsafe { CStr::from_ptr(gnu_get_libc_version()) }.to_str().ok()?;
    let (major, minor) = version.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn glibc() -> Option<(u32, u32)> {
    None
}
