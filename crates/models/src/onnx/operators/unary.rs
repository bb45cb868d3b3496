//! Functions of one value.

use super::approximate;
use super::arithmetic::numeric;
use crate::onnx::operator::{Inputs, Operator, Work, made};
use crate::onnx::site::{Built, Site};
use crate::onnx::tensor::{Tensor, Values};

/// A function of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Unary {
    Abs,
    Neg,
    Exp,
    Log,
    Sqrt,
    Sigmoid,
    Tanh,
    Relu,
    Ceil,
    Floor,
    Round,
    Sign,
    Reciprocal,
    Softplus,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    LeakyRelu(f32),
    Elu(f32),
}

/// The operator, if it is one of this file.
pub(super) fn unary(site: &Site<'_, '_>) -> Result<Option<Built>, String> {
    let alpha = |default: f32| Ok::<_, String>(site.float("alpha")?.unwrap_or(default));
    let function = match site.node.operator {
        "Abs" => Unary::Abs,
        "Neg" => Unary::Neg,
        "Exp" => Unary::Exp,
        "Log" => Unary::Log,
        "Sqrt" => Unary::Sqrt,
        "Sigmoid" => Unary::Sigmoid,
        "Tanh" => Unary::Tanh,
        "Relu" => Unary::Relu,
        "Ceil" => Unary::Ceil,
        "Floor" => Unary::Floor,
        "Round" => Unary::Round,
        "Sign" => Unary::Sign,
        "Reciprocal" => Unary::Reciprocal,
        "Softplus" => Unary::Softplus,
        "Sin" => Unary::Sin,
        "Cos" => Unary::Cos,
        "Tan" => Unary::Tan,
        "Asin" => Unary::Asin,
        "Acos" => Unary::Acos,
        "Atan" => Unary::Atan,
        "LeakyRelu" => Unary::LeakyRelu(alpha(0.01)?),
        "Elu" => Unary::Elu(alpha(1.0)?),
        _ => return Ok(None),
    };
    let element = numeric(site)?;
    let whole = matches!(
        function,
        Unary::Abs | Unary::Neg | Unary::Sign | Unary::Relu
    );
    if !element.is_float() && !whole {
        return Err(format!("expected floats, found {}", element.name()));
    }
    Ok(Some(Built::new(function, &[element])))
}

macro_rules! function {
    ($name:ident, $kind:ty, $logistic:expr, $tanh:expr) => {
        fn $name(self, x: $kind) -> $kind {
            match self {
                Self::Abs => x.abs(),
                Self::Neg => -x,
                Self::Exp => x.exp(),
                Self::Log => x.ln(),
                Self::Sqrt => x.sqrt(),
                Self::Sigmoid => $logistic(x),
                Self::Tanh => $tanh(x),
                Self::Relu if x < 0.0 => 0.0,
                Self::Relu => x,
                Self::Ceil => x.ceil(),
                Self::Floor => x.floor(),
                Self::Round => x.round_ties_even(),
                Self::Sign if x > 0.0 => 1.0,
                Self::Sign if x < 0.0 => -1.0,
                Self::Sign => x,
                Self::Reciprocal => 1.0 / x,
                // Of the magnitude, which does not overflow.
                Self::Softplus if x > 0.0 => x + ((-x).exp()).ln_1p(),
                Self::Softplus => x.exp().ln_1p(),
                Self::Sin => x.sin(),
                Self::Cos => x.cos(),
                Self::Tan => x.tan(),
                Self::Asin => x.asin(),
                Self::Acos => x.acos(),
                Self::Atan => x.atan(),
                Self::LeakyRelu(alpha) => {
                    if x < 0.0 {
                        x * <$kind>::from(alpha)
                    } else {
                        x
                    }
                }
                Self::Elu(alpha) => {
                    if x < 0.0 {
                        <$kind>::from(alpha) * (x.exp() - 1.0)
                    } else {
                        x
                    }
                }
            }
        }
    };
}

impl Unary {
    function!(single, f32, approximate::logistic, approximate::tanh);
    function!(double, f64, crate::kernels::expit, f64::tanh);
}

impl Operator for Unary {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        work.room(input.element(), input.shape())?;
        let int = |value: i64| match self {
            Self::Abs => value.wrapping_abs(),
            Self::Neg => value.wrapping_neg(),
            Self::Relu => value.max(0),
            _ => value.signum(),
        };
        let values = match input.values() {
            Values::Float(values) => {
                Values::Float(values.iter().map(|value| self.single(*value)).collect())
            }
            Values::Double(values) => {
                Values::Double(values.iter().map(|value| self.double(*value)).collect())
            }
            Values::Int32(values) => {
                let values = values.iter().map(|value| int(i64::from(*value)) as i32);
                Values::Int32(values.collect())
            }
            Values::Int64(values) => {
                Values::Int64(values.iter().map(|value| int(*value)).collect())
            }
            _ => return Err("expected numbers".to_owned()),
        };
        Ok(vec![made(input.shape().to_vec(), values)?])
    }
}
