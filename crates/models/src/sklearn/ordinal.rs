//! `OrdinalEncoder` and `TargetEncoder`: a number for each category.

use super::categories::{Categories, dtype, each_cell, show};
use super::onehot::{Unknown, groups, infrequent};
use super::part::Part;
use crate::data::{Data, Intake};
use crate::flow::{Step, Transform};
use crate::matrix::round;
use crate::{InputError, LoadError, Matrix, Precision};

#[derive(Debug)]
struct Encoder {
    intake: Intake,
    columns: Vec<Column>,
    unknown: Unknown,
    /// Output columns for each input column.
    width: usize,
    precision: Precision,
}

#[derive(Debug)]
struct Column {
    categories: Categories,
    /// `width` values for each category.
    values: Vec<f64>,
    /// What a value becomes that fitting did not see, unless it is an error.
    unknown: Vec<f64>,
}

pub(super) fn read(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let precision = dtype(part)?;
    let unknown = match part.text("handle_unknown") {
        Some("error") | None => Unknown::Error,
        Some("use_encoded_value") => Unknown::Ignore,
        _ => return Err(part.unknown("handle_unknown")),
    };
    let number = |name: &str| match part.set(name) {
        Some(_) => part.float(name),
        None => Ok(f64::NAN),
    };
    let (other, missing) = (number("unknown_value")?, number("encoded_missing_value")?);
    let mut columns = Vec::new();
    for (index, categories) in Categories::read_all(part)?.into_iter().enumerate() {
        let groups = groups(part, index, categories.count())?;
        let _ = infrequent(part, index)?;
        let value = |category: usize| {
            if categories.missing().and_then(|m| usize::try_from(m).ok()) == Some(category) {
                return missing;
            }
            match groups.as_ref().and_then(|groups| groups.get(category)) {
                Some(group) => f64::from(*group),
                None => category as f64,
            }
        };
        part.pay(categories.count())?;
        let values = (0..categories.count())
            .map(value)
            .map(|value| round(value, precision))
            .collect();
        columns.push(Column {
            categories,
            values,
            unknown: vec![other],
        });
    }
    let features = columns.len();
    let step = Encoder {
        intake: part.lenient_intake(),
        columns,
        unknown,
        width: 1,
        precision,
    };
    Ok(Step::new(step, Some(features), Some(features)))
}

/// `LabelEncoder`: the number of a class, which is no feature. It stands alone in a file, for an estimator takes it nowhere.
pub(super) fn read_labels(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let categories = Categories::read(part, part.required("classes_")?, "classes_")?;
    part.pay(categories.count())?;
    let column = Column {
        values: (0..categories.count()).map(|class| class as f64).collect(),
        categories,
        unknown: Vec::new(),
    };
    let step = Encoder {
        intake: Intake {
            features: Some(1),
            ..part.lenient_intake()
        },
        columns: vec![column],
        unknown: Unknown::Error,
        width: 1,
        precision: Precision::Double,
    };
    Ok(Step::new(step, Some(1), Some(1)))
}

pub(super) fn read_target(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let width = match part.text("target_type_") {
        Some("multiclass") => part.array("target_mean_")?.count(),
        _ => 1,
    };
    let means = if width == 1 {
        vec![part.scalar("target_mean_")?]
    } else {
        part.vector("target_mean_", width)?
    };
    let encodings = part.list("encodings_")?;
    let all = Categories::read_all(part)?;
    if width == 0 || encodings.len() != all.len().saturating_mul(width) {
        return Err(part.damaged("expected encodings for each feature in `encodings_`"));
    }
    let mut columns = Vec::new();
    for (categories, encodings) in all.into_iter().zip(encodings.chunks(width)) {
        let count = categories.count();
        let mut by_class = Vec::new();
        for id in encodings {
            let values = part.numbers_at(*id, "encodings_")?;
            if values.len() != count {
                return Err(part.damaged(format!("expected {count} values in `encodings_`")));
            }
            by_class.push(values);
        }
        let of = |category: usize| {
            let each = by_class.iter();
            each.map(move |values: &Vec<f64>| values.get(category).copied().unwrap_or(f64::NAN))
        };
        columns.push(Column {
            values: (0..count).flat_map(of).collect(),
            categories,
            unknown: means.clone(),
        });
    }
    let features = columns.len();
    let step = Encoder {
        intake: part.lenient_intake(),
        columns,
        unknown: Unknown::Ignore,
        width,
        precision: Precision::Double,
    };
    Ok(Step::new(
        step,
        Some(features),
        Some(features.saturating_mul(width)),
    ))
}

impl Transform for Encoder {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        self.intake.size(&data)?;
        let columns = self.columns.len() * self.width;
        let mut out = Vec::with_capacity(data.rows().saturating_mul(columns));
        each_cell(&data, |_, index, cell| {
            let Some(column) = self.columns.get(index) else {
                return Ok(());
            };
            let category = column.categories.find(cell);
            if category.is_none() && self.unknown == Unknown::Error {
                return Err(InputError::Category {
                    category: show(cell),
                    column: index,
                });
            }
            let values = category
                .and_then(|category| usize::try_from(category).ok())
                .and_then(|category| column.values.get(category * self.width..))
                .and_then(|values| values.get(..self.width));
            out.extend_from_slice(values.unwrap_or(&column.unknown));
            Ok(())
        })?;
        let matrix = Matrix::new(out, data.rows(), columns, self.precision);
        Ok(matrix.ok_or(InputError::TooLarge)?.into())
    }
}
