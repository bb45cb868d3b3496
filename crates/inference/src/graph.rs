//! What a graph is asked, from the rows of V1 and the tensors of V2.

use crate::records::Asked;
use crate::rows::short;
use crate::v2::tensor::{Tensor as Sent, Values as SentValues};
use models::{Cell, Column, ElementType, Graph, Port, Table, Tensor, Values};

/// The names of inputs, by which columns are found if there are several.
pub(crate) fn names(graph: &Graph) -> Option<Vec<String>> {
    let names = || graph.inputs().iter().map(|port| port.name.clone());
    (graph.inputs().len() > 1).then(|| names().collect())
}

/// The inputs for rows: the only input takes all columns, of several each takes the one of its place. Those with names are in
/// the order of [`names`].
///
/// # Errors
/// Another number of columns, or values that the type of an input cannot hold.
pub(crate) fn of_rows(graph: &Graph, asked: &Asked) -> Result<Vec<Tensor>, String> {
    let table;
    let (rows, columns): (usize, Vec<ColumnRef<'_>>) = match asked {
        Asked::Matrix(matrix) => {
            let columns = (0..matrix.columns()).map(|column| {
                ColumnRef::Numbers(
                    matrix
                        .values()
                        .iter()
                        .skip(column)
                        .step_by(matrix.columns())
                        .copied()
                        .collect(),
                )
            });
            (matrix.rows(), columns.collect())
        }
        Asked::Table(given) => {
            table = given;
            (table.rows(), columns_of(table))
        }
    };
    if let [port] = graph.inputs() {
        let width = columns.len();
        return Ok(vec![joined(port, rows, width, &columns)?]);
    }
    if columns.len() != graph.inputs().len() {
        return Err(format!(
            "expected {} columns, one for each input, found {}",
            graph.inputs().len(),
            columns.len()
        ));
    }
    let pairs = graph.inputs().iter().zip(&columns);
    pairs
        .map(|(port, column)| joined(port, rows, 1, std::slice::from_ref(column)))
        .collect()
}

/// The values of a column.
#[derive(Debug)]
enum ColumnRef<'c> {
    Numbers(Vec<f64>),
    Cells(&'c [Cell]),
}

fn columns_of(table: &Table) -> Vec<ColumnRef<'_>> {
    let columns = table.columns().iter();
    columns
        .map(|(_, column)| match column {
            Column::Numbers(values, _) => ColumnRef::Numbers(values.clone()),
            Column::Cells(cells) => ColumnRef::Cells(cells),
        })
        .collect()
}

/// Columns side by side, in the type and number of dimensions of an input.
fn joined(
    port: &Port,
    rows: usize,
    width: usize,
    columns: &[ColumnRef<'_>],
) -> Result<Tensor, String> {
    let wrong = |what: &str| format!("the input `{}` {what}", short(&port.name));
    let cells = (0..rows).flat_map(|row| columns.iter().map(move |column| (row, column)));
    let values = if port.element == ElementType::Text {
        let text = |(row, column): (usize, &ColumnRef<'_>)| match column {
            ColumnRef::Cells(cells) => match cells.get(row) {
                Some(Cell::Text(text)) => Some(text.clone()),
                _ => None,
            },
            ColumnRef::Numbers(_) => None,
        };
        let texts: Option<Vec<String>> = cells.map(text).collect();
        Values::Text(texts.ok_or_else(|| wrong("takes text"))?)
    } else {
        let number = |(row, column): (usize, &ColumnRef<'_>)| match column {
            ColumnRef::Numbers(values) => values.get(row).copied(),
            ColumnRef::Cells(cells) => match cells.get(row) {
                Some(Cell::Number(value)) => Some(*value),
                Some(Cell::None) => Some(f64::NAN),
                _ => None,
            },
        };
        let numbers: Option<Vec<f64>> = cells.map(number).collect();
        let numbers = numbers.ok_or_else(|| wrong("takes numbers"))?;
        typed(numbers, port.element)
            .ok_or_else(|| wrong(&format!("takes values of {}", port.element.name())))?
    };
    let flat = width == 1 && port.shape.as_ref().is_some_and(|shape| shape.len() == 1);
    let shape = if flat { vec![rows] } else { vec![rows, width] };
    Tensor::new(shape, values).ok_or_else(|| wrong("takes a table"))
}

/// Numbers in a type; `None` if it cannot hold one.
fn typed(numbers: Vec<f64>, element: ElementType) -> Option<Values> {
    let whole =
        |value: &f64| (value.fract() == 0.0 && value.abs() < 9.3e18).then_some(*value as i64);
    Some(match element {
        ElementType::Float => Values::Float(numbers.iter().map(|value| *value as f32).collect()),
        ElementType::Double => Values::Double(numbers),
        ElementType::Int64 => Values::Int64(numbers.iter().map(whole).collect::<Option<_>>()?),
        ElementType::Int32 => {
            let narrow = |value: &f64| i32::try_from(whole(value)?).ok();
            Values::Int32(numbers.iter().map(narrow).collect::<Option<_>>()?)
        }
        ElementType::Bool => Values::Bool(numbers.iter().map(|value| *value != 0.0).collect()),
        ElementType::Text => return None,
    })
}

/// The inputs for tensors by name. Where there is one of each, names do not matter: clients of KServe call it `input-0`.
///
/// # Errors
/// An input that was not sent or that the graph has not, or values that its type cannot hold.
pub(crate) fn of_tensors(
    graph: &Graph,
    sent: impl Iterator<Item = Result<(String, Sent), String>>,
) -> Result<Vec<Tensor>, String> {
    let mut sent: Vec<(String, Sent)> = sent.collect::<Result<_, _>>()?;
    let single = graph.inputs().len() == 1 && sent.len() == 1;
    let mut inputs = Vec::new();
    for port in graph.inputs() {
        let at = sent
            .iter()
            .position(|(name, _)| single || *name == port.name);
        let at = at.ok_or_else(|| format!("the input `{}` is missing", short(&port.name)))?;
        inputs.push(of_tensor(port, sent.swap_remove(at).1)?);
    }
    match sent.first() {
        Some((name, _)) => Err(format!(
            "the model has no input `{}`: expected {}",
            short(name),
            graph
                .inputs()
                .iter()
                .map(|port| format!("`{}`", short(&port.name)))
                .collect::<Vec<_>>()
                .join(", ")
        )),
        None => Ok(inputs),
    }
}

fn of_tensor(port: &Port, sent: Sent) -> Result<Tensor, String> {
    let wrong = |what: &str| format!("the input `{}` {what}", short(&port.name));
    let (mut shape, values) = sent.parts();
    // A column may be sent with one dimension or two.
    match (shape.as_slice(), port.shape.as_deref()) {
        ([rows], Some([_, Some(1)])) => shape = vec![*rows, 1],
        ([rows, 1], Some([_])) => shape = vec![*rows],
        _ => {}
    }
    let values = match (values, port.element) {
        (SentValues::Cells(cells), ElementType::Text) => {
            let text = |cell: Cell| match cell {
                Cell::Text(text) => Some(text),
                _ => None,
            };
            let texts: Option<Vec<String>> = cells.into_iter().map(text).collect();
            Values::Text(texts.ok_or_else(|| wrong("takes text alone"))?)
        }
        (SentValues::Numbers(_), ElementType::Text) => {
            return Err(wrong("takes text: send it as BYTES"));
        }
        (SentValues::Cells(_), _) => return Err(wrong("takes numbers: it was sent as BYTES")),
        (SentValues::Numbers(numbers), element) => typed(numbers, element)
            .ok_or_else(|| wrong(&format!("takes values of {}", element.name())))?,
    };
    Tensor::new(shape, values).ok_or_else(|| wrong("has a shape that does not fit its values"))
}
