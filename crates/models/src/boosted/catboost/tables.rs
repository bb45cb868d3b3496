//! The statistics of a binary file: what trees ask of them is among the features, what was counted lies behind the trees.

use super::Test;
use super::flat::Table;
use super::statistics::{Counted, Element, Kind, Lookup, Statistic, Statistics};
use crate::document::Source;
use std::collections::HashMap;

/// Fields of a feature that is a statistic.
const STATISTIC: usize = 0;
pub(super) const BORDERS: usize = 1;

/// Fields of a statistic.
mod statistic {
    pub(super) const BASE: usize = 0;
    pub(super) const BORDER: usize = 1;
    pub(super) const PRIOR: usize = 2;
    pub(super) const PRIOR_ROWS: usize = 3;
    pub(super) const SHIFT: usize = 4;
    pub(super) const SCALE: usize = 5;
}

/// Fields of what was counted.
mod counts {
    pub(super) const BASE: usize = 0;
    pub(super) const BUCKETS: usize = 1;
    pub(super) const VALUES: usize = 2;
    pub(super) const ALL: usize = 3;
    pub(super) const CLASSES: usize = 4;
}

/// Features of one kind in a combination.
const PARTS: usize = 256;

/// What a statistic and its counts have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Base {
    categories: Vec<i32>,
    /// Features and the bits of their borders.
    numbers: Vec<(i32, u32)>,
    one_by_one: Vec<(i32, i32)>,
    kind: i8,
    /// Which borders of the target.
    borders: i32,
}

impl Base {
    fn read(table: Option<Table<'_>>) -> Result<Self, String> {
        let table = table.ok_or("a statistic of nothing")?;
        let of = table.table(0)?.ok_or("a statistic of no categories")?;
        // Statistics may share their features in a file.
        for field in 0..3 {
            if of.count(field)? > PARTS {
                return Err("a statistic of too many features".to_owned());
            }
        }
        let pair = |[a, b, c, d, e, f, g, h]: [u8; 8]| {
            (
                i32::from_le_bytes([a, b, c, d]),
                u32::from_le_bytes([e, f, g, h]),
            )
        };
        Ok(Self {
            categories: of.values(0, i32::from_le_bytes)?,
            numbers: of.values(1, pair)?,
            one_by_one: of.values(2, |bytes| {
                let (feature, category) = pair(bytes);
                (feature, category.cast_signed())
            })?,
            kind: table.number(1)?.map_or(0, i8::from_le_bytes),
            borders: table.integer(2, 0)?,
        })
    }

    fn kind(&self) -> Result<Kind, String> {
        match self.kind {
            0 => Ok(Kind::Borders),
            1 => Ok(Kind::Buckets),
            2 | 3 => Ok(Kind::Mean),
            4 | 5 => Ok(Kind::Counter),
            other => Err(format!("a statistic of the unknown kind {other}")),
        }
    }

    fn elements(&self, columns: &Columns) -> Result<Vec<Element>, String> {
        let missing = || "a statistic of a feature that does not exist".to_owned();
        let mut elements = Vec::new();
        for index in &self.categories {
            let column = columns.categories.get(index).ok_or_else(missing)?;
            elements.push(Element::Category(*column));
        }
        for (index, bits) in &self.numbers {
            let (column, missing) = *columns.numbers.get(index).ok_or_else(missing)?;
            elements.push(Element::Test(Test::Above {
                column,
                border: f32::from_bits(*bits),
                missing,
            }));
        }
        for (index, category) in &self.one_by_one {
            elements.push(Element::Test(Test::Is {
                column: *columns.categories.get(index).ok_or_else(missing)?,
                category: *category,
            }));
        }
        Ok(elements)
    }
}

/// By their numbers among features of their kind: columns, and whether what is missing counts as above.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) numbers: HashMap<i32, (usize, bool)>,
    pub(super) categories: HashMap<i32, usize>,
}

/// The statistics that are asked, in order.
///
/// # Errors
/// What is damaged.
pub(super) fn read(
    features: &[Table<'_>],
    behind: &mut Source<'_>,
    columns: &Columns,
) -> Result<Statistics, String> {
    let (mut known, mut lookups) = (HashMap::new(), Vec::new());
    for _ in 0..length(behind)? {
        let size = length(behind)?;
        let table = Table::root(behind.take(size)?)?;
        let base = Base::read(table.table(counts::BASE)?)?;
        let lookup = Lookup::new(
            base.elements(columns)?,
            places(&table)?,
            counted(&base, &table)?,
        )?;
        known.insert(base, lookups.len());
        lookups.push(lookup);
    }
    let mut all = Vec::new();
    for feature in features {
        let table = feature.table(STATISTIC)?;
        let table = table.ok_or("a feature of no statistic")?;
        let base = Base::read(table.table(statistic::BASE)?)?;
        let number = |field, default| {
            Ok::<_, String>(table.number(field)?.map_or(default, f32::from_le_bytes))
        };
        all.push(Statistic {
            lookup: *known.get(&base).ok_or("a statistic without counts")?,
            kind: base.kind()?,
            border: usize::try_from(table.integer(statistic::BORDER, 0)?)
                .map_err(|_| "a statistic without a border")?,
            prior: number(statistic::PRIOR, 0.0)?,
            prior_rows: number(statistic::PRIOR_ROWS, 1.0)?,
            shift: number(statistic::SHIFT, 0.0)?,
            scale: number(statistic::SCALE, 1.0)?,
        });
    }
    Statistics::new(lookups, all)
}

fn length(source: &mut Source<'_>) -> Result<usize, String> {
    usize::try_from(u32::from_le_bytes(source.array()?)).map_err(|_| "too long".to_owned())
}

/// The hash table of a file: buckets of a hash and a place.
fn places(table: &Table<'_>) -> Result<Vec<(u64, u32)>, String> {
    let bytes = table.values(counts::BUCKETS, |[byte]: [u8; 1]| byte)?;
    let (buckets, rest) = bytes.as_chunks::<12>();
    if !rest.is_empty() {
        return Err("a statistic with half of a bucket".to_owned());
    }
    let bucket = |bytes: &[u8; 12]| {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
        (
            u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            u32::from_le_bytes([i, j, k, l]),
        )
    };
    Ok(buckets.iter().map(bucket).collect())
}

fn counted(base: &Base, table: &Table<'_>) -> Result<Counted, String> {
    let bytes = table.values(counts::VALUES, |[byte]: [u8; 1]| byte)?;
    let integers = || {
        let (values, _) = bytes.as_chunks();
        values
            .iter()
            .map(|bytes| i32::from_le_bytes(*bytes))
            .collect()
    };
    Ok(match base.kind()? {
        Kind::Borders | Kind::Buckets => {
            let classes = usize::try_from(table.integer(counts::CLASSES, 0)?).ok();
            let classes = classes.filter(|classes| *classes > 0);
            Counted::Classes(integers(), classes.ok_or("a statistic of no classes")?)
        }
        Kind::Mean => {
            let (values, _) = bytes.as_chunks();
            let mean = |bytes: &[u8; 8]| {
                let [a, b, c, d, e, f, g, h] = *bytes;
                (
                    f32::from_le_bytes([a, b, c, d]),
                    i32::from_le_bytes([e, f, g, h]),
                )
            };
            Counted::Means(values.iter().map(mean).collect())
        }
        Kind::Counter => Counted::Rows(integers(), table.integer(counts::ALL, 0)?),
    })
}
