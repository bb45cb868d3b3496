//! `Scan`: a graph that is run once for each row of its inputs.

use super::super::program::{Program, Refusal, Settings, compile};
use crate::onnx::operator::{Inputs, Operator, Work, made};
use crate::onnx::site::{Built, Site};
use crate::onnx::tensor::{ElementType, Tensor, Values, alike};
use std::sync::Arc;

#[derive(Debug)]
struct Scan {
    body: Program,
    /// Inputs that go from one round to the next; the others are read row by row.
    states: usize,
    outputs: usize,
}

pub(super) fn scan(site: &Site<'_, '_>, settings: &Settings<'_>) -> Result<Built, Refusal> {
    let rows = site.int("num_scan_inputs")?.unwrap_or(0);
    let rows = usize::try_from(rows).unwrap_or(0);
    let given: Option<Vec<ElementType>> = site.elements.iter().copied().collect();
    let given = given.ok_or_else(|| "expected all inputs".to_owned())?;
    let states = given.len().checked_sub(rows).filter(|_| rows > 0);
    let states = states.ok_or_else(|| "expected inputs to read row by row".to_owned())?;
    for name in [
        "scan_input_axes",
        "scan_input_directions",
        "scan_output_axes",
        "scan_output_directions",
        "directions",
    ] {
        if site.ints(name)?.iter().any(|value| *value != 0) {
            return Err(Refusal::Other(format!("`{name}` is not supported")));
        }
    }
    if site.version < 9 {
        return Err(Refusal::Other(
            "`Scan` before version 9 is not supported".to_owned(),
        ));
    }
    let compiled = compile(site.graph("body")?, settings, &given)?;
    let outputs: Vec<ElementType> = compiled.outputs.iter().map(|port| port.element).collect();
    if compiled.inputs.len() != given.len()
        || compiled
            .inputs
            .iter()
            .zip(&given)
            .any(|(port, given)| port.element != *given)
        || outputs.get(..states) != given.get(..states)
        || compiled.outputs.iter().any(|port| port.keys.is_some())
    {
        return Err(Refusal::Other(
            "the body does not take and give what the node says".to_owned(),
        ));
    }
    let scan = Scan {
        body: compiled.program,
        states,
        outputs: outputs.len(),
    };
    Ok(Built {
        operator: Arc::new(scan),
        outputs,
        keys: None,
    })
}

impl Operator for Scan {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let mut states: Vec<Tensor> = inputs.all().take(self.states).cloned().collect();
        let rows: Vec<&Tensor> = inputs.all().skip(self.states).collect();
        let length = |tensor: &&Tensor| tensor.shape().first().copied();
        let count = rows.first().and_then(length).ok_or("expected rows")?;
        if rows.iter().any(|tensor| length(tensor) != Some(count)) {
            return Err("expected inputs of as many rows".to_owned());
        }
        let mut gathered: Vec<Option<(Vec<usize>, Values)>> =
            vec![None; self.outputs - self.states];
        for index in 0..count {
            // The body costs at least as much as taking a row apart.
            work.steps(&[1024])?;
            let mut given = states.clone();
            for tensor in &rows {
                given.push(row(tensor, index, count, work)?);
            }
            let failed = |(place, what): (String, String)| format!("{place}: {what}");
            let mut made = self.body.run(given, work).map_err(failed)?.into_iter();
            states = made.by_ref().take(self.states).collect();
            for (all, tensor) in gathered.iter_mut().zip(made) {
                work.room(tensor.element(), tensor.shape())?;
                match all {
                    None => *all = Some((tensor.shape().to_vec(), tensor.values().clone())),
                    Some((shape, values)) if *shape == tensor.shape() => {
                        extend(values, tensor.values())?;
                    }
                    Some(_) => return Err("the rounds make different shapes".to_owned()),
                }
            }
        }
        let mut out = states;
        for all in gathered {
            let (mut shape, values) = all.ok_or("there are no rows")?;
            shape.insert(0, count);
            out.push(made(shape, values)?);
        }
        Ok(out)
    }
}

fn row(tensor: &Tensor, index: usize, count: usize, work: &mut Work) -> Result<Tensor, String> {
    let shape = tensor.shape().get(1..).unwrap_or_default().to_vec();
    work.room(tensor.element(), &shape)?;
    let size = tensor.values().len().checked_div(count).unwrap_or(0);
    let start = index * size;
    let values = alike!(tensor.values(), values => values
        .get(start..start + size)
        .unwrap_or_default()
        .to_vec());
    made(shape, values)
}

fn extend(to: &mut Values, from: &Values) -> Result<(), String> {
    match (to, from) {
        (Values::Float(to), Values::Float(from)) => to.extend_from_slice(from),
        (Values::Double(to), Values::Double(from)) => to.extend_from_slice(from),
        (Values::Int64(to), Values::Int64(from)) => to.extend_from_slice(from),
        (Values::Int32(to), Values::Int32(from)) => to.extend_from_slice(from),
        (Values::Bool(to), Values::Bool(from)) => to.extend_from_slice(from),
        (Values::Text(to), Values::Text(from)) => to.extend_from_slice(from),
        _ => return Err("expected values of one type".to_owned()),
    }
    Ok(())
}
