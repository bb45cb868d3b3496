//! `SimpleImputer` and `MissingIndicator`

use super::categories::{cell, cells, each_cell};
use super::part::Part;
use crate::data::{Data, Intake};
use crate::flow::{Step, Transform};
use crate::matrix::round;
use crate::table::{Cell, CellRef, Column, Table};
use crate::{InputError, LoadError, Matrix};
use std::borrow::Cow;

/// What counts as missing.
#[derive(Debug, Clone)]
struct Missing(Cell);

impl Missing {
    fn read(part: &Part<'_, '_>) -> Result<Self, LoadError> {
        let found = cell(part, part.required("missing_values")?);
        found
            .map(Self)
            .ok_or_else(|| part.unknown("missing_values"))
    }

    fn is(&self, value: CellRef<'_>) -> bool {
        match (self.0.borrow(), value) {
            (CellRef::Number(missing), CellRef::Number(value)) if missing.is_nan() => {
                value.is_nan()
            }
            (missing, value) => missing == value,
        }
    }

    /// Whether NaN stands for missing values, and nothing else may be NaN.
    fn intake(&self, part: &Part<'_, '_>) -> Intake {
        match self.0 {
            Cell::Number(value) if value.is_nan() => part.lenient_intake(),
            Cell::None => part.lenient_intake(),
            _ => part.intake(),
        }
    }
}

#[derive(Debug)]
struct Imputer {
    intake: Intake,
    missing: Missing,
    /// What each column's missing values become; `None` for a column that is dropped.
    filling: Vec<Option<Cell>>,
    /// Columns whose missing values are marked in columns of their own.
    marked: Vec<usize>,
    /// Whether it was fitted on objects, such as text.
    objects: bool,
}

pub(super) fn read(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let missing = Missing::read(part)?;
    let array = part.array("statistics_")?;
    let keep = part.text("strategy") == Some("constant")
        || part.truth("keep_empty_features") == Some(true);
    let filling: Vec<Option<Cell>> = cells(part, array, "statistics_")?
        .into_iter()
        .map(|cell| {
            let empty = matches!(cell, Cell::Number(value) if value.is_nan());
            (keep || !empty).then_some(cell)
        })
        .collect();
    // An array of objects may hold numbers alone.
    let objects = filling
        .iter()
        .flatten()
        .any(|cell| !matches!(cell, Cell::Number(_) | Cell::Integer(_)));
    let features = filling.len();
    let marked = match (part.truth("add_indicator"), part.set("indicator_")) {
        (Some(true), Some(id)) => {
            let indicator = part.inner(id, "indicator_")?;
            indicator.indices_at(indicator.required("features_")?, "features_", features)?
        }
        _ => Vec::new(),
    };
    let kept = filling.iter().filter(|cell| cell.is_some()).count();
    let gives = kept.checked_add(marked.len());
    let step = Imputer {
        intake: Intake {
            features: Some(features),
            ..missing.intake(part)
        },
        missing,
        filling,
        marked,
        objects,
    };
    Ok(Step::new(step, Some(features), gives))
}

impl Imputer {
    /// The value of a cell, or what replaces it; `None` in a column that is dropped.
    fn fill<'c>(&'c self, column: usize, value: CellRef<'c>) -> Option<CellRef<'c>> {
        let filling = self.filling.get(column)?.as_ref()?;
        Some(if self.missing.is(value) {
            filling.borrow()
        } else {
            value
        })
    }

    fn objects<'d>(&self, data: &Data<'_>) -> Result<Data<'d>, InputError> {
        self.intake.size(data)?;
        let width = self.filling.len();
        let mut columns: Vec<Vec<Cell>> = vec![Vec::new(); width];
        let mut marks: Vec<Vec<f64>> = vec![Vec::new(); self.marked.len()];
        each_cell(data, |_, index, value| {
            if let (Some(column), Some(value)) = (columns.get_mut(index), self.fill(index, value)) {
                column.push(value.to_cell());
            }
            for (marks, marked) in marks.iter_mut().zip(&self.marked) {
                if *marked == index {
                    marks.push(f64::from(u8::from(self.missing.is(value))));
                }
            }
            Ok(())
        })?;
        let kept = columns.into_iter().zip(&self.filling);
        let kept = kept.filter(|(_, filling)| filling.is_some());
        let columns = kept.map(|(cells, _)| (None, Column::Cells(cells)));
        let marks = marks
            .into_iter()
            .map(|values| (None, Column::Numbers(values, crate::Precision::Double)));
        let table = Table::new(columns.chain(marks).collect());
        Ok(Data::Table(Cow::Owned(table.ok_or(InputError::TooLarge)?)))
    }
}

impl Transform for Imputer {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        if self.objects {
            return self.objects(&data);
        }
        let rows = self.intake.numbers(data)?;
        let precision = rows.precision();
        let kept = self.filling.iter().filter(|cell| cell.is_some()).count();
        let matrix = rows.map(kept + self.marked.len(), precision, |row, out| {
            for (column, value) in row.iter().enumerate() {
                match self.fill(column, CellRef::Number(*value)) {
                    Some(CellRef::Number(value)) => out.push(round(value, precision)),
                    Some(CellRef::Integer(value)) => out.push(round(value as f64, precision)),
                    Some(_) => out.push(f64::NAN),
                    None => {}
                }
            }
            let marks = self.marked.iter().map(|column| {
                let value = row.get(*column).copied().unwrap_or(0.0);
                f64::from(u8::from(self.missing.is(CellRef::Number(value))))
            });
            out.extend(marks);
        })?;
        Ok(matrix.into())
    }
}

#[derive(Debug)]
struct Indicator {
    intake: Intake,
    missing: Missing,
    features: Vec<usize>,
}

pub(super) fn read_indicator(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let features = part
        .features()
        .ok_or_else(|| part.damaged("expected `n_features_in_`"))?;
    let missing = Missing::read(part)?;
    let marked = part.indices_at(part.required("features_")?, "features_", features)?;
    let gives = marked.len();
    let step = Indicator {
        intake: missing.intake(part),
        missing,
        features: marked,
    };
    Ok(Step::new(step, Some(features), Some(gives)))
}

impl Transform for Indicator {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        self.intake.size(&data)?;
        let mut out = Vec::new();
        each_cell(&data, |_, column, value| {
            if self.features.contains(&column) {
                out.push(f64::from(u8::from(self.missing.is(value))));
            }
            Ok(())
        })?;
        let matrix = Matrix::new(
            out,
            data.rows(),
            self.features.len(),
            crate::Precision::Double,
        );
        Ok(matrix.ok_or(InputError::TooLarge)?.into())
    }
}
