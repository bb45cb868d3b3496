//! Transformers beside each other: `ColumnTransformer` and `FeatureUnion`.

use super::part::Part;
use super::pipeline::is_passthrough;
use super::steps;
use crate::data::{Data, Intake, Rows, rows_of};
use crate::flow::{Flow, Step, Transform};
use crate::matrix::round;
use crate::pickle::{Id, Kind, Node};
use crate::sparse::Sparse;
use crate::table::{Column, Table};
use crate::{InputError, LoadError, Matrix, Precision};
use std::borrow::Cow;

/// One of the transformers.
#[derive(Debug)]
struct Branch {
    flow: Flow,
    /// The columns that it sees; `None` for all.
    columns: Option<Vec<usize>>,
    weight: Option<f64>,
}

#[derive(Debug)]
struct Union {
    /// What a `ColumnTransformer` checks; a `FeatureUnion` leaves it to its transformers.
    intake: Option<Intake>,
    /// The columns by name, to find them in tables.
    names: Option<Vec<String>>,
    branches: Vec<Branch>,
    sparse: Sparsity,
}

/// Whether the result is sparse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sparsity {
    Always,
    Never,
    /// If one of the parts is.
    AsParts,
}

pub(super) fn read_columns(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let features = part
        .features()
        .or_else(|| part.count("_n_features"))
        .ok_or_else(|| part.damaged("expected `n_features_in_`"))?;
    let names = part.column_names()?;
    if names.as_ref().is_some_and(|names| names.len() != features) {
        return Err(part.damaged(format!("expected {features} names in `feature_names_in_`")));
    }
    let graph = part.graph();
    let mut branches = Vec::new();
    for (index, id) in part.list("transformers_")?.iter().enumerate() {
        let Some([name, transformer, columns]) = graph.sequence(*id) else {
            return Err(part.damaged("expected triples in `transformers_`"));
        };
        if graph.text(*transformer) == Some("drop") {
            continue;
        }
        let name = graph.text(*name).unwrap_or_default();
        let columns = columns_of(part, name, *columns, features, names.as_deref())?;
        if columns.is_empty() {
            continue;
        }
        let flow = if is_passthrough(part, *transformer) {
            Flow::default()
        } else {
            steps(&part.inner(*transformer, &format!("transformers_[{index}]"))?)?
        };
        if flow.takes().is_some_and(|takes| takes != columns.len()) {
            return Err(part.damaged(format!(
                "expected as many columns of `{}` as its transformer takes",
                name.chars().take(64).collect::<String>()
            )));
        }
        branches.push(Branch {
            flow,
            columns: Some(columns),
            weight: weight(part, name)?,
        });
    }
    let gives = width(&branches);
    let step = Union {
        intake: Some(Intake {
            features: Some(features),
            ..part.lenient_intake()
        }),
        names,
        branches,
        sparse: match part.truth("sparse_output_") {
            Some(true) => Sparsity::Always,
            _ => Sparsity::Never,
        },
    };
    Ok(Step::new(step, Some(features), gives))
}

pub(super) fn read_union(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let graph = part.graph();
    let mut branches = Vec::new();
    for (index, id) in part.list("transformer_list")?.iter().enumerate() {
        let Some([name, transformer]) = graph.sequence(*id) else {
            return Err(part.damaged("expected pairs in `transformer_list`"));
        };
        // `None` was another word for it until 0.24.
        if matches!(graph.node(*transformer), Node::None)
            || graph.text(*transformer) == Some("drop")
        {
            continue;
        }
        let flow = if is_passthrough(part, *transformer) {
            Flow::default()
        } else {
            steps(&part.inner(*transformer, &format!("transformer_list[{index}]"))?)?
        };
        branches.push(Branch {
            flow,
            columns: None,
            weight: weight(part, graph.text(*name).unwrap_or_default())?,
        });
    }
    let takes = branches.iter().find_map(|branch| branch.flow.takes());
    let gives = width(&branches);
    let texts = branches.iter().any(|branch| branch.flow.takes_texts());
    let step = Union {
        intake: None,
        names: None,
        branches,
        sparse: Sparsity::AsParts,
    };
    Ok(Step {
        texts,
        ..Step::new(step, takes, gives)
    })
}

fn width(branches: &[Branch]) -> Option<usize> {
    let mut width = 0_usize;
    for branch in branches {
        let gives = match (&branch.columns, branch.flow.steps.is_empty()) {
            (Some(columns), true) => Some(columns.len()),
            _ => branch.flow.gives(),
        };
        width = width.checked_add(gives?)?;
    }
    Some(width)
}

fn weight(part: &Part<'_, '_>, name: &str) -> Result<Option<f64>, LoadError> {
    let graph = part.graph();
    let Some(Node::Dict(items)) = part.set("transformer_weights").map(|id| graph.node(id)) else {
        return Ok(None);
    };
    match graph.entry(items, name).map(|id| graph.float(id)) {
        None => Ok(None),
        Some(Some(weight)) => Ok(Some(weight)),
        Some(None) => Err(part.damaged("expected numbers in `transformer_weights`")),
    }
}

/// The columns of a transformer, as numbers.
fn columns_of(
    part: &Part<'_, '_>,
    name: &str,
    written: Id,
    features: usize,
    names: Option<&[String]>,
) -> Result<Vec<usize>, LoadError> {
    let graph = part.graph();
    // Resolved by scikit-learn from 1.0 on.
    let inputs = "_transformer_to_input_indices";
    if let Some(Node::Dict(items)) = part.set(inputs).map(|id| graph.node(id))
        && let Some(id) = graph.entry(items, name)
    {
        return part.indices_at(id, inputs, features);
    }
    let bad = || part.setting("columns in a form that is not understood");
    let one = |id: &Id| match graph.node(*id) {
        Node::Str(text) => names?.iter().position(|known| known == text),
        Node::Int(index) if *index < 0 => {
            features.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)
        }
        Node::Int(index) => usize::try_from(*index)
            .ok()
            .filter(|index| *index < features),
        _ => None,
    };
    match graph.node(written) {
        Node::Str(_) | Node::Int(_) => one(&written).map(|index| vec![index]).ok_or_else(bad),
        Node::List(ids) | Node::Tuple(ids) => {
            part.pay(ids.len())?;
            if !ids.is_empty() && ids.iter().all(|id| graph.truth(*id).is_some()) {
                let chosen = ids
                    .iter()
                    .enumerate()
                    .filter(|(_, id)| graph.truth(**id) == Some(true));
                return Ok(chosen
                    .map(|(index, _)| index)
                    .filter(|i| *i < features)
                    .collect());
            }
            ids.iter().map(one).collect::<Option<_>>().ok_or_else(bad)
        }
        Node::Array(array) => {
            part.pay(array.count())?;
            let numbers = array.integers(graph, None).map_err(|_| bad())?;
            let mask = array.dtype.kind == Kind::Boolean;
            let index = |(index, value): (usize, i64)| match value {
                0 if mask => None,
                _ if mask => Some(index),
                value if value < 0 => {
                    features.checked_sub(usize::try_from(value.unsigned_abs()).ok()?)
                }
                value => usize::try_from(value).ok(),
            };
            let chosen = numbers.into_iter().enumerate().filter_map(index);
            Ok(chosen.filter(|index| *index < features).collect())
        }
        Node::Object(object) => {
            let slice = graph
                .class(object)
                .is_some_and(|class| class.name == "slice");
            match graph.sequence(object.arguments) {
                Some([start, end, step]) if slice && matches!(graph.node(*step), Node::None) => {
                    let at = |id: &Id, open: usize| match graph.node(*id) {
                        Node::None => Some(open),
                        // A slice by names includes its end.
                        Node::Str(_) => one(id).map(|at| at + usize::from(open > 0)),
                        _ => one(id).or((graph.integer(*id)? >= 0).then_some(features)),
                    };
                    let range = at(start, 0).zip(at(end, features));
                    range
                        .map(|(start, end)| (start..end.min(features)).collect())
                        .ok_or_else(bad)
                }
                _ => Err(bad()),
            }
        }
        _ => Err(bad()),
    }
}

impl Union {
    /// What a branch sees of the data.
    fn seen<'d>(&self, data: &'d Data<'_>, branch: &Branch) -> Result<Data<'d>, InputError> {
        let Some(columns) = &branch.columns else {
            return Ok(data.by_ref());
        };
        match data {
            Data::Rows(rows) => rows.select(columns).map(Data::Rows),
            Data::Table(table) => {
                let mut chosen = Vec::with_capacity(columns.len());
                for index in columns {
                    let place = self.place(table, *index)?;
                    chosen.extend(table.columns().get(place).cloned());
                }
                let table = Table::new(chosen).ok_or(InputError::TooLarge)?;
                Ok(Data::Table(Cow::Owned(table)))
            }
        }
    }

    /// Where the column with that number is in a table: by its name, if both know it.
    fn place(&self, table: &Table, index: usize) -> Result<usize, InputError> {
        let named = table.columns().iter().all(|(name, _)| name.is_some());
        match self.names.as_ref().and_then(|names| names.get(index)) {
            Some(name) if named => table.position(name).ok_or_else(|| InputError::Column {
                column: name.clone(),
            }),
            _ => Ok(index),
        }
    }
}

impl Transform for Union {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        if let Some(intake) = &self.intake {
            // A table may have more columns than are used, in any order.
            match (&data, &self.names) {
                (Data::Table(table), Some(_))
                    if table.columns().iter().all(|(name, _)| name.is_some()) => {}
                _ => intake.size(&data)?,
            }
        }
        let count = data.rows();
        let mut parts = Vec::with_capacity(self.branches.len());
        for branch in &self.branches {
            let part = branch.flow.run(self.seen(&data, branch)?)?;
            parts.push(match branch.weight {
                Some(weight) => Data::Rows(weighted(part, weight)?),
                None => part,
            });
        }
        if parts.iter().any(|part| !is_numeric(part)) {
            return beside(parts);
        }
        let mut rows = Vec::with_capacity(parts.len());
        for part in parts {
            rows.push(rows_of(part)?);
        }
        let sparse = match self.sparse {
            Sparsity::Always => true,
            Sparsity::Never => false,
            Sparsity::AsParts => rows.iter().any(|rows| matches!(rows, Rows::Sparse(_))),
        };
        if sparse {
            stack_sparse(&rows, count).map(Data::from)
        } else {
            stack_dense(rows, count).map(Data::from)
        }
    }
}

fn is_numeric(data: &Data<'_>) -> bool {
    match data {
        Data::Rows(_) => true,
        Data::Table(table) => table
            .columns()
            .iter()
            .all(|(_, column)| column.is_numeric()),
    }
}

fn weighted<'d>(data: Data<'d>, weight: f64) -> Result<Rows<'d>, InputError> {
    let rows = rows_of(data)?;
    let precision = rows.precision();
    Ok(match rows {
        Rows::Dense(rows) => {
            let mut rows = rows.into_owned();
            for value in rows.values_mut() {
                *value = round(*value * weight, precision);
            }
            Rows::Dense(Cow::Owned(rows))
        }
        Rows::Sparse(rows) => {
            let mut rows = rows.into_owned();
            for (_, value) in rows.entries_mut() {
                *value = round(*value * weight, precision);
            }
            Rows::Sparse(Cow::Owned(rows))
        }
    })
}

/// Single where all parts are.
fn precision(rows: &[Rows<'_>]) -> Precision {
    if !rows.is_empty()
        && rows
            .iter()
            .all(|rows| rows.precision() == Precision::Single)
    {
        Precision::Single
    } else {
        Precision::Double
    }
}

fn stack_dense(rows: Vec<Rows<'_>>, count: usize) -> Result<Matrix, InputError> {
    let precision = precision(&rows);
    let blocks: Vec<Cow<'_, Matrix>> = rows
        .into_iter()
        .map(Rows::dense)
        .collect::<Result<_, _>>()?;
    let columns: usize = blocks.iter().map(|block| block.columns()).sum();
    let mut values = Vec::with_capacity(count.saturating_mul(columns));
    let mut each: Vec<_> = blocks.iter().map(|block| block.iter()).collect();
    for _ in 0..count {
        for block in &mut each {
            values.extend_from_slice(block.next().unwrap_or_default());
        }
    }
    Matrix::new(values, count, columns, precision).ok_or(InputError::TooLarge)
}

fn stack_sparse(rows: &[Rows<'_>], count: usize) -> Result<Sparse, InputError> {
    let columns: usize = rows.iter().map(Rows::columns).sum();
    let mut all: Vec<Vec<(u32, f64)>> = vec![Vec::new(); count];
    let mut start = 0_u32;
    for block in rows {
        let mut each = all.iter_mut();
        match block {
            Rows::Sparse(sparse) => {
                for (entries, out) in sparse.iter().zip(&mut each) {
                    out.extend(
                        entries
                            .iter()
                            .map(|(column, value)| (start + column, *value)),
                    );
                }
            }
            // Zeros are not stored.
            Rows::Dense(_) => block.each(|row| {
                if let Some(out) = each.next() {
                    let stored = (start..).zip(row).filter(|(_, value)| **value != 0.0);
                    out.extend(stored.map(|(column, value)| (column, *value)));
                }
            }),
        }
        let width = u32::try_from(block.columns()).map_err(|_| InputError::TooLarge)?;
        start = start.checked_add(width).ok_or(InputError::TooLarge)?;
    }
    let mut sparse = Sparse::new(columns, precision(rows));
    for mut row in all {
        // scipy sums duplicates, which sorts.
        row.sort_by_key(|(column, _)| *column);
        sparse.push(row);
    }
    Ok(sparse)
}

/// Parts of which some hold text, as columns of a table.
fn beside<'d>(parts: Vec<Data<'_>>) -> Result<Data<'d>, InputError> {
    let mut columns = Vec::new();
    for part in parts {
        match part {
            Data::Table(table) => columns.extend(
                table
                    .columns()
                    .iter()
                    .map(|(_, column)| (None, column.clone())),
            ),
            Data::Rows(rows) => {
                let matrix = rows.dense()?;
                for index in 0..matrix.columns() {
                    let values = matrix.iter().filter_map(|row| row.get(index).copied());
                    let column = Column::Numbers(values.collect(), matrix.precision());
                    columns.push((None, column));
                }
            }
        }
    }
    let table = Table::new(columns).ok_or(InputError::TooLarge)?;
    Ok(Data::Table(Cow::Owned(table)))
}
