//! What the server and its models say about themselves.

use crate::v2::{self, OUTPUT};
use crate::write::Style;
use crate::{Compat, Entry, Model};
use models::{Matrix, Precision};

/// KServe's name and version, which clients look at.
pub(crate) const SERVER: &str = "kserve";
pub(crate) const VERSION: &str = "0.20.0";
pub(crate) const EXTENSIONS: [&str; 1] = ["model_repository_extension"];

/// What a model takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    /// The library that wrote the model.
    pub(crate) platform: String,
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) outputs: Vec<Tensor>,
    columns: Option<Vec<String>>,
    classes: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) datatype: &'static str,
    /// −1 is any number of rows.
    pub(crate) shape: Vec<i64>,
}

impl Model {
    pub(crate) fn metadata(&self) -> Metadata {
        let description = self.describe();
        let features = description.features;
        let input = Tensor {
            name: "input-0".to_owned(),
            datatype: "FP64",
            shape: vec![-1, i64::try_from(features).unwrap_or(-1)],
        };
        // How wide an answer is follows from asking: one row of zeros. A model that refuses them, for it takes text, says
        // nothing of its tensors.
        let asked = Matrix::new(vec![0.0; features], 1, features, Precision::Double)
            .and_then(|row| self.answer((&row).into()).ok());
        let output = asked.map(|output| {
            let mut shape = v2::shape(&output);
            if let Some(rows) = shape.first_mut() {
                *rows = -1;
            }
            Tensor {
                name: OUTPUT.to_owned(),
                datatype: v2::datatype(&output, self.predictor().classes()),
                shape,
            }
        });
        Metadata {
            name: self.name().to_owned(),
            platform: description
                .class
                .split_once('.')
                .map_or("", |(package, _)| package)
                .to_owned(),
            inputs: output.iter().map(|_| input.clone()).collect(),
            outputs: output.into_iter().collect(),
            columns: description.feature_names,
            classes: description.classes,
        }
    }
}

impl Metadata {
    pub(crate) fn json(&self) -> Vec<u8> {
        let mut out = b"{\"name\":".to_vec();
        let style = Style::Compact;
        style.text(&self.name, &mut out);
        out.extend_from_slice(b",\"versions\":null,\"platform\":");
        style.text(&self.platform, &mut out);
        for (key, tensors, parameter, texts) in [
            ("inputs", &self.inputs, "columns", &self.columns),
            ("outputs", &self.outputs, "classes", &self.classes),
        ] {
            out.extend_from_slice(format!(",\"{key}\":").as_bytes());
            style.list(tensors, &mut out, |tensor, out| {
                out.extend_from_slice(b"{\"name\":");
                style.text(&tensor.name, out);
                out.extend_from_slice(b",\"datatype\":");
                style.text(tensor.datatype, out);
                out.extend_from_slice(b",\"shape\":");
                style.list(&tensor.shape, out, |size, out| {
                    out.extend_from_slice(itoa::Buffer::new().format(*size).as_bytes());
                });
                if let Some(texts) = texts {
                    out.extend_from_slice(format!(",\"parameters\":{{\"{parameter}\":").as_bytes());
                    style.list(texts, out, |text, out| style.text(text, out));
                    out.push(b'}');
                }
                out.push(b'}');
            });
        }
        out.push(b'}');
        out
    }
}

/// The state of a model, in the words of Triton's index.
pub(crate) fn state(entry: &Entry) -> &'static str {
    if entry.ready { "READY" } else { "UNAVAILABLE" }
}

/// Triton's index as JSON.
pub(crate) fn index(entries: &[Entry], compat: Compat) -> Vec<u8> {
    let mut out = Vec::new();
    let style = Style::Compact;
    style.list(entries, &mut out, |entry, out| {
        out.extend_from_slice(b"{\"name\":");
        style.text(&entry.name, out);
        // MLServer leaves out a version that there is not.
        if compat != Compat::Mlserver || !entry.version.is_empty() {
            out.extend_from_slice(b",\"version\":");
            style.text(&entry.version, out);
        }
        out.extend_from_slice(b",\"state\":");
        style.text(state(entry), out);
        out.extend_from_slice(b",\"reason\":");
        // MLServer never gives a reason.
        let silent = compat == Compat::Mlserver;
        style.text(if silent { "" } else { &entry.reason }, out);
        out.push(b'}');
    });
    out
}
