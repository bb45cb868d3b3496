//! `OneHotEncoder`

use super::categories::{Categories, dtype, each_cell, show};
use super::part::Part;
use crate::data::{Data, Intake};
use crate::flow::{Step, Transform};
use crate::pickle::Node;
use crate::sparse::Sparse;
use crate::{InputError, LoadError, Precision};

/// What becomes of a value that fitting did not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    Error,
    /// A row of zeros.
    Ignore,
    /// The category of the rare ones, if there is one.
    Infrequent,
}

#[derive(Debug)]
struct OneHot {
    intake: Intake,
    columns: Vec<Column>,
    width: usize,
    unknown: Unknown,
    sparse: bool,
    precision: Precision,
}

#[derive(Debug)]
struct Column {
    categories: Categories,
    /// The column of each category; `None` for one that is dropped.
    places: Vec<Option<u32>>,
    infrequent: Option<u32>,
}

pub(super) fn read(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let categories = Categories::read_all(part)?;
    let unknown = match part.text("handle_unknown") {
        Some("error") => Unknown::Error,
        Some("ignore") => Unknown::Ignore,
        // A warning says that the value is treated as rare.
        Some("infrequent_if_exist" | "warn") => Unknown::Infrequent,
        _ => return Err(part.unknown("handle_unknown")),
    };
    let mut columns = Vec::new();
    let mut width = 0_u32;
    let bad = |what: &str| part.damaged(what.to_owned());
    for (index, categories) in categories.into_iter().enumerate() {
        let groups = groups(part, index, categories.count())?;
        let count = match &groups {
            Some(groups) => groups.iter().max().map_or(0, |largest| largest + 1),
            None => u32::try_from(categories.count()).map_err(|_| bad("too many categories"))?,
        };
        let dropped = dropped(part, index)?;
        let start = width;
        let mut next = start;
        let mut place = Vec::new();
        part.pay(usize::try_from(count).unwrap_or(usize::MAX))?;
        for group in 0..count {
            if Some(group) == dropped {
                place.push(None);
            } else {
                place.push(Some(next));
                next += 1;
            }
        }
        let group = |category: usize| match &groups {
            Some(groups) => groups.get(category).copied(),
            None => u32::try_from(category).ok(),
        };
        let places: Option<Vec<Option<u32>>> = (0..categories.count())
            .map(|category| {
                let group = usize::try_from(group(category)?).ok()?;
                place.get(group).copied()
            })
            .collect();
        let infrequent = match infrequent(part, index)? {
            Some(category) => places
                .as_ref()
                .and_then(|places| places.get(category).copied().flatten()),
            None => None,
        };
        width = next;
        columns.push(Column {
            categories,
            places: places.ok_or_else(|| bad("categories that are in no group"))?,
            infrequent,
        });
    }
    // It cuts fractions off, and takes what it did not see for nothing.
    if part.truth("_legacy_mode") == Some(true) && part.text("handle_unknown") == Some("ignore") {
        return Err(part.setting(
            "whole numbers without `categories='auto'` and with `handle_unknown='ignore'`",
        ));
    }
    let sparse = part
        .truth("sparse_output")
        .or_else(|| part.truth("sparse"))
        .unwrap_or(true);
    let intake = part.lenient_intake();
    let features = columns.len();
    let width = usize::try_from(width).map_err(|_| bad("too many categories"))?;
    let step = OneHot {
        intake,
        columns,
        width,
        unknown,
        sparse,
        precision: dtype(part)?,
    };
    Ok(Step::new(step, Some(features), Some(width)))
}

/// The group of each category of a column, where rare ones are put together.
pub(super) fn groups(
    part: &Part<'_, '_>,
    column: usize,
    categories: usize,
) -> Result<Option<Vec<u32>>, LoadError> {
    let name = "_default_to_infrequent_mappings";
    let Some(id) = of_column(part, name, column)? else {
        return Ok(None);
    };
    let groups = part.indices_at(id, name, categories.max(1))?;
    if groups.len() != categories {
        return Err(part.damaged(format!("expected {categories} groups in `{name}`")));
    }
    let groups: Option<Vec<u32>> = groups.into_iter().map(|g| u32::try_from(g).ok()).collect();
    Ok(groups)
}

/// A category of the rare ones of a column.
pub(super) fn infrequent(part: &Part<'_, '_>, column: usize) -> Result<Option<usize>, LoadError> {
    let name = "_infrequent_indices";
    match of_column(part, name, column)? {
        Some(id) => Ok(part.indices_at(id, name, usize::MAX)?.first().copied()),
        None => Ok(None),
    }
}

fn dropped(part: &Part<'_, '_>, column: usize) -> Result<Option<u32>, LoadError> {
    let name = match part.attribute("_drop_idx_after_grouping") {
        Some(_) => "_drop_idx_after_grouping",
        None => "drop_idx_",
    };
    if let Some(id) = part.set(name)
        && let Node::Array(array) = part.graph().node(id)
        && array.elements(part.graph()).is_none()
    {
        let all = part.indices_at(id, name, usize::MAX)?;
        return Ok(all.get(column).and_then(|index| u32::try_from(*index).ok()));
    }
    match of_column(part, name, column)? {
        Some(id) => match part.graph().integer(id).map(u32::try_from) {
            Some(Ok(index)) => Ok(Some(index)),
            _ => Err(part.damaged(format!("expected numbers of categories in `{name}`"))),
        },
        None => Ok(None),
    }
}

/// What a list with one entry for each column has for that one, unless it is `None`.
fn of_column(
    part: &Part<'_, '_>,
    name: &str,
    column: usize,
) -> Result<Option<crate::pickle::Id>, LoadError> {
    let Some(id) = part.set(name) else {
        return Ok(None);
    };
    let found = part.list_at(id, name)?.get(column).copied();
    Ok(found.filter(|id| !matches!(part.graph().node(*id), Node::None)))
}

impl Transform for OneHot {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        self.intake.size(&data)?;
        let mut out = Sparse::new(self.width, self.precision);
        let mut row = Vec::with_capacity(self.columns.len());
        let last = self.columns.len().saturating_sub(1);
        each_cell(&data, |_, index, cell| {
            let Some(column) = self.columns.get(index) else {
                return Ok(());
            };
            let place = match column.categories.find(cell) {
                Some(category) => usize::try_from(category)
                    .ok()
                    .and_then(|category| column.places.get(category).copied())
                    .flatten(),
                None => match self.unknown {
                    Unknown::Error => {
                        return Err(InputError::Category {
                            category: show(cell),
                            column: index,
                        });
                    }
                    Unknown::Ignore => None,
                    Unknown::Infrequent => column.infrequent,
                },
            };
            row.extend(place.map(|place| (place, 1.0)));
            if index == last {
                out.push(row.drain(..));
            }
            Ok(())
        })?;
        if self.sparse {
            return Ok(out.into());
        }
        let rows = crate::data::Rows::Sparse(std::borrow::Cow::Owned(out));
        Ok(rows.dense()?.into_owned().into())
    }
}
