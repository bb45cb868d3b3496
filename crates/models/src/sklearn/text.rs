//! `CountVectorizer`, `TfidfTransformer`, `TfidfVectorizer`, `HashingVectorizer`

use super::analyzer::Analyzer;
use super::categories::dtype;
use super::part::Part;
use super::scale::Norm;
use crate::data::{Data, Rows};
use crate::flow::{Step, Transform};
use crate::pickle::Node;
use crate::sparse::Sparse;
use crate::table::{CellRef, Table};
use crate::{InputError, LoadError, Precision};
use std::borrow::Cow;
use std::collections::HashMap;

#[derive(Debug)]
struct Counter {
    estimator: String,
    analyzer: Analyzer,
    vocabulary: HashMap<String, u32>,
    columns: usize,
    binary: bool,
    precision: Precision,
}

fn counter(part: &Part<'_, '_>) -> Result<Counter, LoadError> {
    let graph = part.graph();
    let Node::Dict(items) = graph.node(part.required("vocabulary_")?) else {
        return Err(part.damaged("expected a dict in `vocabulary_`"));
    };
    let columns = items.len() / 2;
    let mut vocabulary = HashMap::new();
    for pair in items.chunks_exact(2) {
        let entry = match pair {
            [term, number] => graph.text(*term).zip(graph.integer(*number)),
            _ => None,
        };
        let entry = entry.and_then(|(term, number)| Some((term, u32::try_from(number).ok()?)));
        let Some((term, number)) =
            entry.filter(|(_, number)| usize::try_from(*number).is_ok_and(|n| n < columns))
        else {
            return Err(part.damaged(format!(
                "expected terms with numbers below {columns} in `vocabulary_`"
            )));
        };
        part.pay(term.len() / 8 + 6)?;
        vocabulary.insert(term.to_owned(), number);
    }
    Ok(Counter {
        estimator: part.name().to_owned(),
        analyzer: Analyzer::read(part)?,
        vocabulary,
        columns,
        binary: part.truth("binary") == Some(true),
        precision: dtype(part)?,
    })
}

pub(super) fn read_counts(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let counter = counter(part)?;
    let gives = counter.columns;
    Ok(Step::of_texts(counter, Some(gives)))
}

/// The texts of a table of one column.
fn texts<'t>(data: &'t Data<'_>, estimator: &str) -> Result<Vec<&'t str>, InputError> {
    let bad = || InputError::NotTexts {
        estimator: estimator.to_owned(),
    };
    let table: &Table = match data {
        Data::Table(table) => table,
        Data::Rows(_) => return Err(bad()),
    };
    let [(_, column)] = table.columns() else {
        return Err(bad());
    };
    (0..table.rows())
        .map(|row| match column.cell(row) {
            CellRef::Text(text) => Ok(text),
            _ => Err(bad()),
        })
        .collect()
}

impl Counter {
    fn count(&self, data: &Data<'_>) -> Result<Sparse, InputError> {
        let mut out = Sparse::new(self.columns, self.precision);
        let mut found: Vec<u32> = Vec::new();
        for text in texts(data, &self.estimator)? {
            found.clear();
            self.analyzer
                .terms(text, |term| found.extend(self.vocabulary.get(term)));
            found.sort_unstable();
            let runs = found.chunk_by(|a, b| a == b);
            out.push(runs.filter_map(|run| {
                let count = if self.binary { 1 } else { run.len() };
                run.first().map(|number| (*number, count as f64))
            }));
        }
        Ok(out)
    }
}

impl Transform for Counter {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        Ok(self.count(&data)?.into())
    }
}

/// What counts are weighed by.
#[derive(Debug)]
struct Weights {
    estimator: String,
    logarithm: bool,
    /// The weight of each term.
    terms: Option<Vec<f64>>,
    /// Whether a product of sparse matrices turned the entries of a row around, as until 1.4.
    turned: bool,
    norm: Option<Norm>,
}

fn weights(part: &Part<'_, '_>) -> Result<Weights, LoadError> {
    let terms = match part.truth("use_idf") {
        Some(false) => None,
        _ if part.set("_idf_diag").is_some() => {
            let diagonal = part.part("_idf_diag")?;
            Some(diagonal.vector("data", diagonal.array("data")?.count())?)
        }
        _ => {
            let name = match part.attribute("idf_") {
                Some(_) => "idf_",
                None => "_idf",
            };
            Some(part.vector(name, part.array(name)?.count())?)
        }
    };
    Ok(Weights {
        estimator: part.name().to_owned(),
        logarithm: part.truth("sublinear_tf") == Some(true),
        turned: part.set("_idf_diag").is_some(),
        terms,
        norm: match part.set("norm") {
            Some(_) => Some(Norm::read(part)?),
            None => None,
        },
    })
}

pub(super) fn read_weights(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let weights = weights(part)?;
    let features = weights.terms.as_ref().map(Vec::len).or(part.features());
    Ok(Step::new(weights, features, features))
}

impl Weights {
    fn apply(&self, counts: &Sparse) -> Sparse {
        let (columns, precision) = (counts.columns(), counts.precision());
        counts.map_rows(|row| {
            if self.logarithm {
                for (_, value) in row.iter_mut() {
                    *value = crate::matrix::round(value.ln() + 1.0, precision);
                }
            }
            if let Some(terms) = &self.terms {
                for (column, value) in row.iter_mut() {
                    let term = usize::try_from(*column).ok().and_then(|at| terms.get(at));
                    *value = crate::matrix::round(*value * term.copied().unwrap_or(0.0), precision);
                }
                if self.turned {
                    row.reverse();
                }
            }
            if let Some(norm) = self.norm {
                norm.divide(row, columns, precision);
            }
        })
    }
}

impl Transform for Weights {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        let expected = self.terms.as_ref().map(Vec::len);
        if let Some(expected) = expected.filter(|expected| *expected != data.columns()) {
            return Err(InputError::Features {
                found: data.columns(),
                expected,
                estimator: self.estimator.clone(),
            });
        }
        let counts = match data {
            Data::Rows(Rows::Sparse(counts)) => counts,
            data => {
                let rows = crate::data::rows_of(data)?;
                let mut sparse = Sparse::new(rows.columns(), rows.precision());
                rows.each(|row| {
                    let stored = (0_u32..).zip(row).filter(|(_, value)| **value != 0.0);
                    sparse.push(stored.map(|(column, value)| (column, *value)));
                });
                Cow::Owned(sparse)
            }
        };
        Ok(self.apply(&counts).into())
    }
}

#[derive(Debug)]
struct Vectorizer {
    counter: Counter,
    weights: Weights,
}

pub(super) fn read_vectorizer(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let counter = counter(part)?;
    let weights = weights(&part.part("_tfidf")?)?;
    if weights
        .terms
        .as_ref()
        .is_some_and(|terms| terms.len() != counter.columns)
    {
        return Err(part.damaged("expected a weight for each term of `vocabulary_`"));
    }
    let gives = counter.columns;
    Ok(Step::of_texts(Vectorizer { counter, weights }, Some(gives)))
}

impl Transform for Vectorizer {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        Ok(self.weights.apply(&self.counter.count(&data)?).into())
    }
}

#[derive(Debug)]
struct Hasher {
    analyzer: Analyzer,
    columns: u32,
    signs: bool,
    binary: bool,
    norm: Option<Norm>,
    precision: Precision,
}

pub(super) fn read_hasher(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let columns = part
        .count("n_features")
        .and_then(|count| u32::try_from(count).ok())
        .filter(|count| *count > 0 && *count <= 1 << 26)
        .ok_or_else(|| part.unknown("n_features"))?;
    let hasher = Hasher {
        analyzer: Analyzer::read(part)?,
        columns,
        signs: part.truth("alternate_sign") != Some(false),
        binary: part.truth("binary") == Some(true),
        norm: match part.set("norm") {
            Some(_) => Some(Norm::read(part)?),
            None => None,
        },
        precision: dtype(part)?,
    };
    let gives = usize::try_from(columns).ok();
    Ok(Step::of_texts(hasher, gives))
}

impl Transform for Hasher {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        let columns = usize::try_from(self.columns).unwrap_or(0);
        let mut out = Sparse::new(columns, self.precision);
        let mut found: Vec<(u32, f64)> = Vec::new();
        for text in texts(&data, "HashingVectorizer")? {
            found.clear();
            self.analyzer.terms(text, |term| {
                let hash = murmur3(term.as_bytes()).cast_signed();
                let column = match hash {
                    i32::MIN => (i32::MAX.unsigned_abs() - (self.columns - 1)) % self.columns,
                    hash => hash.unsigned_abs() % self.columns,
                };
                let sign = if self.signs && hash < 0 { -1.0 } else { 1.0 };
                found.push((column, sign));
            });
            found.sort_unstable_by_key(|(column, _)| *column);
            let runs = found.chunk_by(|(a, _), (b, _)| a == b);
            out.push(runs.filter_map(|run| {
                let sum: f64 = run.iter().map(|(_, sign)| sign).sum();
                let (column, _) = run.first()?;
                Some((*column, if self.binary { 1.0 } else { sum }))
            }));
        }
        let precision = self.precision;
        Ok(match self.norm {
            Some(norm) => {
                let columns = out.columns();
                out.map_rows(|row| norm.divide(row, columns, precision))
                    .into()
            }
            None => out.into(),
        })
    }
}

/// MurmurHash3 of 32 bits with the seed 0.
fn murmur3(bytes: &[u8]) -> u32 {
    let mix = |block: u32| {
        block
            .wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593)
    };
    let (blocks, tail) = bytes.as_chunks::<4>();
    let hash = blocks.iter().fold(0_u32, |hash, block| {
        (hash ^ mix(u32::from_le_bytes(*block)))
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64)
    });
    let rest = tail
        .iter()
        .rev()
        .fold(0_u32, |rest, byte| (rest << 8) | u32::from(*byte));
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut hash = (hash ^ mix(rest)) ^ length;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::murmur3;

    #[test]
    fn hashes_are_those_of_the_reference() {
        for (text, expected) in [
            ("", 0),
            ("test", 0xba6b_d213),
            ("Hello, world!", 0xc036_3e43),
            ("The quick brown fox jumps over the lazy dog", 0x2e4f_f723),
        ] {
            assert_eq!(murmur3(text.as_bytes()), expected, "{text}");
        }
    }
}
