//! The seam to `inference`.

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use crate::{DesiredModel, ModelFile};

/// A loaded model.
#[derive(Debug)]
pub struct Model;

pub(crate) fn load(desired: &DesiredModel, file: &ModelFile) -> Result<Model, String> {
    Err(format!("{}: {file:?} cannot be read yet", desired.name))
}

pub(crate) fn handle(_model: &Model, _parts: Parts, _body: Bytes) -> Response<Bytes> {
    Response::new(Bytes::new())
}
