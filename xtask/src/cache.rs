//! What is installed once per machine, by version.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Condvar, Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::shell;

/// A folder for that thing and version, made if it is not there.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: expected a place for the cache")?;
    let folder = base.join("sidegate").join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}

/// Folders that threads of this process install into.
static INSTALLING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
static INSTALLED: Condvar = Condvar::new();

/// Does `install` once in that folder. An install that was cut short is done
/// again.
fn once(folder: &Path, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let lock = || INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let waiting = INSTALLED.wait_while(lock(), |folders| folders.contains(folder));
    waiting
        .unwrap_or_else(PoisonError::into_inner)
        .insert(folder.to_owned());
    let done = folder.join("complete");
    let outcome = match done.exists() {
        true => Ok(()),
        false => install().and_then(|()| Ok(std::fs::write(&done, "")?)),
    };
    lock().remove(folder);
    INSTALLED.notify_all();
    outcome
}

/// The Python of a virtual environment with the packages of a requirements
/// file. Its first line may name another Python than `python3`: `# python3.9`.
pub(crate) fn python(name: &str, requirements: &Path) -> Result<PathBuf> {
    let text = std::fs::read_to_string(requirements)
        .with_context(|| format!("reading {}", requirements.display()))?;
    let folder = folder(&format!("{name}-{:016x}", fingerprint(&text)))?;
    let python = folder.join("bin/python");
    once(&folder, || {
        eprintln!(
            "installing the packages of {} (once)",
            requirements.display()
        );
        let first = text.lines().next().and_then(|line| line.strip_prefix("# "));
        let interpreter = first.filter(|word| word.starts_with("python"));
        let interpreter = interpreter.unwrap_or("python3");
        shell::run(Command::new(interpreter).args(["-m", "venv"]).arg(&folder)).with_context(
            || format!("this needs {interpreter} with venv (Debian: apt-get install python3-venv)"),
        )?;
        shell::run(
            Command::new(&python)
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "-r",
                ])
                .arg(requirements),
        )
    })?;
    Ok(python)
}

/// The `node_modules` of a folder with `package.json` and `package-lock.json`.
pub(crate) fn node_modules(name: &str, project: &Path) -> Result<PathBuf> {
    let files = ["package.json", "package-lock.json"];
    let mut text = String::new();
    for file in files {
        let path = project.join(file);
        let read = std::fs::read_to_string(&path);
        text += &read.with_context(|| format!("reading {}", path.display()))?;
    }
    let folder = folder(&format!("{name}-{:016x}", fingerprint(&text)))?;
    once(&folder, || {
        eprintln!("installing the packages of {} (once)", project.display());
        for file in files {
            std::fs::copy(project.join(file), folder.join(file))?;
        }
        let mut npm = Command::new("npm");
        npm.args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--silent",
        ]);
        shell::run(npm.current_dir(&folder)).context("this needs Node.js 20 or newer with npm")
    })?;
    Ok(folder.join("node_modules"))
}

/// A program of Go in that version, as `go install` makes it.
pub(crate) fn go_tool(package: &str, version: &str) -> Result<PathBuf> {
    let name = go_name(package);
    let folder = folder(&format!("{name}-{version}"))?;
    once(&folder, || {
        eprintln!("installing {name} {version} (once, a few minutes)");
        shell::run(
            Command::new("go")
                .arg("install")
                .arg(format!("{package}@{version}"))
                .env("GOBIN", &folder)
                .env("GOTOOLCHAIN", "auto")
                .current_dir(&folder),
        )
        .context("this needs Go 1.26 or newer (https://go.dev/dl)")
    })?;
    Ok(folder.join(name))
}

/// The program of a Go module in a folder of ours.
pub(crate) fn go_program(name: &str, sources: &Path, what: &str) -> Result<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(sources)
        .with_context(|| format!("reading {}", sources.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    let mut text = String::new();
    for file in files {
        text.push_str(&std::fs::read_to_string(&file).with_context(|| file.display().to_string())?);
    }
    built(name, &text, name, |program| {
        eprintln!("building {what}; go build prints nothing");
        shell::run(
            Command::new("go")
                .args(["build", "-buildvcs=false", "-o"])
                .arg(program)
                .arg(".")
                .env("GOFLAGS", "-mod=readonly")
                .env("GOTOOLCHAIN", "auto")
                .current_dir(sources),
        )
        .with_context(|| format!("{name} needs Go 1.26 or newer (https://go.dev/dl)"))
    })
}

/// What `go install` calls the program of a package: its last part that is no major version.
fn go_name(package: &str) -> &str {
    let is_version = |part: &&str| {
        let number = part.strip_prefix('v');
        number.is_some_and(|number| number.parse::<u8>().is_ok())
    };
    let mut parts = package.rsplit('/').skip_while(is_version);
    parts.next().unwrap_or(package)
}

/// The browser, installed where it is missing and the system lets us.
pub(crate) fn chromium() -> Result<String> {
    let found = || {
        ["chromium", "chromium-browser", "google-chrome"]
            .iter()
            .map(|name| shell::output(Command::new("which").arg(name)))
            .find(|path| !path.is_empty())
    };
    if let Some(path) = found() {
        return Ok(path);
    }
    eprintln!("installing Chromium (once)");
    let apt = |args: &[&str]| shell::run(Command::new("apt-get").args(args));
    apt(&["update", "-qq"])
        .and_then(|()| {
            apt(&[
                "install",
                "-y",
                "-qq",
                "--no-install-recommends",
                "chromium",
            ])
        })
        .context("this needs Chromium (Debian: apt-get install chromium)")?;
    found().context("Chromium was installed and is not found")
}

/// A cargo tool of that version.
pub(crate) fn cargo_tool(name: &str, version: &str) -> Result<PathBuf> {
    let folder = folder(&format!("{name}-{version}"))?;
    once(&folder, || {
        eprintln!("installing {name} {version} (once, some minutes)");
        shell::run(
            shell::cargo()
                .args(["install", name, "--locked", "--version", version, "--root"])
                .arg(&folder)
                .env("CARGO_TARGET_DIR", folder.join("target")),
        )?;
        std::fs::remove_dir_all(folder.join("target")).context("removing what the build left")
    })?;
    Ok(folder.join("bin").join(name))
}

/// The files of a Debian package and of the libraries that it needs, unpacked into a folder of
/// ours. Nothing is installed.
pub(crate) fn debian(package: &str) -> Result<PathBuf> {
    let apt = "this needs apt-get with its lists (a Debian system, `apt-get update`)";
    let version = shell::output(Command::new("apt-cache").args(["show", package]));
    let version = version
        .lines()
        .find_map(|line| line.strip_prefix("Version: "));
    let version = version.with_context(|| format!("there is no package {package}: {apt}"))?;
    let folder = folder(&format!("{package}-{:016x}", fingerprint(version)))?;
    let root = folder.join("root");
    once(&folder, || {
        eprintln!("unpacking {package} {version} (once)");
        let depends = shell::output(Command::new("apt-cache").args(["depends", package]));
        let libraries = depends
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: lib"))
            .filter(|name| !name.starts_with("c6") && !name.starts_with("crypt"))
            .map(|name| format!("lib{name}"));
        // What libraries need that not every system has.
        let mut packages: Vec<String> = libraries.collect();
        for library in packages.clone() {
            let depends = shell::output(Command::new("apt-cache").args(["depends", &library]));
            let more = depends
                .lines()
                .filter_map(|line| line.trim().strip_prefix("Depends: libnsl"));
            packages.extend(more.map(|name| format!("libnsl{name}")));
        }
        packages.push(package.to_owned());
        shell::run(
            Command::new("apt-get")
                .args(["download", "-qq", "-o", "APT::Sandbox::User=root"])
                .args(&packages)
                .current_dir(&folder),
        )
        .context(apt)?;
        for file in std::fs::read_dir(&folder)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                shell::run(Command::new("dpkg").arg("-x").arg(&path).arg(&root))?;
                std::fs::remove_file(&path)?;
            }
        }
        Ok(())
    })?;
    Ok(root)
}

/// Where unpacked packages have their libraries, as `LD_LIBRARY_PATH` takes it.
pub(crate) fn libraries(root: &Path) -> String {
    let folders = ["usr/lib", "lib"].map(|folder| root.join(folder));
    let inside = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
    let libraries: Vec<String> = inside
        .map(|entry| entry.path().display().to_string())
        .filter(|path| path.ends_with("-linux-gnu"))
        .collect();
    libraries.join(":")
}

/// The program that `build` makes from sources of that text.
pub(crate) fn built(
    name: &str,
    sources: &str,
    program: &str,
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let folder = folder(&format!("{name}-{:016x}", fingerprint(sources)))?;
    let program = folder.join(program);
    once(&folder, || build(&program))?;
    Ok(program)
}

/// FNV-1a: stable over versions of Rust, which the standard hasher is not.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_install_is_done_once_and_again_after_it_failed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(once(folder.path(), || anyhow::bail!("no network")).is_err());
        let mut runs = 0;
        for _ in 0..2 {
            once(folder.path(), || {
                runs += 1;
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(runs, 1);
    }

    #[test]
    fn programs_of_go_are_called_as_their_package() {
        assert_eq!(
            go_name("github.com/oauth2-proxy/oauth2-proxy/v7"),
            "oauth2-proxy"
        );
        assert_eq!(go_name("golang.org/x/vuln/cmd/vet"), "vet");
    }

    #[test]
    fn fingerprints_are_those_of_fnv() {
        assert_eq!(fingerprint(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint("a"), 0xaf63_dc4c_8601_ec8c);
    }
}
