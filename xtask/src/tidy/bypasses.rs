//! The page about published bypasses and the table of those that are sent to Envoy name each other.

use std::collections::BTreeSet;

use super::{File, Finding};

const PAGE: &str = "docs/security.md";
const TABLE: &str = "xtask/corpus/bypasses.yaml";
/// What a row of the page says of an entry of the table.
const SENT: &str = "*envoy*";

pub(super) fn check(files: &[File], findings: &mut Vec<Finding>) {
    let text = |path: &str| {
        let file = files.iter().find(|file| file.path == path);
        file.map_or("", |file| file.text.as_str())
    };
    let table = ids(text(TABLE));
    let page = told(text(PAGE));
    for id in table.symmetric_difference(&page) {
        let (path, other) = match table.contains(id) {
            true => (PAGE, TABLE),
            false => (TABLE, PAGE),
        };
        findings.push(Finding {
            path: path.to_owned(),
            line: 0,
            what: format!("`{id}` is missing: {other} has it"),
        });
    }
}

fn ids(table: &str) -> BTreeSet<&str> {
    let lines = table.lines();
    lines
        .filter_map(|line| line.strip_prefix("- id: "))
        .collect()
}

fn told(page: &str) -> BTreeSet<&str> {
    let rows = page.lines().filter(|line| line.contains(SENT));
    let cells = rows.filter_map(|row| row.strip_prefix("| ")?.split_once(" |"));
    cells.map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_entries_are_found_by_their_ids() {
        assert_eq!(
            ids("- id: P1\n  x: 1\n- id: P1\n- id: Q2\n"),
            ["P1", "Q2"].into()
        );
        let page = "What *envoy* means.\n| P1 | a | *envoy*; b |\n| Q2 | c | d |\n";
        assert_eq!(told(page), ["P1"].into());
    }
}
