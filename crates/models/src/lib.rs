//! Model files to compiled predictors, without executing anything found in them.
//!
//! A scikit-learn model is saved as a pickle, which is a program: loading it with Python runs whatever the file says, and
//! only with the versions of scikit-learn and numpy that wrote it. This crate reads the program as data instead. Files of
//! scikit-learn 0.20 to 1.9, written with `pickle`, `joblib` or `skops`, become a [`Predictor`] with validated indices and bounded
//! size; what is not understood is refused with its full name and place.
//!
//! Models of gradient boosting libraries are read from their own files as well, and graphs of ONNX as a [`Graph`].
//!
//! There is no input or output here beyond bytes in.

mod boosted;
mod container;
mod data;
mod document;
mod error;
mod flow;
mod json;
mod kernels;
mod labels;
mod limits;
mod matrix;
mod npy;
mod onnx;
mod pickle;
mod predictor;
mod sklearn;
mod skops;
mod sparse;
mod table;

pub use data::Input;
pub use error::{InputError, LoadError};
pub use labels::{IntegerType, Labels};
pub use limits::Limits;
pub use matrix::{Matrix, Precision};
pub use npy::{Npy, read_npy};
pub use onnx::{ElementType, Graph, GraphReader, GraphRunner, Port, Tensor, Values};
pub use predictor::{About, Inner, Output, Predictor};
pub use table::{Cell, Column, Table};

/// Reads a pickle, joblib or skops file, compressed or not, or a model of XGBoost, LightGBM or CatBoost in any of its formats, and
/// compiles it. What a file is shows in its first bytes.
///
/// # Errors
/// A damaged file, one that passes `limits`, or a model that is not supported; the error says what to do.
pub fn load(bytes: &[u8], limits: &Limits) -> Result<Predictor, LoadError> {
    loaded(bytes, limits, false)
}

/// The same, but that a booster of XGBoost answers as the estimator for scikit-learn that wrote its file: with classes, if
/// that was XGBClassifier.
///
/// # Errors
/// Those of [`load`].
pub fn load_estimator(bytes: &[u8], limits: &Limits) -> Result<Predictor, LoadError> {
    loaded(bytes, limits, true)
}

fn loaded(bytes: &[u8], limits: &Limits, estimator: bool) -> Result<Predictor, LoadError> {
    let model = read(bytes, limits, estimator)?;
    // A count of columns costs a file nothing, and a row of them much.
    if model.features() > data::DENSE_LIMIT {
        return Err(LoadError::Limit {
            what: "columns",
            limit: data::DENSE_LIMIT,
        });
    }
    Ok(model)
}

fn read(bytes: &[u8], limits: &Limits, estimator: bool) -> Result<Predictor, LoadError> {
    if let Some(model) = boosted::read(bytes, limits, estimator) {
        return model;
    }
    if skops::is_archive(bytes) {
        let (graph, top) = skops::read(bytes, limits)?;
        return sklearn::compile(&graph, top, limits);
    }
    let stream = container::unpack(bytes, limits)?;
    let (graph, top) = pickle::read(&stream, limits)?;
    sklearn::compile(&graph, top, limits)
}
