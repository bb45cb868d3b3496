//! How the program is linked: the loader reads every relocation, so in their long form all of them are in memory.

use std::env;
use std::process::Command;

/// The first glibc whose loader reads relocations in their short form.
const RELR: [u32; 2] = [2, 36];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let var = |name| env::var(name).unwrap_or_default();
    // On this target rustc links with its own lld, which knows the form.
    let target = var("TARGET");
    if target == "x86_64-unknown-linux-gnu"
        && target == var("HOST")
        && glibc().is_some_and(|found| found >= RELR)
    {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Of this machine.
fn glibc() -> Option<[u32; 2]> {
    let output = Command::new("getconf")
        .arg("GNU_LIBC_VERSION")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some([major.parse().ok()?, minor.parse().ok()?])
}
