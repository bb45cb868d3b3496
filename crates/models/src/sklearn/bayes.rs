//! `sklearn.naive_bayes`

use super::member::largest;
use super::part::Part;
use crate::data::{Data, Intake, Rows};
use crate::flow::{Fitted, Grid, Predict};
use crate::kernels::{Linear, log_sum_exp, sum};
use crate::predictor::Output;
use crate::{InputError, LoadError, Precision};
use std::f64::consts::PI;

#[derive(Debug)]
struct Bayes {
    intake: Intake,
    likelihood: Likelihood,
    classes: usize,
}

/// The logarithm of the likelihood of each class.
#[derive(Debug)]
enum Likelihood {
    Gaussian(Vec<Gaussian>),
    /// A product with the counts of the features.
    Counts(Linear),
    /// A product with whether each feature is above the threshold.
    Bernoulli(Linear, Option<f64>),
    Categorical {
        /// For each feature the logarithms of its categories, class by class.
        features: Vec<Vec<f64>>,
        priors: Vec<f64>,
    },
}

#[derive(Debug)]
struct Gaussian {
    means: Vec<f64>,
    variances: Vec<f64>,
    prior: f64,
    /// The part of the likelihood that is the same for all rows.
    constant: f64,
}

pub(super) fn read(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let classes = part.labels()?;
    let k = classes.len();
    let likelihood = match part.name() {
        "GaussianNB" => Likelihood::Gaussian(gaussians(part, k)?),
        "CategoricalNB" => categorical(part, k)?,
        name => {
            let (logs, features) = part.matrix("feature_log_prob_")?;
            if logs.len() != k * features {
                return Err(part.damaged("expected a row in `feature_log_prob_` for each class"));
            }
            let priors = part.vector("class_log_prior_", k)?;
            let linear = |coefficients, offsets| {
                Linear::new(coefficients, offsets, features, Precision::Double)
                    .ok_or_else(|| part.damaged("expected at least one feature"))
            };
            match name {
                "MultinomialNB" => Likelihood::Counts(linear(logs, priors)?),
                "ComplementNB" if k > 1 => Likelihood::Counts(linear(logs, vec![0.0; k])?),
                "ComplementNB" => Likelihood::Counts(linear(logs, priors)?),
                _ => {
                    let others: Vec<f64> = logs.iter().map(|log| (1.0 - log.exp()).ln()).collect();
                    let offsets = others.chunks_exact(features).zip(&priors);
                    let offsets = offsets.map(|(row, prior)| prior + sum(row)).collect();
                    let pairs = logs.iter().zip(&others);
                    let differences = pairs.map(|(log, other)| log - other).collect();
                    let threshold = match part.set("binarize") {
                        Some(_) => Some(part.scalar("binarize")?),
                        None => None,
                    };
                    Likelihood::Bernoulli(linear(differences, offsets)?, threshold)
                }
            }
        }
    };
    let takes = part.features();
    let model = Bayes {
        intake: part.intake(),
        likelihood,
        classes: k,
    };
    Ok(Fitted::new(model, takes, Some(classes)))
}

fn gaussians(part: &Part<'_, '_>, classes: usize) -> Result<Vec<Gaussian>, LoadError> {
    let (means, features) = part.matrix("theta_")?;
    // `sigma_` until 0.24.
    let name = match part.attribute("var_") {
        Some(_) => "var_",
        None => "sigma_",
    };
    let variances = part.floats(name, &[classes, features])?;
    let priors = part.vector("class_prior_", classes)?;
    if means.len() != classes * features || variances.iter().any(|variance| *variance <= 0.0) {
        return Err(part.damaged("expected means and variances above zero for each class"));
    }
    let rows = means
        .chunks_exact(features)
        .zip(variances.chunks_exact(features));
    let gaussian = |((means, variances), prior): ((&[f64], &[f64]), &f64)| {
        let logs: Vec<f64> = variances
            .iter()
            .map(|variance| (2.0 * PI * variance).ln())
            .collect();
        Gaussian {
            means: means.to_vec(),
            variances: variances.to_vec(),
            prior: prior.ln(),
            constant: -0.5 * sum(&logs),
        }
    };
    Ok(rows.zip(&priors).map(gaussian).collect())
}

fn categorical(part: &Part<'_, '_>, classes: usize) -> Result<Likelihood, LoadError> {
    let mut features = Vec::new();
    for id in part.list("feature_log_prob_")? {
        let values = part.numbers_at(*id, "feature_log_prob_")?;
        if values.is_empty() || values.len() % classes != 0 {
            return Err(part.damaged("expected a row for each class in `feature_log_prob_`"));
        }
        features.push(values);
    }
    if part.features() != Some(features.len()) {
        return Err(part.damaged("expected logarithms for each feature in `feature_log_prob_`"));
    }
    Ok(Likelihood::Categorical {
        features,
        priors: part.vector("class_log_prior_", classes)?,
    })
}

impl Bayes {
    fn joint(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let rows = self.intake.numbers(data)?;
        let values = match &self.likelihood {
            Likelihood::Gaussian(gaussians) => {
                let mut out = Vec::new();
                let mut terms = Vec::new();
                rows.each(|row| {
                    for gaussian in gaussians {
                        terms.clear();
                        let parameters = gaussian.means.iter().zip(&gaussian.variances);
                        terms.extend(row.iter().zip(parameters).map(
                            |(value, (mean, variance))| (value - mean) * (value - mean) / variance,
                        ));
                        out.push(gaussian.prior + (gaussian.constant - 0.5 * sum(&terms)));
                    }
                });
                out
            }
            Likelihood::Counts(linear) => linear.decide(&rows),
            Likelihood::Bernoulli(linear, None) => linear.decide(&rows),
            Likelihood::Bernoulli(linear, Some(threshold)) => {
                let above = rows.map(rows.columns(), Precision::Double, |row, out| {
                    out.extend(
                        row.iter()
                            .map(|value| f64::from(u8::from(value > threshold))),
                    );
                })?;
                linear.decide(&Rows::Dense(std::borrow::Cow::Owned(above)))
            }
            Likelihood::Categorical { features, priors } => {
                self.categorical(&rows, features, priors)?
            }
        };
        Ok(Grid::double(values, self.classes))
    }

    fn categorical(
        &self,
        rows: &Rows<'_>,
        features: &[Vec<f64>],
        priors: &[f64],
    ) -> Result<Vec<f64>, InputError> {
        let mut out = Vec::new();
        let mut strange = None;
        rows.each(|row| {
            let start = out.len();
            out.resize(start + self.classes, 0.0);
            let sums = out.get_mut(start..).unwrap_or_default();
            for (value, logs) in row.iter().zip(features) {
                let count = logs.len() / self.classes;
                let index = value.trunc() as usize;
                if *value < 0.0 || index >= count {
                    strange = Some(*value);
                    continue;
                }
                for (sum, logs) in sums.iter_mut().zip(logs.chunks_exact(count)) {
                    *sum += logs.get(index).copied().unwrap_or(f64::NAN);
                }
            }
            for (sum, prior) in sums.iter_mut().zip(priors) {
                *sum += prior;
            }
        });
        match strange {
            None => Ok(out),
            Some(value) => Err(InputError::Domain {
                estimator: self.intake.estimator.clone(),
                what: format!("the category {value:?}, which it was not fitted with"),
            }),
        }
    }
}

impl Predict for Bayes {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        Ok(largest(&self.joint(data)?))
    }

    fn has_probabilities(&self) -> bool {
        true
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let mut joint = self.joint(data)?;
        for row in joint.values.chunks_exact_mut(self.classes.max(1)) {
            let total = log_sum_exp(row);
            row.iter_mut()
                .for_each(|value| *value = (*value - total).exp());
        }
        Ok(joint)
    }
}
