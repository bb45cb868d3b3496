//! `PolynomialFeatures`: products of columns.

use super::part::Part;
use crate::data::{Data, Intake};
use crate::flow::{Step, Transform};
use crate::matrix::round;
use crate::pickle::Node;
use crate::{InputError, LoadError};

/// Words of memory for one product: both lists that it is in, and what they hold in reserve.
const PRODUCT_WORDS: usize = 16;

#[derive(Debug)]
struct Polynomial {
    intake: Intake,
    bias: bool,
    /// Each product as a column and the number of an earlier product, if it is of more than one column.
    products: Vec<(usize, Option<usize>)>,
    /// Whether a product of one column is among the results.
    from: usize,
}

pub(super) fn read(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let features = part
        .features()
        .ok_or_else(|| part.damaged("expected `n_features_in_`"))?;
    let graph = part.graph();
    let id = part.required("degree")?;
    let size = |id| {
        graph
            .integer(id)
            .and_then(|size| usize::try_from(size).ok())
    };
    let (low, high) = match graph.node(id) {
        Node::Tuple(ids) | Node::List(ids) => match ids.as_slice() {
            [low, high] => (size(*low), size(*high)),
            _ => (None, None),
        },
        _ => (Some(0), size(id)),
    };
    let (Some(low), Some(high)) = (low, high) else {
        return Err(part.unknown("degree"));
    };
    let alone = part.truth("interaction_only") == Some(true);
    let bias = part.truth("include_bias") != Some(false);
    // Products of one degree, in the order of `itertools.combinations`: each is its first column times one of the degree
    // below, which is how scikit-learn multiplies.
    let mut products: Vec<(usize, Option<usize>)> = Vec::new();
    let mut firsts: Vec<(usize, usize)> = Vec::new();
    let mut from = 0;
    for degree in 1..=high {
        let mut next = Vec::new();
        for column in 0..features {
            if degree == 1 {
                part.pay(PRODUCT_WORDS)?;
                products.push((column, None));
                next.push((column, products.len() - 1));
                continue;
            }
            for (first, product) in &firsts {
                if *first > column || (!alone && *first == column) {
                    part.pay(PRODUCT_WORDS)?;
                    products.push((column, Some(*product)));
                    next.push((column, products.len() - 1));
                }
            }
        }
        if next.is_empty() {
            break;
        }
        if degree < low {
            from = products.len();
        }
        firsts = next;
    }
    let gives = products.len() - from + usize::from(bias);
    let step = Polynomial {
        intake: part.intake(),
        bias,
        products,
        from,
    };
    Ok(Step::new(step, Some(features), Some(gives)))
}

impl Transform for Polynomial {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        let rows = self.intake.numbers(data)?;
        let precision = rows.precision();
        let columns = self.products.len() - self.from + usize::from(self.bias);
        let mut values = Vec::with_capacity(self.products.len());
        let matrix = rows.map(columns, precision, |row, out| {
            values.clear();
            for (column, product) in &self.products {
                let value = row.get(*column).copied().unwrap_or(f64::NAN);
                let product = product.and_then(|index| values.get(index).copied());
                values.push(product.map_or(value, |product| round(product * value, precision)));
            }
            if self.bias {
                out.push(1.0);
            }
            out.extend(values.iter().skip(self.from));
        })?;
        Ok(matrix.into())
    }
}
