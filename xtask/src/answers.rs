//! What a script finds at a server, line by line as `call: outcome`; what was recorded of another server; and what differs from
//! that on purpose.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// Outcomes by call, in the order of the script.
pub(crate) type Answers = Vec<(String, String)>;

pub(crate) fn parse(text: &str) -> Result<Answers> {
    let split = |line: &str| {
        let (call, outcome) = line
            .split_once(": ")
            .with_context(|| format!("expected `call: outcome`, found `{line}`"))?;
        Ok((call.to_owned(), outcome.to_owned()))
    };
    text.lines().map(split).collect()
}

pub(crate) fn write(path: &Path, answers: &Answers) -> Result<()> {
    std::fs::create_dir_all(path.parent().unwrap_or(path))?;
    std::fs::write(path, as_text(answers)).with_context(|| format!("writing {}", path.display()))
}

fn as_text(answers: &Answers) -> String {
    answers
        .iter()
        .map(|(call, outcome)| format!("{call}: {outcome}\n"))
        .collect()
}

/// That a server answers as it did when this was recorded.
pub(crate) fn same(path: &Path, now: &Answers) -> Result<()> {
    let recorded = read(path)?;
    let other = recorded.iter().zip(now).find(|(a, b)| a != b);
    if let Some(((call, before), (other, now))) = other {
        let file = path.display();
        bail!("{file}:\n  recorded: {call}: {before}\n  now:      {other}: {now}");
    }
    ensure!(
        recorded.len() == now.len(),
        "{}: {} calls, now {}",
        path.display(),
        recorded.len(),
        now.len()
    );
    Ok(())
}

fn read(path: &Path) -> Result<Answers> {
    let text = std::fs::read_to_string(path);
    parse(&text.with_context(|| format!("reading {}", path.display()))?)
}

/// Answers that differ on purpose, by who asks and call.
pub(crate) struct Differences(BTreeMap<(String, String), Difference>);

struct Difference {
    reason: String,
    outcome: String,
}

impl Differences {
    /// A file with a reason, and below it the answers that it is the reason for: `id call: outcome`.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let (mut reason, mut found) = (String::new(), BTreeMap::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(text) = line.strip_prefix("# ") {
                text.clone_into(&mut reason);
                continue;
            }
            let parts = line.split_once(' ').and_then(|(client, rest)| {
                let (call, outcome) = rest.split_once(": ")?;
                Some((client.to_owned(), call.to_owned(), outcome.to_owned()))
            });
            let (client, call, outcome) =
                parts.with_context(|| format!("expected `id call: outcome`, found `{line}`"))?;
            let difference = Difference {
                reason: reason.clone(),
                outcome,
            };
            found.insert((client, call), difference);
        }
        Ok(Self(found))
    }

    /// How many of the answers to `id` differ.
    pub(crate) fn of(&self, id: &str) -> usize {
        self.0.keys().filter(|(of, _)| of == id).count()
    }

    /// What `id` should find: what is recorded in the file, but for the differences.
    pub(crate) fn expected(&self, recorded: &Path, id: &str) -> Result<Answers> {
        let mut answers = read(recorded)?;
        for ((of, call), difference) in &self.0 {
            if of != id {
                continue;
            }
            let answer = answers.iter_mut().find(|(known, _)| known == call);
            let (_, answer) = answer.with_context(|| format!("{id} makes no call `{call}`"))?;
            if *answer == difference.outcome {
                bail!("{id}: `{call}` does not differ any more");
            }
            answer.clone_from(&difference.outcome);
        }
        Ok(answers)
    }

    /// The reasons and how many answers each is for, the most frequent first.
    pub(crate) fn reasons(&self) -> Vec<(&str, usize)> {
        let mut reasons: Vec<(&str, usize)> = Vec::new();
        for difference in self.0.values() {
            match reasons
                .iter_mut()
                .find(|(reason, _)| *reason == difference.reason)
            {
                Some((_, count)) => *count += 1,
                None => reasons.push((&difference.reason, 1)),
            }
        }
        reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
        reasons
    }
}

/// That `name` found what it should.
pub(crate) fn compare(name: &str, found: &Answers, expected: &Answers) -> Result<()> {
    let mut wrong = String::new();
    for (call, outcome) in found {
        match expected.iter().find(|(known, _)| known == call) {
            Some((_, right)) if right == outcome => {}
            Some((_, right)) => {
                let _ = write!(wrong, "\n{name}: {call}: {outcome}\n    expected: {right}");
            }
            None => {
                let _ = write!(wrong, "\n{name}: {call}: not recorded, {outcome}");
            }
        }
    }
    if found.len() != expected.len() {
        let (found, expected) = (found.len(), expected.len());
        let _ = write!(wrong, "\n{name}: {found} calls, {expected} were recorded");
    }
    ensure!(wrong.is_empty(), "{wrong}");
    Ok(())
}
