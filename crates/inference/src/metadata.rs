//! What the server and its models say about themselves.

use crate::reply::datatype;
use crate::write::Style;
use crate::{Compat, Entry, Model};
use models::Port;

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
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) datatype: &'static str,
    /// −1 is any number of rows.
    pub(crate) shape: Vec<i64>,
    /// Of the columns: features of an input, classes of an output.
    pub(crate) names: Option<Vec<String>>,
}

impl Model {
    pub(crate) fn metadata(&self) -> Metadata {
        let description = self.describe();
        let probe = self.probe();
        Metadata {
            name: self.name().to_owned(),
            platform: description
                .class
                .split_once('.')
                .map_or("", |(package, _)| package)
                .to_owned(),
            inputs: probe.inputs.clone(),
            outputs: probe.outputs.clone(),
        }
    }
}

/// The tensors of a graph. One that may have any number of dimensions has one of any size here.
pub(crate) fn ports(ports: &[Port]) -> Vec<Tensor> {
    let size = |size: &Option<usize>| size.and_then(|size| i64::try_from(size).ok()).unwrap_or(-1);
    let tensor = |port: &Port| Tensor {
        name: port.name.clone(),
        datatype: datatype(port.element),
        shape: match &port.shape {
            Some(shape) => shape.iter().map(size).collect(),
            None => vec![-1],
        },
        names: port.keys.as_ref().map(|keys| {
            let keys = (0..keys.len()).filter_map(|index| keys.show(index));
            keys.collect()
        }),
    };
    ports.iter().map(tensor).collect()
}

impl Metadata {
    pub(crate) fn json(&self) -> Vec<u8> {
        let mut out = b"{\"name\":".to_vec();
        let style = Style::Compact;
        style.text(&self.name, &mut out);
        out.extend_from_slice(b",\"versions\":null,\"platform\":");
        style.text(&self.platform, &mut out);
        for (key, tensors, parameter) in [
            ("inputs", &self.inputs, "columns"),
            ("outputs", &self.outputs, "classes"),
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
                if let Some(texts) = &tensor.names {
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
