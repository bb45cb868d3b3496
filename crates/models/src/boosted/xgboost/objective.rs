//! XGBoost's objectives: what becomes of the sums of the trees (`src/objective` in its sources, in single precision).

/// What is done to the sums of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Objective {
    Identity,
    Logistic,
    Exponential,
    Hinge,
    /// Probabilities of classes.
    Softprob,
    /// The class with the largest sum, as a number.
    Softmax,
}

impl Objective {
    /// # Errors
    /// An unknown name.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        Ok(match name {
            "reg:squarederror"
            | "reg:linear"
            | "reg:squaredlogerror"
            | "reg:pseudohubererror"
            | "reg:absoluteerror"
            | "reg:quantileerror"
            | "reg:expectileerror"
            | "rank:pairwise"
            | "rank:ndcg"
            | "rank:map"
            | "binary:logitraw" => Self::Identity,
            "binary:logistic" | "reg:logistic" => Self::Logistic,
            "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => {
                Self::Exponential
            }
            "binary:hinge" => Self::Hinge,
            "multi:softprob" => Self::Softprob,
            "multi:softmax" => Self::Softmax,
            other => {
                let shown: String = other.chars().take(64).collect();
                return Err(format!("the objective `{shown}` is not supported"));
            }
        })
    }

    /// The sum that stands for an intercept (`ProbToMargin`); `None` if it is outside of what the objective takes.
    pub(crate) fn margin(self, base: f32) -> Option<f32> {
        let margin = match self {
            Self::Logistic if base > 0.0 && base < 1.0 => -(1.0 / base - 1.0).ln(),
            Self::Logistic => return None,
            Self::Exponential => base.ln(),
            Self::Identity | Self::Hinge | Self::Softprob | Self::Softmax => base,
        };
        margin.is_finite().then_some(margin)
    }

    /// Whether a row has one number, whatever the number of its sums.
    pub(crate) fn is_single(self) -> bool {
        self == Self::Softmax
    }

    /// Turns the sums of a row into its answer (`PredTransform`).
    pub(crate) fn finish(self, sums: &mut Vec<f32>) {
        match self {
            Self::Identity => {}
            Self::Logistic => sums.iter_mut().for_each(|sum| *sum = sigmoid(*sum)),
            Self::Exponential => sums.iter_mut().for_each(|sum| *sum = sum.exp()),
            Self::Hinge => {
                let sign = |sum: f32| if sum > 0.0 { 1.0 } else { 0.0 };
                sums.iter_mut().for_each(|sum| *sum = sign(*sum));
            }
            Self::Softprob => softmax(sums),
            Self::Softmax => {
                let class = crate::kernels::argmax(sums.iter().map(|sum| f64::from(*sum)));
                sums.clear();
                sums.push(class as f32);
            }
        }
    }
}

fn sigmoid(sum: f32) -> f32 {
    // The bound keeps the exponential finite; the tiny term is lost in the sum, in XGBoost too.
    1.0 / ((-sum).min(88.7).exp() + 1.0)
}

fn softmax(sums: &mut [f32]) {
    let largest = sums.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0_f64;
    for sum in &mut *sums {
        *sum = (*sum - largest).exp();
        total += f64::from(*sum);
    }
    for sum in sums {
        *sum /= total as f32;
    }
}
