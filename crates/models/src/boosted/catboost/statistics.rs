//! Statistics of the target by category (CTR): trees ask about them as about numbers (`static_ctr_provider.cpp` and
//! `online_ctr.h` of `catboost/libs/model` in its sources).

use super::Test;
use std::collections::HashMap;

/// A part of what is looked up: a category of the row, or whether a test holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Element {
    Category(usize),
    Test(Test),
}

/// How the number of a statistic follows from what was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// The share of targets above a border.
    Borders,
    /// The share of targets between two borders.
    Buckets,
    /// A mean of targets.
    Mean,
    /// How often there is such a row, among all of training or beside the most frequent.
    Counter,
}

/// What was counted in training for each combination of categories.
#[derive(Debug, Clone)]
pub(super) enum Counted {
    /// Rows of each class of the target, the classes of a combination one after the other.
    Classes(Vec<i32>, usize),
    /// The sum of the targets and the number of rows.
    Means(Vec<(f32, i32)>),
    /// The number of rows, and what it is divided by.
    Rows(Vec<i32>, i32),
}

impl Counted {
    /// The number of combinations.
    fn len(&self) -> usize {
        match self {
            Self::Classes(counts, classes) => counts.len() / (*classes).max(1),
            Self::Means(means) => means.len(),
            Self::Rows(counts, _) => counts.len(),
        }
    }
}

/// A combination of categories and tests with what was counted for its values.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    elements: Vec<Element>,
    /// By the hash of a value: where it is among those counted.
    places: HashMap<u64, u32>,
    counted: Counted,
}

/// The hash of an empty bucket in a file.
const EMPTY: u64 = u64::MAX;

impl Lookup {
    /// # Errors
    /// A place that does not exist.
    pub(super) fn new(
        elements: Vec<Element>,
        places: impl IntoIterator<Item = (u64, u32)>,
        counted: Counted,
    ) -> Result<Self, String> {
        let count = counted.len();
        let mut known = HashMap::new();
        for (hash, place) in places {
            if hash == EMPTY {
                continue;
            }
            if usize::try_from(place).map_or(true, |place| place >= count) {
                return Err("a statistic leads to a count that does not exist".to_owned());
            }
            // Of equal ones the first counts, as in a file, where it is found first.
            known.entry(hash).or_insert(place);
        }
        Ok(Self {
            elements,
            places: known,
            counted,
        })
    }

    fn find(&self, row: &[f64]) -> Option<usize> {
        const MULTIPLIER: u64 = 0x4906_ba49_4954_cb65;
        let mut hash = 0_u64;
        for element in &self.elements {
            let part = match element {
                // The number of a category has 32 bits and a sign.
                Element::Category(column) => {
                    let category = row.get(*column).copied().unwrap_or(0.0) as i32;
                    i64::from(category).cast_unsigned()
                }
                Element::Test(test) => u64::from(test.holds(row)),
            };
            hash = MULTIPLIER.wrapping_mul(hash.wrapping_add(MULTIPLIER.wrapping_mul(part)));
        }
        let place = self.places.get(&hash)?;
        usize::try_from(*place).ok()
    }
}

/// A number made of what was counted. All of it is in single precision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statistic {
    pub(super) lookup: usize,
    pub(super) kind: Kind,
    /// The border of the target, for shares.
    pub(super) border: usize,
    pub(super) prior: f32,
    pub(super) prior_rows: f32,
    pub(super) shift: f32,
    pub(super) scale: f32,
}

impl Statistic {
    fn value(&self, counted: &Counted, place: Option<usize>) -> f32 {
        let (part, all) = match (counted, place) {
            (Counted::Classes(..) | Counted::Means(_), None) => (0.0, 0.0),
            (Counted::Classes(counts, classes), Some(place)) => {
                let start = place.saturating_mul(*classes);
                let of = counts.get(start..).unwrap_or_default();
                let of = of.get(..*classes).unwrap_or_default();
                let sum =
                    |counts: &[i32]| counts.iter().map(|count| i64::from(*count)).sum::<i64>();
                let part = match self.kind {
                    Kind::Buckets => of.get(self.border..=self.border),
                    _ => of.get(self.border + 1..),
                };
                (sum(part.unwrap_or_default()) as f32, sum(of) as f32)
            }
            (Counted::Means(means), Some(place)) => {
                let (sum, rows) = means.get(place).copied().unwrap_or_default();
                (sum, rows as f32)
            }
            (Counted::Rows(counts, all), place) => {
                let rows = place.and_then(|place| counts.get(place));
                (rows.copied().unwrap_or(0) as f32, *all as f32)
            }
        };
        ((part + self.prior) / (all + self.prior_rows) + self.shift) * self.scale
    }
}

/// All statistics of a model. In rows they follow the columns.
#[derive(Debug, Clone, Default)]
pub(super) struct Statistics {
    lookups: Vec<Lookup>,
    all: Vec<Statistic>,
}

impl Statistics {
    /// # Errors
    /// A statistic whose counts are of another kind, or not there.
    pub(super) fn new(lookups: Vec<Lookup>, all: Vec<Statistic>) -> Result<Self, String> {
        for statistic in &all {
            let lookup = lookups.get(statistic.lookup);
            let fits = lookup.is_some_and(|lookup| match (&lookup.counted, statistic.kind) {
                (Counted::Classes(_, classes), Kind::Borders) => statistic.border + 1 < *classes,
                (Counted::Classes(_, classes), Kind::Buckets) => statistic.border < *classes,
                (Counted::Means(_), Kind::Mean) | (Counted::Rows(..), Kind::Counter) => true,
                _ => false,
            });
            if !fits {
                return Err("a statistic whose counts are not there or of another kind".to_owned());
            }
        }
        Ok(Self { lookups, all })
    }

    /// Adds the statistics of a row behind its columns.
    pub(super) fn add_to(&self, row: &mut Vec<f64>, places: &mut Vec<Option<usize>>) {
        places.clear();
        places.extend(self.lookups.iter().map(|lookup| lookup.find(row)));
        for statistic in &self.all {
            let lookup = self.lookups.get(statistic.lookup);
            let place = places.get(statistic.lookup).copied().flatten();
            let value = lookup.map_or(0.0, |lookup| statistic.value(&lookup.counted, place));
            row.push(f64::from(value));
        }
    }
}
