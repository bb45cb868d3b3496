//! `StackingClassifier` and `StackingRegressor`: an estimator that sees what others predict.

use super::member::Member;
use super::part::Part;
use super::predicting;
use crate::data::{Data, Intake, Rows};
use crate::flow::{Fitted, Flow, Grid, Predict};
use crate::predictor::Output;
use crate::{InputError, LoadError, Matrix, Precision};
use std::borrow::Cow;

/// What is asked of an estimator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Predict,
    Probabilities,
    Decisions,
}

pub(super) fn read(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let classes = match part.name() {
        "StackingClassifier" => Some(part.labels()?),
        _ => None,
    };
    let graph = part.graph();
    let estimators = part.list("estimators_")?;
    let methods = part.list("stack_method_")?;
    if estimators.is_empty() || estimators.len() != methods.len() {
        return Err(part.damaged("expected a `stack_method_` for each of `estimators_`"));
    }
    let mut below = Vec::new();
    for (index, (id, method)) in estimators.iter().zip(methods).enumerate() {
        let flow = predicting(&part.inner(*id, &format!("estimators_[{index}]"))?)?;
        let method = match graph.text(*method) {
            Some("predict") => Method::Predict,
            Some("predict_proba") if flow.has_probabilities() => Method::Probabilities,
            Some("decision_function") if flow.has_decisions() => Method::Decisions,
            _ => return Err(part.setting("a `stack_method_` that its estimator has not")),
        };
        below.push((flow, method));
    }
    let last = part.part("final_estimator_")?;
    let top = match &classes {
        Some(classes) => Top::Classifier(Member::numbered(&last, classes.len())?),
        None => Top::Regressor(predicting(&last)?),
    };
    // Without a number of its own it is what its estimators say.
    let features = part
        .features()
        .or_else(|| below.first().and_then(|(flow, _)| flow.takes()));
    let model = Stacking {
        below,
        top,
        passthrough: (part.truth("passthrough") == Some(true)).then(|| Intake {
            infinite: true,
            ..part.lenient_intake()
        }),
    };
    Ok(Fitted::new(model, features, classes))
}

#[derive(Debug)]
enum Top {
    Classifier(Member),
    Regressor(Flow),
}

impl Top {
    fn flow(&self) -> &Flow {
        match self {
            Self::Classifier(member) => &member.flow,
            Self::Regressor(flow) => flow,
        }
    }
}

#[derive(Debug)]
struct Stacking {
    below: Vec<(Flow, Method)>,
    top: Top,
    /// There where the last estimator also sees the rows themselves.
    passthrough: Option<Intake>,
}

impl Stacking {
    /// scikit-learn's `_concatenate_predictions`: of two probabilities only the second is of use.
    fn stacked(&self, data: &Data<'_>) -> Result<Data<'static>, InputError> {
        let rows = data.rows();
        let mut blocks: Vec<Grid> = Vec::new();
        for (flow, method) in &self.below {
            let data = data.by_ref();
            let grid = match method {
                Method::Probabilities => {
                    let mut grid = flow.probabilities(data)?;
                    if grid.columns == 2 {
                        let second = grid.rows().filter_map(|row| row.last().copied());
                        grid = Grid::double(second.collect(), 1);
                    }
                    grid
                }
                Method::Decisions => flow.decisions(data)?.ok_or(InputError::NoPrediction)?,
                Method::Predict => match flow.predict(data)? {
                    Output::Values(values, _) => Grid::double(values, 1),
                    Output::Table {
                        values, columns, ..
                    } => Grid::double(values, columns),
                    Output::ClassTable { .. } => return Err(InputError::NoPrediction),
                    Output::Classes(classes) => {
                        Grid::double(classes.into_iter().map(f64::from).collect(), 1)
                    }
                },
            };
            blocks.push(grid);
        }
        if let Some(intake) = &self.passthrough {
            let matrix = intake.numbers(data.by_ref())?.dense()?.into_owned();
            blocks.push(Grid::double(matrix.values().to_vec(), matrix.columns()));
        }
        let columns: usize = blocks.iter().map(|grid| grid.columns).sum();
        let mut values = Vec::with_capacity(rows.saturating_mul(columns));
        let mut each: Vec<_> = blocks.iter().map(Grid::rows).collect();
        for _ in 0..rows {
            for block in &mut each {
                values.extend_from_slice(block.next().unwrap_or_default());
            }
        }
        let matrix = Matrix::new(values, rows, columns, Precision::Double);
        let matrix = matrix.ok_or(InputError::TooLarge)?;
        Ok(Data::Rows(Rows::Dense(Cow::Owned(matrix))))
    }
}

impl Predict for Stacking {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let stacked = self.stacked(&data)?;
        match &self.top {
            Top::Classifier(member) => member.classes(&stacked).map(Output::Classes),
            Top::Regressor(flow) => flow.predict(stacked),
        }
    }

    fn has_probabilities(&self) -> bool {
        self.top.flow().has_probabilities()
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        self.top.flow().probabilities(self.stacked(&data)?)
    }

    fn has_decisions(&self) -> bool {
        self.top.flow().has_decisions()
    }

    fn decisions(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let decisions = self.top.flow().decisions(self.stacked(&data)?)?;
        decisions.ok_or(InputError::NoPrediction)
    }
}
