//! YAML within bounds: how it is read everywhere, the lines of its fields, and
//! what the parser says in words for people.

mod locate;

pub use locate::{Inside, Key, Step, Text, dotted, undotted};

/// Bounds on what a document may expand to; snippets are left out of messages,
/// they would repeat secrets. `0010` stays text, as hashes are written.
pub fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        with_snippet: false,
        leading_zero_numbers_as_strings: true,
        budget: serde_saphyr::budget! {
            max_depth: 64,
            max_nodes: 2_000_000,
            max_events: 4_000_000,
            max_buffered_comment_events: 10_000,
        },
    }
}

/// What the parser says, in words for people.
pub fn plain(message: &str) -> String {
    let message = one_line(message);
    let bounds = [
        ("budget breached: Depth", "is nested deeper than 64 levels"),
        (
            "recursion limit exceeded",
            "is nested deeper than 64 levels",
        ),
        (
            "budget breached: RecordedAnchor",
            "its anchors expand to too much",
        ),
        ("budget breached: Alias", "its anchors expand to too much"),
        ("budget breached: Nodes", "has more than 2000000 values"),
        ("budget breached: Events", "has more than 2000000 values"),
        (
            "multiple YAML documents detected",
            "holds several documents: expected one",
        ),
    ];
    let bound = bounds.iter().find(|(said, _)| message.contains(said));
    match bound {
        Some((_, words)) => (*words).to_owned(),
        None => message.replace(", set DuplicateKeyPolicy in Options if acceptable", ""),
    }
}

/// A text with every run of white space as one space.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
