//! The operators, one file for those that belong together. One is named once, in [`build`].

mod approximate;
mod arithmetic;
mod broadcast;
mod cast;
mod encode;
mod forest;
mod gather;
mod linear;
mod prepare;
mod product;
mod reduce;
mod scan;
mod scores;
mod select;
mod shape;
mod svm;
mod text;
mod trees;
mod unary;

use super::program::{Refusal, Settings};
use super::site::{Built, Site};

/// Compiles a node; `None` if its operator is not supported.
///
/// # Errors
/// Inputs of types that the operator does not take, or attributes that do not hold together.
pub(super) fn build(
    site: &Site<'_, '_>,
    settings: &Settings<'_>,
) -> Result<Option<Built>, Refusal> {
    let built = match (site.node.domain, site.node.operator) {
        ("ai.onnx.ml", "TreeEnsembleRegressor") => trees::regressor(site),
        ("ai.onnx.ml", "TreeEnsembleClassifier") => trees::classifier(site),
        ("ai.onnx.ml", "TreeEnsemble") => trees::ensemble(site),
        ("ai.onnx.ml", "LinearRegressor") => linear::regressor(site),
        ("ai.onnx.ml", "LinearClassifier") => linear::classifier(site),
        ("ai.onnx.ml", "SVMRegressor") => svm::regressor(site),
        ("ai.onnx.ml", "SVMClassifier") => svm::classifier(site),
        ("ai.onnx.ml", "Scaler") => prepare::scaler(site),
        ("ai.onnx.ml", "Normalizer") => prepare::normalizer(site),
        ("ai.onnx.ml", "Imputer") => prepare::imputer(site),
        ("ai.onnx.ml", "Binarizer") => prepare::binarizer(site),
        ("ai.onnx.ml", "FeatureVectorizer") => prepare::vectorizer(site),
        ("ai.onnx.ml", "ArrayFeatureExtractor") => gather::extractor(site),
        ("ai.onnx.ml", "OneHotEncoder") => encode::one_hot(site),
        ("ai.onnx.ml", "LabelEncoder") => encode::label_encoder(site),
        ("ai.onnx.ml", "CategoryMapper") => encode::category_mapper(site),
        ("ai.onnx.ml", "ZipMap") => encode::zip_map(site),
        ("com.microsoft", "CDist") => product::distances(site),
        ("com.microsoft", "Tokenizer") => text::tokenizer(site),
        ("" | "ai.onnx", operator) => match operator {
            "Identity" | "Dropout" => shape::identity(site),
            "Reshape" => shape::reshape(site),
            "Flatten" => shape::flatten(site),
            "Squeeze" => shape::squeeze(site),
            "Unsqueeze" => shape::unsqueeze(site),
            "Shape" => shape::shape(site),
            "Size" => shape::size(site),
            "Transpose" => shape::transpose(site),
            "Concat" => shape::concat(site),
            "Split" => shape::split(site),
            "Expand" => shape::expand(site),
            "Tile" => shape::tile(site),
            "ConstantOfShape" => shape::constant_of_shape(site),
            "Range" => shape::range(site),
            "Gather" => gather::gather(site),
            "GatherElements" => gather::elements(site),
            "GatherND" => gather::nd(site),
            "Slice" => gather::slice(site),
            "Compress" => gather::compress(site),
            "Pad" => gather::pad(site),
            "Cast" => cast::cast(site),
            "MatMul" => product::matmul(site),
            "Gemm" => product::gemm(site),
            "ArgMax" | "ArgMin" => select::arg(site),
            "TopK" => select::top(site),
            "NonZero" => select::non_zero(site),
            "OneHot" => encode::spread(site),
            "Softmax" | "LogSoftmax" => reduce::softmax(site),
            "CumSum" => reduce::cumulative(site),
            "LpNormalization" => reduce::normalization(site),
            "StringNormalizer" => text::normalizer(site),
            "TfIdfVectorizer" => text::vectorizer(site),
            "Scan" => return scan::scan(site, settings).map(Some),
            other if other.starts_with("Reduce") => match reduce::reduce(site)? {
                Some(built) => Ok(built),
                None => return Ok(None),
            },
            _ => match arithmetic::arithmetic(site)? {
                Some(built) => Ok(built),
                None => return Ok(None),
            },
        },
        _ => return Ok(None),
    };
    Ok(Some(built?))
}
