//! The files of a theme.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Theme, ThemeError, contrast, style};
use crate::words::{Language, Unfit, Words, replace};

const KIB: usize = 1024;
const MAX_STYLE: usize = 64 * KIB;
/// It is in every page.
const MAX_LOGO: usize = 64 * KIB;
const MAX_FAVICON: usize = 16 * KIB;
const MAX_MESSAGES: usize = 64 * KIB;
/// Longest text in place of one of ours, in characters.
const MAX_TEXT: usize = 500;
/// More files than a theme can have: nobody meant this folder.
const MAX_FILES: usize = 32;

pub(super) fn load(folder: &Path) -> Result<Theme, ThemeError> {
    let failed = |path: &Path, what: String| ThemeError {
        file: path.display().to_string(),
        what,
    };
    let entries = std::fs::read_dir(folder).map_err(|error| failed(folder, error.to_string()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed(folder, error.to_string()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
        if names.len() > MAX_FILES {
            let what = format!("has more than {MAX_FILES} files: expected the folder of a theme");
            return Err(failed(folder, what));
        }
    }
    names.sort();
    let mut theme = Theme::default();
    for name in &names {
        let path = folder.join(name);
        add(&mut theme, &path, name).map_err(|what| failed(&path, what))?;
    }
    Ok(theme)
}

fn add(theme: &mut Theme, path: &Path, name: &str) -> Result<(), String> {
    match name {
        "style.css" => {
            let text = text(path, MAX_STYLE)?;
            style::check(&text)?;
            theme.warnings.extend(
                contrast::warnings(&text)
                    .into_iter()
                    .map(|warning| format!("`{}`: {warning}", path.display())),
            );
            theme.style = text;
        }
        "logo.svg" | "logo.png" => {
            let logo = image(path, name, MAX_LOGO)?;
            if theme.logo.replace(logo).is_some() {
                return Err("is a second logo: expected one of logo.svg and logo.png".to_owned());
            }
        }
        "favicon.svg" | "favicon.png" | "favicon.ico" => {
            let icon = image(path, name, MAX_FAVICON)?;
            if theme.favicon.replace(icon).is_some() {
                return Err("is a second favicon: expected one".to_owned());
            }
        }
        name => {
            let tag = ["yaml", "yml"].iter().find_map(|ending| {
                let middle = name.strip_prefix("messages.")?.strip_suffix(ending)?;
                middle.strip_suffix('.')
            });
            let Some(tag) = tag else {
                return Err(
                    "is no part of a theme: expected style.css, logo.svg, logo.png, \
                            favicon.svg, favicon.png, favicon.ico and messages.LANGUAGE.yaml"
                        .to_owned(),
                );
            };
            let language = Language::ALL
                .into_iter()
                .find(|language| language.tag() == tag)
                .ok_or("is of a language that the pages do not speak: expected `en` or `ko`")?;
            if theme.messages.iter().any(|(known, _)| *known == language) {
                return Err("is a second file of that language".to_owned());
            }
            theme.messages.push((language, messages(path, language)?));
        }
    }
    Ok(())
}

fn bytes(path: &Path, most: usize) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() > most {
        return Err(format!("is too large: expected at most {} KiB", most / KIB));
    }
    Ok(bytes)
}

fn text(path: &Path, most: usize) -> Result<String, String> {
    String::from_utf8(bytes(path, most)?).map_err(|_| "is not UTF-8".to_owned())
}

/// An image as a `data:` URL. What is in an `<img>` runs no scripts and loads nothing.
fn image(path: &Path, name: &str, most: usize) -> Result<String, String> {
    let bytes = bytes(path, most)?;
    let ending = name.rsplit('.').next().unwrap_or_default();
    let (kind, fits) = match ending {
        "png" => ("image/png", bytes.starts_with(b"\x89PNG\r\n\x1a\n")),
        "ico" => ("image/x-icon", bytes.starts_with(&[0, 0, 1, 0])),
        _ => {
            let text = std::str::from_utf8(&bytes).unwrap_or_default();
            ("image/svg+xml", text.contains("<svg"))
        }
    };
    if !fits {
        return Err(format!("is no {} image", ending.to_uppercase()));
    }
    Ok(format!("data:{kind};base64,{}", STANDARD.encode(bytes)))
}

fn messages(path: &Path, language: Language) -> Result<Vec<(String, String)>, String> {
    let text = text(path, MAX_MESSAGES)?;
    let read: BTreeMap<String, String> =
        serde_saphyr::from_str_with_options(&text, yaml::options())
            .map_err(|error| yaml::plain(&error.without_snippet().to_string()))?;
    let mut words = Words::of(language);
    for (key, text) in &read {
        if text.trim().is_empty() || text.chars().count() > MAX_TEXT {
            return Err(format!(
                "`{key}`: expected 1 to {MAX_TEXT} characters of text"
            ));
        }
        if text.chars().any(char::is_control) {
            return Err(format!("`{key}`: expected a text of one line"));
        }
        match replace(&mut words, key, text.clone()) {
            Ok(()) => {}
            Err(Unfit::Unknown) => return Err(format!("`{key}`: there is no text of that name")),
            Err(Unfit::Gaps(gaps)) if gaps.is_empty() => {
                return Err(format!("`{key}`: expected no `{{…}}` in this text"));
            }
            Err(Unfit::Gaps(gaps)) => {
                let gaps: Vec<String> = gaps.iter().map(|gap| format!("`{{{gap}}}`")).collect();
                return Err(format!("`{key}`: expected {} in it", gaps.join(" and ")));
            }
        }
    }
    Ok(read.into_iter().collect())
}
