//! `deploy/Dockerfile` builds what the workspace has.

use super::{File, Finding};

const DOCKERFILE: &str = "deploy/Dockerfile";

pub(super) fn check(files: &[File], findings: &mut Vec<Finding>) {
    let text = |path: &str| {
        let file = files.iter().find(|file| file.path == path);
        file.map_or("", |file| file.text.as_str())
    };
    let Some(dockerfile) = files.iter().find(|file| file.path == DOCKERFILE) else {
        return;
    };
    let lines = || dockerfile.text.lines().enumerate();
    let mut find = |line: usize, what: String| {
        findings.push(Finding {
            path: DOCKERFILE.into(),
            line,
            what,
        });
    };
    let mut built = None;
    for (index, line) in lines() {
        let number = index + 1;
        if let Some(image) = line.strip_prefix("FROM rust:") {
            let version = image.split('-').next().unwrap_or_default();
            let toolchain = text("rust-toolchain.toml");
            if !toolchain.contains(&format!("channel = \"{version}.")) {
                let what = format!("rust {version} is not the version of rust-toolchain.toml");
                find(number, what);
            }
        }
        if !line.contains("cargo build") {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let value = |flag: &str| {
            let mut pairs = words.windows(2);
            pairs.find_map(|pair| match pair {
                [name, value] if *name == flag => Some(*value),
                _ => None,
            })
        };
        let [Some(profile), Some(package), Some(target)] =
            ["--profile", "--package", "--target"].map(value)
        else {
            let what = "expected `cargo build` with `--profile`, `--package` and `--target`";
            find(number, what.to_owned());
            continue;
        };
        if !text("Cargo.toml").contains(&format!("[profile.{profile}]\n")) {
            let what = format!("there is no profile `{profile}` in the workspace's Cargo.toml");
            find(number, what);
        }
        if !files
            .iter()
            .any(|file| file.path == format!("crates/{package}/Cargo.toml"))
        {
            find(number, format!("there is no crate `{package}`"));
        }
        built = Some((number, format!("target/{target}/{profile}/{package} ")));
    }
    match built {
        None => find(0, "there is no `cargo build`".to_owned()),
        Some((number, path)) if !lines().any(|(_, line)| line.contains(&path)) => {
            find(number, format!("nothing copies `{}`", path.trim_end()));
        }
        Some(_) => {}
    }
    packages(files, findings);
}

/// Packages with settings of their own in a profile are there: Cargo only warns of others. A profile that inherits from another
/// says something of all that the other does, as it would have their levels from there.
fn packages(files: &[File], findings: &mut Vec<Finding>) {
    let text = |path: &str| files.iter().find(|file| file.path == path);
    let Some((manifest, lock)) = text("Cargo.toml").zip(text("Cargo.lock")) else {
        return;
    };
    let (mut section, mut inherited) = ("", Vec::new());
    let mut named: Vec<(&str, &str)> = Vec::new();
    let mut find = |line: usize, what: String| {
        findings.push(Finding {
            path: manifest.path.clone(),
            line,
            what,
        });
    };
    for (index, line) in manifest.text.lines().enumerate() {
        let number = index + 1;
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            continue;
        }
        let Some(profile) = section.strip_prefix("profile.") else {
            continue;
        };
        let Some((name, value)) = line.split_once(" = ") else {
            continue;
        };
        if name == "inherits" {
            inherited.push((number, profile, value.trim_matches('"')));
        }
        let Some(profile) = profile.strip_suffix(".package") else {
            continue;
        };
        named.push((profile, name));
        if !lock.text.contains(&format!("name = \"{name}\"\n")) {
            find(number, format!("there is no package `{name}`"));
        }
    }
    for (number, profile, from) in inherited {
        for (_, name) in named.iter().filter(|(of, _)| *of == from) {
            if !named.contains(&(profile, name)) {
                let what = format!("profile `{profile}` has the level of `{name}` from `{from}`");
                find(number, what);
            }
        }
    }
}
