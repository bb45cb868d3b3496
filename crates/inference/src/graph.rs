//! What a graph is asked, from the rows of V1 and the tensors of V2.

use crate::numbers::{Number, Numbers};
use crate::rows::short;
use crate::v2::tensor::{Tensor as Sent, Values as SentValues};
use models::{Cell, Column, ElementType, Graph, Input, Port, Tensor, Values};
use std::ops::Range;

/// The names of inputs, by which columns are found if there are several.
pub fn names(graph: &Graph) -> Option<Vec<String>> {
    let names = || graph.inputs().iter().map(|port| port.name.clone());
    (graph.inputs().len() > 1).then(|| names().collect())
}

/// The inputs for rows: the only input takes all columns, of several each takes the one of its place. Those with names are in
/// the order of [`names`].
///
/// # Errors
/// Another number of columns, or values that the type of an input cannot hold.
pub fn of_rows(graph: &Graph, asked: Input<'_>) -> Result<Vec<Tensor>, String> {
    let width = match asked {
        Input::Matrix(matrix) => matrix.columns(),
        Input::Table(table) => table.columns().len(),
    };
    if let [port] = graph.inputs() {
        return Ok(vec![joined(port, asked, 0..width)?]);
    }
    if width != graph.inputs().len() {
        return Err(format!(
            "expected {} columns, one for each input, found {width}",
            graph.inputs().len(),
        ));
    }
    let pairs = graph.inputs().iter().enumerate();
    pairs
        .map(|(column, port)| joined(port, asked, column..column + 1))
        .collect()
}

/// Columns side by side, in the type and number of dimensions of an input.
fn joined(port: &Port, asked: Input<'_>, columns: Range<usize>) -> Result<Tensor, String> {
    let wrong = |what: &str| format!("the input `{}` {what}", short(&port.name));
    let rows = match asked {
        Input::Matrix(matrix) => matrix.rows(),
        Input::Table(table) => table.rows(),
    };
    let width = columns.len();
    let places = (0..rows).flat_map(|row| columns.clone().map(move |column| (row, column)));
    let values = if port.element == ElementType::Text {
        let texts: Option<Vec<String>> = places.map(|place| text_at(asked, place)).collect();
        Values::Text(texts.ok_or_else(|| wrong("takes text"))?)
    } else {
        let numbers: Option<Numbers> = places.map(|place| number_at(asked, place)).collect();
        let numbers = numbers.ok_or_else(|| wrong("takes numbers"))?;
        typed(numbers, port.element)
            .ok_or_else(|| wrong(&format!("takes values of {}", port.element.name())))?
    };
    let flat = width == 1 && port.shape.as_ref().is_some_and(|shape| shape.len() == 1);
    let shape = if flat { vec![rows] } else { vec![rows, width] };
    Tensor::new(shape, values).ok_or_else(|| wrong("takes a table"))
}

fn text_at(asked: Input<'_>, (row, column): (usize, usize)) -> Option<String> {
    let Input::Table(table) = asked else {
        return None;
    };
    match table.columns().get(column)? {
        (_, Column::Cells(cells)) => match cells.get(row)? {
            Cell::Text(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn number_at(asked: Input<'_>, (row, column): (usize, usize)) -> Option<Number> {
    let table = match asked {
        Input::Matrix(matrix) => {
            let at = row * matrix.columns() + column;
            return matrix.values().get(at).copied().map(Number::Float);
        }
        Input::Table(table) => table,
    };
    match &table.columns().get(column)?.1 {
        Column::Numbers(values, _) => values.get(row).copied().map(Number::Float),
        Column::Integers(values) => values.get(row).copied().map(Number::whole),
        Column::Cells(cells) => match cells.get(row)? {
            Cell::Number(value) => Some(Number::Float(*value)),
            Cell::Integer(value) => Some(Number::Integer(*value)),
            Cell::None => Some(Number::Float(f64::NAN)),
            Cell::Text(_) => None,
        },
    }
}

/// Numbers in a type; `None` if it cannot hold one.
fn typed(numbers: Numbers, element: ElementType) -> Option<Values> {
    fn whole<T: TryFrom<i128>>(numbers: &Numbers) -> Option<Vec<T>> {
        let narrow = |number: Number| T::try_from(number.integer()?).ok();
        numbers.iter().map(narrow).collect()
    }
    Some(match element {
        ElementType::Float => {
            Values::Float(numbers.floats().iter().map(|value| *value as f32).collect())
        }
        ElementType::Double => Values::Double(numbers.floats()),
        ElementType::Int64 => Values::Int64(whole(&numbers)?),
        ElementType::Int32 => Values::Int32(whole(&numbers)?),
        ElementType::Bool => {
            Values::Bool(numbers.floats().iter().map(|value| *value != 0.0).collect())
        }
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
