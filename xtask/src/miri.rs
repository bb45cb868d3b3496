//! `cargo xtask miri`: the unit tests of the kernels, which alone have unsafe code, under Miri.

use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// Runs them as on a processor without fused multiply-add, and as on one that has it: Miri detects no features by itself.
pub(crate) fn run() -> Result<()> {
    for features in ["", "-C target-feature=+fma"] {
        let mut command = Command::new("rustup");
        command
            .current_dir(shell::root())
            .args(["run", "nightly", "cargo", "miri", "test"])
            .args(["--package", "models", "--lib", "--", "kernels"])
            .env("CARGO_TARGET_DIR", shell::target().join("miri"))
            .env("RUSTFLAGS", features);
        shell::run(&mut command).context(
            "this needs `rustup toolchain install nightly --component miri --component rust-src`",
        )?;
    }
    Ok(())
}
