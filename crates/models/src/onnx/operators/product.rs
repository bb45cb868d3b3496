//! Products of matrices, and distances between rows.

use super::broadcast::{Places, broadcast};
use crate::kernels::add_products;
use crate::onnx::operator::{Inputs, Operator, Work, made};
use crate::onnx::real::{Real, reals};
use crate::onnx::site::{Built, Site};
use crate::onnx::tensor::{ElementType, Tensor, Values, volume};

/// The sizes of a product of `rows` × `inner` and `inner` × `columns`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) inner: usize,
    /// Whether the second matrix stands row by column: `columns` × `inner`.
    pub(super) turned: bool,
}

/// The product, with each step rounded once, as the runtime's kernels do on processors of the last ten years.
pub(super) fn multiply<T: Real>(
    product: Product,
    left: &[T],
    right: &[T],
    work: &mut Work,
) -> Result<Vec<T>, String> {
    work.steps(&[product.rows, product.columns, product.inner])?;
    let turned;
    let right = if product.turned {
        turned = transposed(right, product.columns, product.inner);
        turned.as_slice()
    } else {
        right
    };
    let count = volume(&[product.rows, product.columns]).ok_or("a product larger than memory")?;
    let mut out = vec![T::default(); count];
    if product.columns == 0 || product.inner == 0 {
        return Ok(out);
    }
    add_products(product.columns, product.inner, left, right, &mut out);
    Ok(out)
}

fn transposed<T: Real>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(values.len());
    for column in 0..columns {
        let cells = (0..rows).filter_map(|row| values.get(row * columns + column));
        out.extend(cells.copied());
    }
    out
}

#[derive(Debug)]
struct Gemm {
    element: ElementType,
    alpha: f32,
    beta: f32,
    left_turned: bool,
    right_turned: bool,
}

pub(super) fn gemm(site: &Site<'_, '_>) -> Result<Built, String> {
    site.of(0, &[ElementType::Float, ElementType::Double])?;
    let element = site.same()?;
    let gemm = Gemm {
        element,
        alpha: site.float("alpha")?.unwrap_or(1.0),
        beta: site.float("beta")?.unwrap_or(1.0),
        left_turned: site.int("transA")?.unwrap_or(0) != 0,
        right_turned: site.int("transB")?.unwrap_or(0) != 0,
    };
    Ok(Built::new(gemm, &[element]))
}

impl Gemm {
    fn compute<T: Real>(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Tensor, String> {
        let (left, right) = (inputs.get(0)?, inputs.get(1)?);
        let ([a, b], [c, d]) = (left.shape(), right.shape()) else {
            return Err("expected two matrices".to_owned());
        };
        let (rows, inner) = if self.left_turned { (*b, *a) } else { (*a, *b) };
        let (second, columns) = if self.right_turned {
            (*d, *c)
        } else {
            (*c, *d)
        };
        if inner != second {
            return Err(format!(
                "expected as many columns as rows, found {inner} and {second}"
            ));
        }
        let shape = vec![rows, columns];
        work.room(self.element, &shape)?;
        let left = reals::<T>(left.values())?;
        let turned;
        let left = if self.left_turned {
            turned = transposed(&left, *a, *b);
            turned.as_slice()
        } else {
            &left
        };
        let product = Product {
            rows,
            columns,
            inner,
            turned: self.right_turned,
        };
        let mut out = multiply(product, left, &reals::<T>(right.values())?, work)?;
        let alpha = T::of_single(self.alpha);
        if let Some(addend) = inputs.optional(2).filter(|_| self.beta != 0.0) {
            if broadcast(addend.shape(), &shape)? != shape {
                return Err("the third matrix is too large".to_owned());
            }
            let values = reals::<T>(addend.values())?;
            let beta = T::of_single(self.beta);
            for (value, place) in out.iter_mut().zip(Places::new(addend.shape(), &shape)) {
                let addend = values.get(place).copied().unwrap_or_default();
                *value = value.fused(alpha, beta * addend);
            }
        } else if self.alpha != 1.0 {
            out.iter_mut().for_each(|value| *value *= alpha);
        }
        made(shape, T::values(out))
    }
}

impl Operator for Gemm {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        Ok(vec![match self.element {
            ElementType::Double => self.compute::<f64>(inputs, work)?,
            _ => self.compute::<f32>(inputs, work)?,
        }])
    }
}

#[derive(Debug)]
struct MatMul(ElementType);

pub(super) fn matmul(site: &Site<'_, '_>) -> Result<Built, String> {
    use ElementType::{Double, Float, Int32, Int64};
    site.of(0, &[Float, Double, Int64, Int32])?;
    let element = site.same()?;
    Ok(Built::new(MatMul(element), &[element]))
}

/// The sizes of a product of stacks of matrices: those of the stack, and of each product.
fn stacked(left: &[usize], right: &[usize]) -> Result<(Vec<usize>, Product), String> {
    let wrong = || format!("expected matrices that fit, found {left:?} and {right:?}");
    let (left_stack, rows, inner) = match left {
        [] => return Err(wrong()),
        [inner] => (&[][..], 1, *inner),
        [stack @ .., rows, inner] => (stack, *rows, *inner),
    };
    let (right_stack, second, columns) = match right {
        [] => return Err(wrong()),
        [second] => (&[][..], *second, 1),
        [stack @ .., second, columns] => (stack, *second, *columns),
    };
    if inner != second {
        return Err(wrong());
    }
    let product = Product {
        rows,
        columns,
        inner,
        turned: false,
    };
    Ok((broadcast(left_stack, right_stack)?, product))
}

impl MatMul {
    fn compute<T: Real>(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Tensor, String> {
        let (left, right) = (inputs.get(0)?, inputs.get(1)?);
        let (stack, product) = stacked(left.shape(), right.shape())?;
        let mut shape = stack.clone();
        if left.shape().len() > 1 {
            shape.push(product.rows);
        }
        if right.shape().len() > 1 {
            shape.push(product.columns);
        }
        let count = work.room(self.0, &shape)?;
        let (left_values, right_values) = (reals::<T>(left.values())?, reals::<T>(right.values())?);
        let (left_size, right_size) = (
            product.rows.saturating_mul(product.inner),
            product.inner.saturating_mul(product.columns),
        );
        let of = |shape: &[usize]| {
            shape
                .get(..shape.len().saturating_sub(2))
                .unwrap_or(&[])
                .to_vec()
        };
        let pairs =
            Places::new(&of(left.shape()), &stack).zip(Places::new(&of(right.shape()), &stack));
        let mut out = Vec::with_capacity(count);
        for (a, b) in pairs {
            let wrong = || "the matrices do not fit".to_owned();
            let a = a.saturating_mul(left_size);
            let b = b.saturating_mul(right_size);
            let a = left_values
                .get(a..a.saturating_add(left_size))
                .ok_or_else(wrong)?;
            let b = right_values
                .get(b..b.saturating_add(right_size))
                .ok_or_else(wrong)?;
            out.extend(multiply(product, a, b, work)?);
        }
        made(shape, T::values(out))
    }
}

impl Operator for MatMul {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        Ok(vec![match self.0 {
            ElementType::Double => self.compute::<f64>(inputs, work)?,
            ElementType::Float => self.compute::<f32>(inputs, work)?,
            element => {
                // Exact up to 2^53; beyond, the runtime's own sums overflow soon.
                let product = self.compute::<f64>(inputs, work)?;
                let Values::Double(values) = product.values() else {
                    return Err("expected numbers".to_owned());
                };
                let values = match element {
                    ElementType::Int32 => {
                        Values::Int32(values.iter().map(|value| *value as i32).collect())
                    }
                    _ => Values::Int64(values.iter().map(|value| *value as i64).collect()),
                };
                made(product.shape().to_vec(), values)?
            }
        }])
    }
}

/// Distances of each row of one matrix from each row of another.
#[derive(Debug)]
struct Distances {
    element: ElementType,
    root: bool,
}

pub(super) fn distances(site: &Site<'_, '_>) -> Result<Built, String> {
    site.of(0, &[ElementType::Float, ElementType::Double])?;
    let element = site.same()?;
    let root = match site.text("metric")?.unwrap_or("sqeuclidean") {
        "sqeuclidean" => false,
        "euclidean" => true,
        _ => return Err("expected the metric `sqeuclidean` or `euclidean`".to_owned()),
    };
    Ok(Built::new(Distances { element, root }, &[element]))
}

impl Distances {
    /// By the squares of both and their product, as the runtime does it.
    fn compute<T: Real>(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Tensor, String> {
        let (left, right) = (inputs.get(0)?, inputs.get(1)?);
        let ([rows, inner], [others, second]) = (left.shape(), right.shape()) else {
            return Err("expected two matrices".to_owned());
        };
        if inner != second {
            return Err(format!("expected {second} columns, found {inner}"));
        }
        let shape = vec![*rows, *others];
        work.room(self.element, &shape)?;
        let (left, right) = (reals::<T>(left.values())?, reals::<T>(right.values())?);
        let product = Product {
            rows: *rows,
            columns: *others,
            inner: *inner,
            turned: true,
        };
        let mut out = multiply(product, &left, &right, work)?;
        let squares = |values: &[T]| -> Vec<T> {
            let square = |row: &[T]| {
                row.iter()
                    .fold(T::default(), |sum, value| sum + *value * *value)
            };
            match inner {
                0 => vec![T::default(); (*rows).max(*others)],
                inner => values.chunks_exact(*inner).map(square).collect(),
            }
        };
        let (of_left, of_right) = (squares(&left), squares(&right));
        let two = T::of_single(2.0);
        for (row, square) in out.chunks_exact_mut((*others).max(1)).zip(&of_left) {
            for (value, other) in row.iter_mut().zip(&of_right) {
                let distance = (*square - two * *value) + *other;
                let distance = if distance < T::default() {
                    T::default()
                } else {
                    distance
                };
                *value = if self.root { distance.root() } else { distance };
            }
        }
        made(shape, T::values(out))
    }
}

impl Operator for Distances {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        Ok(vec![match self.element {
            ElementType::Double => self.compute::<f64>(inputs, work)?,
            _ => self.compute::<f32>(inputs, work)?,
        }])
    }
}
