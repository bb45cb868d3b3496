//! Why a model file was refused, and why rows were.

use thiserror::Error;

/// What to do about a model that cannot be read here.
const ADVICE: &str = "export it to ONNX or skops, or serve it with the Python image";

/// Why a model file could not become a predictor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes are not a pickle or joblib file, or the file is damaged.
    #[error("not a readable pickle or joblib file: {what} at byte {offset}")]
    Malformed {
        /// Offset in the decompressed stream.
        offset: usize,
        /// What was found and what was expected.
        what: String,
    },
    /// A model of a gradient boosting library that is damaged, passes a limit or is not supported.
    #[error("not a readable {format}: {what}")]
    Boosted {
        /// What the file seems to be.
        format: &'static str,
        /// What was expected and what was found.
        what: String,
    },
    /// A file of skops that is damaged or does not hold together.
    #[error("not a readable skops file: {what}")]
    Skops {
        /// What was expected and what was found.
        what: String,
    },
    /// An ONNX model that is damaged or does not hold together.
    #[error("not a readable ONNX model: {what}")]
    Onnx {
        /// What was expected and what was found.
        what: String,
    },
    /// An operator of ONNX that is not supported.
    #[error(
        "the operator `{operator}` in version {version} of node `{node}` is not supported: convert the model so that it needs no such operator, or have it run by ONNX Runtime's library (`--onnxruntime`)"
    )]
    Operator {
        /// Domain and name.
        operator: String,
        /// The version of the operators of its domain.
        version: i64,
        /// The name of the node.
        node: String,
    },
    /// A model that another reader than ours refused.
    #[error("ONNX Runtime does not take the model: {what}")]
    Foreign {
        /// What it said.
        what: String,
    },
    /// A `.npy` file that is damaged or holds something else than rows.
    #[error("not a readable npy file: {what}")]
    Npy {
        /// What was expected and what was found.
        what: String,
    },
    /// A compression that is not supported.
    #[error(
        "the file is compressed with {name}: expected no compression, zlib, gzip, bz2, xz, lzma or lz4"
    )]
    Compression {
        /// The compression found.
        name: &'static str,
    },
    /// A bound of [`crate::Limits`] would be passed.
    #[error("the file passes the limit of {limit} {what}")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// A class or function outside of what is understood.
    #[error("`{class}` at `{place}` is not supported: {ADVICE}")]
    Class {
        /// Full dotted name.
        class: String,
        /// Where in the model, such as `steps[1]`.
        place: String,
    },
    /// A setting of a supported class that is not supported.
    #[error("`{class}` at `{place}` has {what}, which is not supported: {ADVICE}")]
    Setting {
        /// Full dotted name.
        class: String,
        /// Where in the model, such as `steps[1]`.
        place: String,
        /// The attribute and its value.
        what: String,
    },
    /// An estimator whose state does not hold together.
    #[error("`{class}` at `{place}` is damaged or was never fitted: {what}")]
    State {
        /// Full dotted name.
        class: String,
        /// Where in the model, such as `steps[1]`.
        place: String,
        /// What was expected and what was found.
        what: String,
    },
}

/// Why rows could not be predicted. The texts are scikit-learn's where it has one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InputError {
    /// The rows have another number of columns than the model was fitted with.
    #[error("X has {found} features, but {estimator} is expecting {expected} features as input.")]
    Features {
        /// Columns found.
        found: usize,
        /// Columns expected.
        expected: usize,
        /// Short class name of the estimator that checks.
        estimator: String,
    },
    /// There is no row.
    #[error(
        "Found array with 0 sample(s) (shape=(0, {columns})) while a minimum of 1 is required by {estimator}."
    )]
    Empty {
        /// Columns found.
        columns: usize,
        /// Short class name of the estimator that checks.
        estimator: String,
    },
    /// A missing value where the estimator takes none.
    #[error(
        "Input X contains NaN.\n{estimator} does not accept missing values: found one in row {row}, column {column}"
    )]
    Missing {
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// Short class name of the estimator that checks.
        estimator: String,
    },
    /// An infinite value, or one that is infinite in the estimator's arithmetic.
    #[error(
        "Input X contains infinity or a value too large for dtype('{dtype}'): found one in row {row}, column {column}"
    )]
    Infinite {
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// numpy's name of the estimator's arithmetic.
        dtype: &'static str,
    },
    /// Text where a number is expected.
    #[error("could not convert string to float: '{text}'")]
    Text {
        /// The beginning of the text.
        text: String,
    },
    /// A category that the encoder was not fitted with and is not to ignore.
    #[error("Found unknown categories [{category}] in column {column} during transform")]
    Category {
        /// The category, as Python shows it.
        category: String,
        /// Column, from 0.
        column: usize,
    },
    /// A column that the model knows by name is not there.
    #[error("columns are missing: {{'{column}'}}")]
    Column {
        /// Its name.
        column: String,
    },
    /// Numbers or a table where a text for each row is expected.
    #[error("{estimator} expects one text for each row")]
    NotTexts {
        /// Short class name of the estimator that checks.
        estimator: String,
    },
    /// The result of steps is no table of numbers.
    #[error("the result of {estimator} is not of numbers alone")]
    NotNumbers {
        /// Short class name.
        estimator: String,
    },
    /// A value outside of what an estimator is defined for.
    #[error("{estimator} does not take {what}")]
    Domain {
        /// Short class name.
        estimator: String,
        /// The value.
        what: String,
    },
    /// Rows of which a step would make more than is allowed to be in memory.
    #[error("the rows are too many for a step of the model: send fewer at once")]
    TooLarge,
    /// An input of a graph that was not sent.
    #[error("the input `{name}` is missing")]
    NoTensor {
        /// Its name.
        name: String,
    },
    /// An input of a graph of another type or shape.
    #[error("the input `{name}` is {found}: expected {expected}")]
    Tensor {
        /// Its name.
        name: String,
        /// The type and shape that the graph has.
        expected: String,
        /// The type and shape that was sent.
        found: String,
    },
    /// A node of a graph does not take what came to it.
    #[error("node {node}: {what}")]
    Node {
        /// Its name and operator.
        node: String,
        /// What was expected and what was found.
        what: String,
    },
    /// A graph that something else runs does not take what came to it.
    #[error("ONNX Runtime: {what}")]
    Foreign {
        /// What it said.
        what: String,
    },
    /// A prediction was asked of a model that only transforms.
    #[error("the model ends in a transformer: it has no predict")]
    NoPrediction,
    /// Probabilities were asked of a model that has none.
    #[error("{estimator} has no predict_proba")]
    NoProbabilities {
        /// Short class name.
        estimator: String,
    },
}
