//! `--onnxruntime FILE`: who runs graphs of ONNX that are not run here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use models::GraphReader;

#[derive(Debug, Clone, Args)]
pub(crate) struct GraphArgs {
    /// ONNX Runtime's library (libonnxruntime.so), for graphs of ONNX with operators that are not built in
    #[arg(
        long = "onnxruntime",
        env = "SIDEGATE_ONNXRUNTIME",
        value_name = "FILE"
    )]
    library: Option<PathBuf>,
}

impl GraphArgs {
    /// Loads the library, if one is named.
    pub(crate) fn open(&self) -> anyhow::Result<Option<Arc<dyn GraphReader>>> {
        let open = |path: &Path| -> anyhow::Result<Arc<dyn GraphReader>> {
            Ok(Arc::new(onnxruntime::Library::open(path)?))
        };
        self.library.as_deref().map(open).transpose()
    }
}
