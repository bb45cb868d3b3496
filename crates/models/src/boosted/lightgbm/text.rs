//! LightGBM's text files, line by line: names with values, in sections that end with an empty line.

use std::str::FromStr;

/// What is left to read.
#[derive(Debug)]
pub(super) struct Lines<'t> {
    rest: std::iter::Peekable<std::str::Lines<'t>>,
    /// The line that was read last, from 1.
    pub(super) number: usize,
}

/// Lines of a section: the header has 13 at most, a tree 22.
const SECTION: usize = 64;

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            rest: text.lines().peekable(),
            number: 0,
        }
    }

    pub(super) fn next(&mut self) -> Option<&'t str> {
        self.number += 1;
        self.rest.next()
    }

    /// Skips empty lines and tells the next.
    pub(super) fn next_filled(&mut self) -> Option<&'t str> {
        while self.rest.peek().is_some_and(|line| line.is_empty()) {
            self.next();
        }
        self.next()
    }

    /// The lines up to an empty one.
    ///
    /// # Errors
    /// A line without `=` that is no flag, or more lines than there are.
    pub(super) fn section(&mut self, flags: &[&str]) -> Result<Section<'t>, String> {
        let mut entries = Vec::new();
        while let Some(line) = self.next().filter(|line| !line.is_empty()) {
            let entry = match line.split_once('=') {
                Some(entry) => entry,
                None if flags.contains(&line) => (line, ""),
                None => return Err("expected a name and `=`".to_owned()),
            };
            if entries.len() >= SECTION {
                return Err("a section of too many lines".to_owned());
            }
            entries.push(entry);
        }
        Ok(Section(entries))
    }
}

/// Names with their values.
#[derive(Debug)]
pub(super) struct Section<'t>(Vec<(&'t str, &'t str)>);

impl<'t> Section<'t> {
    /// The value of that name. Of several the last counts.
    pub(super) fn find(&self, name: &str) -> Option<&'t str> {
        let entry = self.0.iter().rfind(|(known, _)| *known == name);
        entry.map(|(_, value)| *value)
    }

    /// # Errors
    /// There is none.
    pub(super) fn at(&self, name: &str) -> Result<&'t str, String> {
        self.find(name).ok_or_else(|| format!("expected `{name}`"))
    }

    /// # Errors
    /// It is missing or not a whole number.
    pub(super) fn whole(&self, name: &str) -> Result<usize, String> {
        let number = self.at(name)?.trim().parse();
        number.map_err(|_| format!("expected a whole number in `{name}`"))
    }

    /// The numbers of that name.
    ///
    /// # Errors
    /// It is missing, or not that many numbers of the type.
    pub(super) fn numbers<T: FromStr>(&self, name: &str, count: usize) -> Result<Vec<T>, String> {
        let mut numbers = Vec::new();
        for word in self.at(name)?.split_ascii_whitespace() {
            let number = word.parse();
            numbers.push(number.map_err(|_| format!("expected numbers in `{name}`"))?);
        }
        if numbers.len() != count {
            return Err(format!(
                "expected {count} numbers in `{name}`, found {}",
                numbers.len()
            ));
        }
        Ok(numbers)
    }
}
