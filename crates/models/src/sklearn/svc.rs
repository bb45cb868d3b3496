//! Support vector machines, fitted by libsvm.

use super::part::Part;
use crate::LoadError;
use crate::data::{Data, Intake};
use crate::flow::{Fitted, Grid, Predict};
use crate::kernels::{
    AnyVectors, Confidence, Kernel, KernelFunction, Platt, Rounding, Svc, SvcParts,
};
use crate::labels::{IntegerType, Labels};
use crate::pickle::Node;
use crate::predictor::Output;
use crate::{InputError, Precision};

/// `SVC` and `NuSVC`.
pub(super) fn read_classifier(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let classes = part.labels()?;
    let k = classes.len();
    if k < 2 {
        return Err(part.damaged("expected at least two classes"));
    }
    let kernel = kernel_function(part)?;
    let (rows, features) = (kernel.vectors.count(), kernel.vectors.length());
    let pairs = k * (k - 1) / 2;
    let several = part.text("decision_function_shape") == Some("ovo");
    let parts = SvcParts {
        kernel,
        classes: k,
        counts: counts(part)?,
        // The underscored copies have the signs of libsvm; the public ones are flipped for two classes.
        coefficients: part.full("_dual_coef_", [k - 1, rows])?,
        intercepts: part.floats("_intercept_", &[pairs])?,
        platt: platt(part, pairs)?,
        break_ties: part.truth("break_ties") == Some(true)
            && part.text("decision_function_shape") == Some("ovr")
            && k > 2,
        one_vs_rest: !several,
        confidence: Confidence::of_version(part.version()),
    };
    let svc = Svc::new(parts).ok_or_else(|| {
        part.damaged("expected `_n_support` to count the support vectors by class")
    })?;
    let classifier = Classifier {
        intake: part.intake(),
        svc,
    };
    Ok(Fitted::new(classifier, Some(features), Some(classes)))
}

/// `SVR` and `NuSVR`.
pub(super) fn read_regressor(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let sum = read_sum(part)?;
    let features = sum.kernel.vectors.length();
    let regressor = Regressor(sum);
    Ok(Fitted::new(regressor, Some(features), None))
}

/// `OneClassSVM`: 1 for those inside, -1 for those outside.
pub(super) fn read_one_class(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let sum = read_sum(part)?;
    let features = sum.kernel.vectors.length();
    let classes = Labels::Integers(vec![-1, 1], IntegerType::Int64);
    Ok(Fitted::new(OneClass(sum), Some(features), Some(classes)))
}

fn read_sum(part: &Part<'_, '_>) -> Result<Sum, LoadError> {
    let kernel = kernel_function(part)?;
    let rows = kernel.vectors.count();
    Ok(Sum {
        intake: part.intake(),
        kernel,
        coefficients: part.full("_dual_coef_", [1, rows])?,
        intercept: part.scalar("_intercept_")?,
    })
}

fn kernel_function(part: &Part<'_, '_>) -> Result<KernelFunction, LoadError> {
    // Compressed, with the coefficients, where the rows that were fitted are.
    let vectors = part.any_matrix("support_vectors_")?;
    if part
        .features()
        .is_some_and(|count| count != vectors.columns())
    {
        return Err(
            part.damaged("expected as many columns in `support_vectors_` as `n_features_in_`")
        );
    }
    Ok(KernelFunction {
        kernel: kernel(part)?,
        vectors: AnyVectors::from(vectors),
        // As OpenBLAS below 32 values on most processors; on some it rounds once, which no file says.
        rounding: Rounding::EachStep,
    })
}

#[derive(Debug)]
struct Classifier {
    intake: Intake,
    svc: Svc,
}

impl Predict for Classifier {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let rows = self.intake.numbers(data)?;
        Ok(Output::Classes(self.svc.classify(&rows)))
    }

    fn has_probabilities(&self) -> bool {
        self.svc.has_probabilities()
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let rows = self.intake.numbers(data)?;
        Ok(Grid::double(
            self.svc.probabilities(&rows),
            self.svc.classes(),
        ))
    }

    fn has_decisions(&self) -> bool {
        true
    }

    fn decisions(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let rows = self.intake.numbers(data)?;
        let (values, columns) = self.svc.decision_function(&rows);
        Ok(Grid::double(values, columns))
    }
}

/// A weighted sum of the kernel with each support vector.
#[derive(Debug)]
struct Sum {
    intake: Intake,
    kernel: KernelFunction,
    coefficients: Vec<f64>,
    intercept: f64,
}

impl Sum {
    fn of(&self, data: Data<'_>) -> Result<Vec<f64>, InputError> {
        let rows = self.intake.numbers(data)?;
        let mut kernel = Vec::new();
        let mut out = Vec::with_capacity(rows.count());
        rows.each(|row| {
            self.kernel.apply(row, &mut kernel);
            let products = self.coefficients.iter().zip(&kernel);
            let sum = products.fold(0.0, |sum, (coefficient, value)| sum + coefficient * value);
            out.push(sum + self.intercept);
        });
        Ok(out)
    }
}

#[derive(Debug)]
struct Regressor(Sum);

impl Predict for Regressor {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        Ok(Output::Values(self.0.of(data)?, Precision::Double))
    }
}

#[derive(Debug)]
struct OneClass(Sum);

impl Predict for OneClass {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let sums = self.0.of(data)?;
        Ok(Output::Classes(
            sums.into_iter().map(|sum| u32::from(sum > 0.0)).collect(),
        ))
    }

    fn has_decisions(&self) -> bool {
        true
    }

    fn decisions(&self, data: Data<'_>) -> Result<Grid, InputError> {
        Ok(Grid::double(self.0.of(data)?, 1))
    }
}

fn kernel(part: &Part<'_, '_>) -> Result<Kernel, LoadError> {
    let name = match part.graph().node(part.required("kernel")?) {
        Node::Str(name) => name.as_ref(),
        _ => return Err(part.setting("a `kernel` that is a function")),
    };
    // `_gamma` is what 'scale' and 'auto' came to.
    let gamma = || match part.attribute("_gamma") {
        Some(_) => part.float("_gamma"),
        None => part.float("gamma"),
    };
    let kernel = match name {
        "linear" => Kernel::Linear,
        "rbf" => Kernel::Rbf { gamma: gamma()? },
        "poly" => {
            let degree = part
                .count("degree")
                .and_then(|degree| u32::try_from(degree).ok());
            let degree =
                degree.ok_or_else(|| part.damaged("expected a whole number in `degree`"))?;
            Kernel::Polynomial {
                gamma: gamma()?,
                coef0: part.float("coef0")?,
                degree,
            }
        }
        "sigmoid" => Kernel::Sigmoid {
            gamma: gamma()?,
            coef0: part.float("coef0")?,
        },
        _ => {
            let name: String = name.chars().take(64).collect();
            return Err(part.setting(format!("`kernel` = '{name}'")));
        }
    };
    Ok(kernel)
}

fn counts(part: &Part<'_, '_>) -> Result<Vec<usize>, LoadError> {
    let name = if part.attribute("_n_support").is_some() {
        "_n_support"
    } else {
        "n_support_"
    };
    let counts = part
        .integers(name)?
        .into_iter()
        .map(|count| usize::try_from(count).ok())
        .collect::<Option<_>>();
    counts.ok_or_else(|| part.damaged(format!("expected counts in `{name}`")))
}

/// Platt's parameters, empty unless fitted with `probability=True`. `probA_` before 0.24 and `_probA` since.
fn platt(part: &Part<'_, '_>, pairs: usize) -> Result<Option<Platt>, LoadError> {
    let (a, b) = if part.attribute("_probA").is_some() {
        ("_probA", "_probB")
    } else {
        ("probA_", "probB_")
    };
    if part.attribute(a).is_none() || part.array(a)?.count() == 0 {
        return Ok(None);
    }
    Ok(Some(Platt {
        a: part.floats(a, &[pairs])?,
        b: part.floats(b, &[pairs])?,
    }))
}
