//! Operators that treat each value by itself.

use super::broadcast::{Places, broadcast};
use super::unary;
use crate::onnx::operator::{Inputs, Operator, Work, made};
use crate::onnx::real::{Real, reals};
use crate::onnx::site::{Built, Site};
use crate::onnx::tensor::{ElementType, Tensor, Values};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Mod,
    Max,
    Min,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Logic {
    And,
    Or,
    Xor,
}

/// The operator, if it is one of this file.
pub(super) fn arithmetic(site: &Site<'_, '_>) -> Result<Option<Built>, String> {
    use ElementType::{Bool, Double, Float};
    let name = site.node.operator;
    let binary = match name {
        "Add" => Some(Binary::Add),
        "Sub" => Some(Binary::Sub),
        "Mul" => Some(Binary::Mul),
        "Div" => Some(Binary::Div),
        "Pow" => Some(Binary::Pow),
        "Mod" => Some(Binary::Mod),
        _ => None,
    };
    if let Some(binary) = binary {
        let element = numeric(site)?;
        if binary != Binary::Pow {
            site.same()?;
        }
        site.element(1)?;
        let fold = Fold {
            binary,
            fmod: site.int("fmod")?.unwrap_or(0) != 0,
            mean: false,
        };
        return Ok(Some(Built::new(fold, &[element])));
    }
    let folded = match name {
        "Max" => Some((Binary::Max, false)),
        "Min" => Some((Binary::Min, false)),
        "Sum" => Some((Binary::Add, false)),
        "Mean" => Some((Binary::Add, true)),
        _ => None,
    };
    if let Some((binary, mean)) = folded {
        let element = numeric(site)?;
        site.same()?;
        let fold = Fold {
            binary,
            fmod: false,
            mean,
        };
        return Ok(Some(Built::new(fold, &[element])));
    }
    let test = match name {
        "Less" => Some(Test::Less),
        "LessOrEqual" => Some(Test::LessOrEqual),
        "Greater" => Some(Test::Greater),
        "GreaterOrEqual" => Some(Test::GreaterOrEqual),
        "Equal" => Some(Test::Equal),
        _ => None,
    };
    if let Some(test) = test {
        if test != Test::Equal {
            numeric(site)?;
        }
        site.same()?;
        site.element(1)?;
        return Ok(Some(Built::new(test, &[Bool])));
    }
    let logic = match name {
        "And" => Some(Logic::And),
        "Or" => Some(Logic::Or),
        "Xor" => Some(Logic::Xor),
        _ => None,
    };
    if let Some(logic) = logic {
        site.of(0, &[Bool])?;
        site.of(1, &[Bool])?;
        return Ok(Some(Built::new(logic, &[Bool])));
    }
    Ok(match name {
        "Not" => {
            site.of(0, &[Bool])?;
            Some(Built::new(Not, &[Bool]))
        }
        "IsNaN" | "IsInf" => {
            site.of(0, &[Float, Double])?;
            let flag = |name: &str| Ok::<_, String>(site.int(name)?.unwrap_or(1) != 0);
            let special = Special {
                nan: name == "IsNaN",
                positive: flag("detect_positive")?,
                negative: flag("detect_negative")?,
            };
            Some(Built::new(special, &[Bool]))
        }
        "Where" => {
            site.of(0, &[Bool])?;
            let element = site.element(1)?;
            site.of(2, &[element])?;
            Some(Built::new(Where, &[element]))
        }
        "Clip" => {
            let element = numeric(site)?;
            let clip = Clip {
                low: site.float("min")?,
                high: site.float("max")?,
            };
            Some(Built::new(clip, &[element]))
        }
        _ => unary::unary(site)?,
    })
}

pub(super) fn numeric(site: &Site<'_, '_>) -> Result<ElementType, String> {
    use ElementType::{Double, Float, Int32, Int64};
    site.of(0, &[Float, Double, Int64, Int32])
}

/// What an operator does to each pair of values.
#[derive(Debug)]
struct Fold {
    binary: Binary,
    fmod: bool,
    mean: bool,
}

/// Applies a function to each pair of two tensors that are stretched to fit each other.
fn pairs<A: Copy, B: Copy, R>(
    (left, a): (&[usize], &[A]),
    (right, b): (&[usize], &[B]),
    shape: &[usize],
    apply: impl Fn(A, B) -> R,
) -> Vec<R> {
    if left == right {
        return a.iter().zip(b).map(|(a, b)| apply(*a, *b)).collect();
    }
    if let ([b], true) = (b, left == shape) {
        return a.iter().map(|a| apply(*a, *b)).collect();
    }
    if left == shape && !b.is_empty() && shape.ends_with(right) {
        let rows = a.chunks_exact(b.len());
        let row = |row: &[A]| -> Vec<R> { row.iter().zip(b).map(|(a, b)| apply(*a, *b)).collect() };
        return rows.flat_map(row).collect();
    }
    let places = Places::new(left, shape).zip(Places::new(right, shape));
    places
        .filter_map(|(i, j)| Some(apply(*a.get(i)?, *b.get(j)?)))
        .collect()
}

impl Fold {
    fn reals<T: Real>(
        &self,
        left: &Tensor,
        right: &Tensor,
        shape: &[usize],
    ) -> Result<Values, String> {
        let (a, b) = (reals::<T>(left.values())?, reals::<T>(right.values())?);
        let (left, right) = ((left.shape(), &*a), (right.shape(), &*b));
        let extreme = |a: T, b: T, other: bool| match (a.nan(), b.nan()) {
            (true, _) => a,
            (_, true) => b,
            _ if other => b,
            _ => a,
        };
        let all = match self.binary {
            Binary::Add => pairs(left, right, shape, |a, b| a + b),
            Binary::Sub => pairs(left, right, shape, |a, b| a - b),
            Binary::Mul => pairs(left, right, shape, |a, b| a * b),
            Binary::Div => pairs(left, right, shape, |a, b| a / b),
            Binary::Pow => {
                let (two, three) = (T::of(2.0), T::of(3.0));
                match &*b {
                    [exponent] if *exponent == two => pairs(left, right, shape, |a, _| a * a),
                    [exponent] if *exponent == three => pairs(left, right, shape, |a, _| a * a * a),
                    _ => pairs(left, right, shape, |a, b| a.power(b)),
                }
            }
            Binary::Mod => {
                if !self.fmod {
                    return Err("the remainder of floats needs `fmod`".to_owned());
                }
                pairs(left, right, shape, |a, b| {
                    T::of(a.to_double() % b.to_double())
                })
            }
            Binary::Max => pairs(left, right, shape, |a, b| extreme(a, b, b > a)),
            Binary::Min => pairs(left, right, shape, |a, b| extreme(a, b, b < a)),
        };
        Ok(T::values(all))
    }

    /// Whole numbers, which wrap around as in C++.
    fn ints(&self, left: &Tensor, right: &Tensor, shape: &[usize]) -> Result<Vec<i64>, String> {
        let (a, b) = (
            left.ints()?,
            match right.values() {
                Values::Float(_) | Values::Double(_) => reals::<f64>(right.values())?
                    .iter()
                    .map(|value| *value as i64)
                    .collect(),
                _ => right.ints()?,
            },
        );
        let (left, right) = ((left.shape(), a.as_slice()), (right.shape(), b.as_slice()));
        if matches!(self.binary, Binary::Div | Binary::Mod) && b.contains(&0) {
            return Err("divides a whole number by zero".to_owned());
        }
        Ok(match self.binary {
            Binary::Add => pairs(left, right, shape, i64::wrapping_add),
            Binary::Sub => pairs(left, right, shape, i64::wrapping_sub),
            Binary::Mul => pairs(left, right, shape, i64::wrapping_mul),
            Binary::Div => pairs(left, right, shape, i64::wrapping_div),
            Binary::Mod if self.fmod => pairs(left, right, shape, i64::wrapping_rem),
            // The sign of the divisor, as in Python.
            Binary::Mod => pairs(left, right, shape, |a: i64, b: i64| {
                let rest = a.wrapping_rem(b);
                if rest != 0 && (rest < 0) != (b < 0) {
                    rest.wrapping_add(b)
                } else {
                    rest
                }
            }),
            Binary::Pow => pairs(left, right, shape, |a: i64, b: i64| {
                u32::try_from(b).map_or(0, |b| a.wrapping_pow(b))
            }),
            Binary::Max => pairs(left, right, shape, Ord::max),
            Binary::Min => pairs(left, right, shape, Ord::min),
        })
    }

    fn two(&self, left: &Tensor, right: &Tensor, work: &mut Work) -> Result<Tensor, String> {
        let shape = broadcast(left.shape(), right.shape())?;
        work.room(left.element(), &shape)?;
        let values = match left.element() {
            ElementType::Float => self.reals::<f32>(left, right, &shape)?,
            ElementType::Double => self.reals::<f64>(left, right, &shape)?,
            ElementType::Int32 => {
                let values = self.ints(left, right, &shape)?;
                Values::Int32(values.into_iter().map(|value| value as i32).collect())
            }
            _ => Values::Int64(self.ints(left, right, &shape)?),
        };
        made(shape, values)
    }
}

impl Operator for Fold {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let mut all = inputs.all();
        let mut sum = all.next().ok_or("expected an input")?.clone();
        let mut count = 1.0_f64;
        for next in all {
            sum = self.two(&sum, next, work)?;
            count += 1.0;
        }
        if self.mean {
            let values = match sum.values() {
                Values::Float(values) => {
                    Values::Float(values.iter().map(|value| value / count as f32).collect())
                }
                other => Values::Double(
                    reals::<f64>(other)?
                        .iter()
                        .map(|value| value / count)
                        .collect(),
                ),
            };
            sum = made(sum.shape().to_vec(), values)?;
        }
        Ok(vec![sum])
    }
}

impl Test {
    fn holds<T: PartialOrd>(self, a: &T, b: &T) -> bool {
        match self {
            Self::Less => a < b,
            Self::LessOrEqual => a <= b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
            Self::Equal => a == b,
        }
    }
}

impl Operator for Test {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let (left, right) = (inputs.get(0)?, inputs.get(1)?);
        let shape = broadcast(left.shape(), right.shape())?;
        work.room(ElementType::Bool, &shape)?;
        let places = || Places::new(left.shape(), &shape).zip(Places::new(right.shape(), &shape));
        macro_rules! compared {
            ($a:expr, $b:expr) => {
                places()
                    .filter_map(|(i, j)| Some(self.holds($a.get(i)?, $b.get(j)?)))
                    .collect()
            };
        }
        let truths: Vec<bool> = match (left.values(), right.values()) {
            (Values::Float(a), Values::Float(b)) => {
                pairs((left.shape(), a), (right.shape(), b), &shape, |a, b| {
                    self.holds(&a, &b)
                })
            }
            (Values::Double(a), Values::Double(b)) => compared!(a, b),
            (Values::Int64(a), Values::Int64(b)) => compared!(a, b),
            (Values::Int32(a), Values::Int32(b)) => compared!(a, b),
            (Values::Bool(a), Values::Bool(b)) => compared!(a, b),
            (Values::Text(a), Values::Text(b)) => compared!(a, b),
            _ => return Err("expected inputs of one type".to_owned()),
        };
        Ok(vec![made(shape, Values::Bool(truths))?])
    }
}

fn truths(tensor: &Tensor) -> Result<&[bool], String> {
    match tensor.values() {
        Values::Bool(values) => Ok(values),
        _ => Err("expected truth values".to_owned()),
    }
}

impl Operator for Logic {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let (left, right) = (inputs.get(0)?, inputs.get(1)?);
        let shape = broadcast(left.shape(), right.shape())?;
        work.room(ElementType::Bool, &shape)?;
        let (a, b) = (
            (left.shape(), truths(left)?),
            (right.shape(), truths(right)?),
        );
        let truths = match self {
            Self::And => pairs(a, b, &shape, |a, b| a && b),
            Self::Or => pairs(a, b, &shape, |a, b| a || b),
            Self::Xor => pairs(a, b, &shape, |a, b| a != b),
        };
        Ok(vec![made(shape, Values::Bool(truths))?])
    }
}

#[derive(Debug)]
struct Not;

impl Operator for Not {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        work.room(ElementType::Bool, input.shape())?;
        let values = truths(input)?.iter().map(|truth| !truth).collect();
        Ok(vec![made(input.shape().to_vec(), Values::Bool(values))?])
    }
}

#[derive(Debug)]
struct Special {
    nan: bool,
    positive: bool,
    negative: bool,
}

impl Operator for Special {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        work.room(ElementType::Bool, input.shape())?;
        let special = |value: f64| {
            if self.nan {
                value.is_nan()
            } else {
                (self.positive && value == f64::INFINITY)
                    || (self.negative && value == f64::NEG_INFINITY)
            }
        };
        let values = reals::<f64>(input.values())?;
        let values = values.iter().map(|value| special(*value)).collect();
        Ok(vec![made(input.shape().to_vec(), Values::Bool(values))?])
    }
}

#[derive(Debug)]
struct Where;

impl Operator for Where {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let (which, yes, no) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        let shape = broadcast(&broadcast(which.shape(), yes.shape())?, no.shape())?;
        work.room(yes.element(), &shape)?;
        let which = Places::new(which.shape(), &shape).zip(std::iter::repeat(truths(which)?));
        let places = Places::new(yes.shape(), &shape).zip(Places::new(no.shape(), &shape));
        macro_rules! chosen {
            ($kind:ident, $yes:expr, $no:expr) => {
                Values::$kind(
                    which
                        .zip(places)
                        .filter_map(|((at, truths), (i, j))| {
                            if *truths.get(at)? {
                                $yes.get(i)
                            } else {
                                $no.get(j)
                            }
                            .cloned()
                        })
                        .collect(),
                )
            };
        }
        let values = match (yes.values(), no.values()) {
            (Values::Float(a), Values::Float(b)) => chosen!(Float, a, b),
            (Values::Double(a), Values::Double(b)) => chosen!(Double, a, b),
            (Values::Int64(a), Values::Int64(b)) => chosen!(Int64, a, b),
            (Values::Int32(a), Values::Int32(b)) => chosen!(Int32, a, b),
            (Values::Bool(a), Values::Bool(b)) => chosen!(Bool, a, b),
            (Values::Text(a), Values::Text(b)) => chosen!(Text, a, b),
            _ => return Err("expected inputs of one type".to_owned()),
        };
        Ok(vec![made(shape, values)?])
    }
}

#[derive(Debug)]
struct Clip {
    low: Option<f32>,
    high: Option<f32>,
}

impl Clip {
    fn reals<T: Real>(&self, inputs: &Inputs<'_>) -> Result<Values, String> {
        let bound = |index: usize, attribute: Option<f32>| -> Result<Option<T>, String> {
            match inputs.optional(index) {
                Some(tensor) => Ok(reals::<T>(tensor.values())?.first().copied()),
                None => Ok(attribute.map(T::of_single)),
            }
        };
        let (low, high) = (bound(1, self.low)?, bound(2, self.high)?);
        let values = reals::<T>(inputs.get(0)?.values())?;
        let clipped = values.iter().map(|value| {
            let value = low.filter(|low| *value < *low).unwrap_or(*value);
            high.filter(|high| value > *high).unwrap_or(value)
        });
        Ok(T::values(clipped.collect()))
    }
}

impl Operator for Clip {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        work.room(input.element(), input.shape())?;
        let values = match input.values() {
            Values::Float(_) => self.reals::<f32>(inputs)?,
            Values::Double(_) => self.reals::<f64>(inputs)?,
            other => {
                let bound = |index: usize| -> Result<Option<i64>, String> {
                    let tensor = inputs.optional(index).map(Tensor::ints).transpose()?;
                    Ok(tensor.and_then(|values| values.first().copied()))
                };
                let (low, high) = (bound(1)?.unwrap_or(i64::MIN), bound(2)?.unwrap_or(i64::MAX));
                let clipped = input
                    .ints()?
                    .into_iter()
                    .map(|value| value.max(low).min(high));
                match other {
                    Values::Int32(_) => Values::Int32(clipped.map(|value| value as i32).collect()),
                    _ => Values::Int64(clipped.collect()),
                }
            }
        };
        Ok(vec![made(input.shape().to_vec(), values)?])
    }
}
