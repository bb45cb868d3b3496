//! Every file of a folder loads: the one that `SIDEGATE_FIXTURES` names, or
//! the project's own examples. File by file, because overlays repeat objects.

use std::path::{Path, PathBuf};

fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path
            .extension()
            .is_some_and(|e| e == "yaml" || e == "yml" || e == "json")
        {
            found.push(path);
        }
    }
}

#[test]
fn every_file_loads() {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let folder = std::env::var("SIDEGATE_FIXTURES").unwrap_or_else(|_| own.to_owned());
    let mut files = Vec::new();
    yaml_files(Path::new(&folder), &mut files);
    files.sort();
    assert!(!files.is_empty(), "no YAML below {folder}");
    let failures: Vec<String> = files
        .iter()
        // A layer deletes what only the layer below it has.
        .filter(|file| !file.components().any(|c| c.as_os_str() == "blog-fix"))
        .filter_map(|file| resources::load(std::slice::from_ref(file)).err())
        .map(|errors| errors.to_string())
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
