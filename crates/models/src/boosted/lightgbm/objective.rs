//! LightGBM's objectives: what becomes of the sums of the trees (`ConvertOutput` in its `src/objective`).

/// What is done to the sums of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Objective {
    Identity,
    /// Squares with their sign, for targets that were trained as roots (`reg_sqrt`).
    Square,
    Exponential,
    /// The logistic function of each sum, times this.
    Sigmoid(f64),
    /// Probabilities of classes.
    Softmax,
    /// `log(1 + exp(sum))`.
    Softplus,
}

impl Objective {
    /// Reads the line of a file. Without one the sums are the answer, as after training with a function of one's own.
    ///
    /// # Errors
    /// An unknown name, or arguments that do not fit the number of outputs.
    pub(super) fn read(line: Option<&str>, outputs: usize) -> Result<Self, String> {
        let mut words = line.unwrap_or("custom").split(' ');
        let name = words.next().unwrap_or_default();
        let arguments: Vec<&str> = words.collect();
        let argument = |key: &str| {
            let mut found = arguments.iter().filter_map(|word| word.split_once(':'));
            found.find_map(|(known, value)| (known == key).then_some(value))
        };
        let sigmoid = || {
            let text = argument("sigmoid").ok_or("expected `sigmoid` in the objective")?;
            let value = number(text).filter(|value| *value > 0.0 && value.is_finite());
            value.ok_or_else(|| "`sigmoid` of the objective is no positive number".to_owned())
        };
        let several = matches!(name, "multiclass" | "multiclassova");
        if several && argument("num_class") != Some(outputs.to_string().as_str()) {
            return Err("`num_class` of the objective is not that of the model".to_owned());
        }
        if !several && name != "custom" && outputs != 1 {
            return Err(format!("expected one output, found {outputs}"));
        }
        Ok(match name {
            "regression" | "regression_l1" | "quantile" | "fair" | "mape"
                if arguments.contains(&"sqrt") =>
            {
                Self::Square
            }
            "regression" | "regression_l1" | "quantile" | "fair" | "mape" | "huber"
            | "lambdarank" | "rank_xendcg" | "custom" => Self::Identity,
            "poisson" | "gamma" | "tweedie" => Self::Exponential,
            "binary" | "multiclassova" => Self::Sigmoid(sigmoid()?),
            "cross_entropy" => Self::Sigmoid(1.0),
            "cross_entropy_lambda" => Self::Softplus,
            "multiclass" => Self::Softmax,
            other => {
                let shown: String = other.chars().take(64).collect();
                return Err(format!("the objective `{shown}` is not supported"));
            }
        })
    }

    /// Turns the sums of a row into its answer.
    pub(super) fn finish(self, sums: &mut [f64]) {
        match self {
            Self::Identity => {}
            Self::Square => sums.iter_mut().for_each(|sum| *sum = square(*sum)),
            Self::Exponential => sums.iter_mut().for_each(|sum| *sum = sum.exp()),
            Self::Sigmoid(scale) => {
                let sigmoid = |sum: f64| 1.0 / (1.0 + (-scale * sum).exp());
                sums.iter_mut().for_each(|sum| *sum = sigmoid(*sum));
            }
            Self::Softmax => softmax(sums),
            Self::Softplus => sums.iter_mut().for_each(|sum| *sum = sum.exp().ln_1p()),
        }
    }
}

fn square(sum: f64) -> f64 {
    let sign = if sum > 0.0 {
        1.0
    } else if sum < 0.0 {
        -1.0
    } else {
        0.0
    };
    sign * sum * sum
}

/// Not `kernels::softmax`, which adds in numpy's order.
fn softmax(sums: &mut [f64]) {
    let largest = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut total = 0.0;
    for sum in &mut *sums {
        *sum = (*sum - largest).exp();
        total += *sum;
    }
    sums.iter_mut().for_each(|sum| *sum /= total);
}

/// A decimal number as LightGBM reads it here (`Common::Atof`): whole part and fraction are rounded each by itself.
fn number(text: &str) -> Option<f64> {
    let exact: f64 = text.parse().ok()?;
    if text.contains(['e', 'E']) {
        return Some(exact);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    if fraction.len() > 17 || !digits(whole) || !digits(fraction) {
        return Some(exact);
    }
    let places = i32::try_from(fraction.len()).ok()?;
    let part = |digits: &str| digits.parse().unwrap_or(0.0);
    Some(part(whole) + part(fraction) / 10_f64.powi(places))
}
