//! Projections: `PCA`, `TruncatedSVD`, `FastICA`.

use super::part::Part;
use crate::data::{Data, Intake, Rows};
use crate::flow::{Step, Transform};
use crate::kernels::Linear;
use crate::matrix::round;
use crate::{InputError, LoadError, Matrix, Precision};

#[derive(Debug)]
struct Projection {
    intake: Intake,
    /// Taken off each column before.
    mean: Option<Vec<f64>>,
    mean_precision: Precision,
    components: Linear,
    /// What each result is divided by.
    scale: Option<Vec<f64>>,
}

pub(super) fn read_pca(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let (components, features) = part.matrix("components_")?;
    let outputs = components.len() / features;
    let precision = part.precision("components_");
    let mean = match part.set("mean_") {
        Some(_) => part.vector("mean_", features)?,
        None => vec![0.0; features],
    };
    let scale = match part.truth("whiten") {
        Some(true) => {
            let variances = part.vector("explained_variance_", outputs)?;
            let smallest = match (part.version() >= (1, 4), precision) {
                (false, _) => 0.0,
                (true, Precision::Double) => f64::EPSILON,
                (true, Precision::Single) => f64::from(f32::EPSILON),
            };
            let scale = variances
                .iter()
                .map(|variance| variance.sqrt().max(smallest));
            Some(scale.collect())
        }
        _ => None,
    };
    let linear = |components, offsets| {
        Linear::new(components, offsets, features, precision)
            .ok_or_else(|| part.damaged("expected at least one component"))
    };
    let plain = linear(components.clone(), vec![0.0; outputs])?;
    // Since 1.5 the mean is taken off after the projection.
    let (mean, components) = if part.version() >= (1, 5) {
        let mut products = Vec::new();
        plain.products(&mean, &mut products);
        let offsets = products.iter().map(|product| -round(*product, precision));
        (None, linear(components, offsets.collect())?)
    } else {
        (Some(mean), plain)
    };
    let step = Projection {
        intake: part.intake(),
        mean,
        mean_precision: part.precision("mean_"),
        components,
        scale,
    };
    Ok(Step::new(step, Some(features), Some(outputs)))
}

/// `TruncatedSVD`, and `FastICA` with its mean.
pub(super) fn read_components(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let (components, features) = part.matrix("components_")?;
    let outputs = components.len() / features;
    let mean = match part.set("mean_") {
        Some(_) => Some(part.vector("mean_", features)?),
        None => None,
    };
    let precision = part.precision("components_");
    let components = Linear::new(components, vec![0.0; outputs], features, precision)
        .ok_or_else(|| part.damaged("expected at least one component"))?;
    let step = Projection {
        intake: part.intake(),
        mean,
        // The mean is taken off in place, which keeps the precision of the rows.
        mean_precision: Precision::Single,
        components,
        scale: None,
    };
    Ok(Step::new(step, Some(features), Some(outputs)))
}

/// `LinearDiscriminantAnalysis` before other estimators.
pub(super) fn read_discriminants(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let (scalings, wide) = part.matrix("scalings_")?;
    let features = scalings.len() / wide;
    let outputs = part
        .count("_max_components")
        .filter(|count| *count > 0)
        .map_or(wide, |count| count.min(wide));
    let row = |output: usize| scalings.iter().skip(output).step_by(wide).copied();
    let lines: Vec<f64> = (0..outputs).flat_map(row).collect();
    let mean = match part.text("solver") {
        Some("svd") => Some(part.vector("xbar_", features)?),
        Some("eigen") => None,
        _ => return Err(part.unknown("solver")),
    };
    let components = Linear::new(
        lines,
        vec![0.0; outputs],
        features,
        part.precision("scalings_"),
    );
    let step = Projection {
        intake: part.intake(),
        mean,
        mean_precision: part.precision("xbar_"),
        components: components.ok_or_else(|| part.damaged("expected at least one component"))?,
        scale: None,
    };
    Ok(Step::new(step, Some(features), Some(outputs)))
}

impl Transform for Projection {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        let mut rows = self.intake.numbers(data)?;
        if let Some(mean) = &self.mean {
            let precision = match (self.mean_precision, rows.precision()) {
                (Precision::Single, Precision::Single) => Precision::Single,
                _ => Precision::Double,
            };
            let centred = rows.map(mean.len(), precision, |row, out| {
                let values = row.iter().zip(mean);
                out.extend(values.map(|(value, mean)| round(value - mean, precision)));
            })?;
            rows = Rows::Dense(std::borrow::Cow::Owned(centred));
        }
        let precision = self.components.precision(&rows);
        let mut values = self.components.decide(&rows);
        if let Some(scale) = &self.scale {
            for row in values.chunks_exact_mut(scale.len()) {
                for (value, scale) in row.iter_mut().zip(scale) {
                    *value = round(*value / scale, precision);
                }
            }
        }
        let columns = self.components.outputs();
        let matrix = Matrix::new(values, rows.count(), columns, precision);
        Ok(matrix.ok_or(InputError::TooLarge)?.into())
    }
}
