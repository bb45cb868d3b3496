//! Classifiers of several outputs, each with classes of its own.

use super::part::Part;
use super::predicting;
use crate::data::Data;
use crate::flow::{Fitted, Flow, Predict};
use crate::kernels::argmax;
use crate::labels::{IntegerType, Labels};
use crate::pickle::Node;
use crate::predictor::Output;
use crate::{InputError, LoadError};

/// The classes of several outputs: for each the places of its classes among those of all.
#[derive(Debug, Clone)]
pub(super) struct Outputs {
    places: Vec<Vec<u32>>,
}

impl Outputs {
    /// Those in `classes_`, with the classes of all outputs, where that is a list.
    pub(super) fn find(part: &Part<'_, '_>) -> Result<Option<(Self, Labels)>, LoadError> {
        let id = part.required("classes_")?;
        if !matches!(part.graph().node(id), Node::List(_)) {
            return Ok(None);
        }
        let each = part.list_at(id, "classes_")?;
        let each = each.iter().map(|id| part.labels_at(*id));
        Self::together(part, &each.collect::<Result<Vec<_>, _>>()?).map(Some)
    }

    fn together(part: &Part<'_, '_>, each: &[Labels]) -> Result<(Self, Labels), LoadError> {
        part.pay(each.iter().map(Labels::len).sum())?;
        match Labels::together(each) {
            Some((labels, places)) => Ok((Self { places }, labels)),
            None => Err(part.setting("outputs with classes of several types")),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    /// The number of classes of each output.
    pub(super) fn sizes(&self) -> impl Iterator<Item = usize> {
        self.places.iter().map(Vec::len)
    }

    /// The classes with the largest of the values of a row, of which each output has `width`.
    pub(super) fn choose(&self, row: &[f64], width: usize, out: &mut Vec<u32>) {
        let values = row.chunks_exact(width.max(1));
        for (places, values) in self.places.iter().zip(values) {
            let best = argmax(values.iter().take(places.len()).copied());
            out.push(place(places, best));
        }
    }

    /// As many classes for each row as there are outputs.
    pub(super) fn table(&self, classes: Vec<u32>) -> Output {
        Output::ClassTable {
            classes,
            columns: self.count(),
        }
    }
}

fn place(places: &[u32], class: u32) -> u32 {
    let index = usize::try_from(class).ok();
    index
        .and_then(|index| places.get(index).copied())
        .unwrap_or(0)
}

/// What is said of each label where a row has any number of them.
pub(super) fn yes_or_no() -> Labels {
    Labels::Integers(vec![0, 1], IntegerType::Int64)
}

/// `MultiOutputClassifier`: a classifier for each output.
pub(super) fn read(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let (mut flows, mut labels) = (Vec::new(), Vec::new());
    for (index, id) in part.list("estimators_")?.iter().enumerate() {
        let inner = part.inner(*id, &format!("estimators_[{index}]"))?;
        let flow = predicting(&inner)?;
        let classes = flow.classes().cloned();
        labels.push(classes.ok_or_else(|| inner.damaged("expected a classifier"))?);
        flows.push(flow);
    }
    if flows.is_empty() {
        return Err(part.damaged("expected at least one estimator in `estimators_`"));
    }
    let (outputs, labels) = Outputs::together(part, &labels)?;
    let model = MultiOutput { flows, outputs };
    Ok(Fitted::new(model, part.features(), Some(labels)))
}

#[derive(Debug)]
struct MultiOutput {
    flows: Vec<Flow>,
    outputs: Outputs,
}

impl Predict for MultiOutput {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let columns = self.outputs.count();
        let mut classes = vec![0; data.rows().saturating_mul(columns)];
        let each = self.flows.iter().zip(&self.outputs.places).enumerate();
        for (output, (flow, places)) in each {
            let Output::Classes(found) = flow.predict(data.by_ref())? else {
                return Err(InputError::NoPrediction);
            };
            let cells = classes.iter_mut().skip(output).step_by(columns.max(1));
            for (cell, class) in cells.zip(found) {
                *cell = place(places, class);
            }
        }
        Ok(self.outputs.table(classes))
    }
}
