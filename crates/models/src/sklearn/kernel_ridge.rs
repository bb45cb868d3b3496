//! `KernelRidge`

use super::part::Part;
use crate::data::{Data, Intake};
use crate::flow::{Fitted, Grid, Predict};
use crate::kernels::{AnyVectors, Kernel, KernelFunction, Metric, Points, Rounding};
use crate::predictor::Output;
use crate::{InputError, LoadError, Precision};

#[derive(Debug)]
struct Ridge {
    intake: Intake,
    similarity: Similarity,
    /// One row for each fitted row.
    coefficients: Vec<f64>,
    outputs: usize,
    flat: bool,
}

#[derive(Debug)]
enum Similarity {
    Kernel(KernelFunction),
    /// The RBF kernel: scikit-learn takes distances by products here, unlike libsvm.
    Rbf {
        gamma: f64,
        points: Points,
    },
}

pub(super) fn read(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let vectors = part.any_matrix("X_fit_")?;
    let features = vectors.columns();
    if part.set("kernel_params").is_some() {
        return Err(part.setting("`kernel_params`"));
    }
    let gamma = match part.set("gamma") {
        Some(_) => part.scalar("gamma")?,
        None => 1.0 / features as f64,
    };
    let kernel = match part.text("kernel") {
        Some("linear") => Kernel::Linear,
        Some("rbf") => Kernel::Rbf { gamma },
        Some("poly" | "polynomial") => Kernel::Polynomial {
            gamma,
            coef0: part.scalar("coef0")?,
            degree: part
                .count("degree")
                .and_then(|degree| u32::try_from(degree).ok())
                .ok_or_else(|| part.unknown("degree"))?,
        },
        Some("sigmoid") => Kernel::Sigmoid {
            gamma,
            coef0: part.scalar("coef0")?,
        },
        _ => return Err(part.unknown("kernel")),
    };
    let rows = vectors.rows();
    let (outputs, flat) = match part.array("dual_coef_")?.shape.as_slice() {
        [count] if *count == rows => (1, true),
        [count, outputs] if *count == rows && *outputs > 0 => (*outputs, false),
        _ => return Err(part.damaged("expected coefficients for each fitted row")),
    };
    let model = Ridge {
        intake: part.intake(),
        similarity: match kernel {
            Kernel::Rbf { gamma } => Similarity::Rbf {
                gamma,
                points: vectors.into_points(Metric::EuclideanByProduct),
            },
            kernel => Similarity::Kernel(KernelFunction {
                kernel,
                vectors: AnyVectors::from(vectors),
                rounding: Rounding::Once,
            }),
        },
        coefficients: part.vector("dual_coef_", rows * outputs)?,
        outputs,
        flat,
    };
    Ok(Fitted::new(model, Some(features), None))
}

impl Predict for Ridge {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let rows = self.intake.numbers(data)?;
        let mut out = Vec::with_capacity(rows.count() * self.outputs);
        let mut kernel = Vec::new();
        rows.each(|row| {
            match &self.similarity {
                Similarity::Kernel(function) => function.apply(row, &mut kernel),
                Similarity::Rbf { gamma, points } => {
                    points.distances(row, &mut kernel);
                    kernel
                        .iter_mut()
                        .for_each(|value| *value = (-gamma * (*value * *value)).exp());
                }
            }
            let start = out.len();
            out.resize(start + self.outputs, 0.0);
            let sums = out.get_mut(start..).unwrap_or_default();
            let lines = self.coefficients.chunks_exact(self.outputs);
            for (value, line) in kernel.iter().zip(lines) {
                for (sum, coefficient) in sums.iter_mut().zip(line) {
                    *sum = value.mul_add(*coefficient, *sum);
                }
            }
        });
        Ok(if self.flat {
            Output::Values(out, Precision::Double)
        } else {
            Grid::double(out, self.outputs).into()
        })
    }
}
