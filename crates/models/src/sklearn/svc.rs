//! `sklearn.svm.SVC`, fitted by libsvm.

use super::Fitted;
use super::part::Part;
use crate::LoadError;
use crate::kernels::{Kernel, Model, Platt, Rounding, Svc, SvcParts};
use crate::pickle::Node;

pub(super) fn read(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let classes = part.labels()?;
    let k = classes.len();
    if k < 2 {
        return Err(part.damaged("expected at least two classes"));
    }
    if part.truth("_sparse") == Some(true) {
        return Err(part.setting("`_sparse` = True (fitted on a sparse matrix)"));
    }
    let vectors = part.array("support_vectors_")?;
    let [rows, features] = vectors.shape.as_slice() else {
        return Err(part.damaged("expected a matrix in `support_vectors_`"));
    };
    let (rows, features) = (*rows, *features);
    let pairs = k * (k - 1) / 2;
    // The underscored copies have the signs of libsvm; the public ones are flipped for two classes.
    let coefficients = part.floats("_dual_coef_", &[k - 1, rows])?;
    let intercepts = part.floats("_intercept_", &[pairs])?;
    let parts = SvcParts {
        kernel: kernel(part)?,
        classes: k,
        features,
        vectors: part.floats("support_vectors_", &[rows, features])?,
        counts: counts(part)?,
        coefficients,
        intercepts,
        platt: platt(part, pairs)?,
        break_ties: part.truth("break_ties") == Some(true)
            && part.text("decision_function_shape") == Some("ovr")
            && k > 2,
        // The BLAS in the scipy of the time: measured with scipy 1.10 under scikit-learn 1.1, and 1.17 under 1.5 and 1.9.
        rounding: if part.version() < (1, 3) {
            Rounding::EachStep
        } else {
            Rounding::Once
        },
        one_vs_rest: part.text("decision_function_shape") != Some("ovo"),
    };
    let svc = Svc::new(parts).ok_or_else(|| {
        part.damaged("expected `_n_support` to count the support vectors by class")
    })?;
    if part
        .count("n_features_in_")
        .is_some_and(|count| count != features)
    {
        return Err(
            part.damaged("expected as many columns in `support_vectors_` as `n_features_in_`")
        );
    }
    Ok(Fitted {
        model: Model::Svc(svc),
        features,
        classes: Some(classes),
    })
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
