//! How the program is linked, as far as Cargo.toml cannot say it.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = env::var("TARGET").unwrap_or_default();
    let is_here = env::var("HOST").is_ok_and(|host| host == target);
    // Relocations as bits: an eighth of a megabyte less. The loader has to know them, and the system that builds is taken
    // for the oldest that is to run it.
    if target == "x86_64-unknown-linux-gnu" && is_here && glibc() >= Some((2, 36)) {
        println!("cargo::rustc-link-arg-bin=lampone=-Wl,-z,pack-relative-relocs");
    }
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
