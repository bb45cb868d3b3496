//! What a model file may cost whoever reads it.

use clap::Args;
use models::Limits;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What a model file may cost")]
pub(crate) struct ModelLimitArgs {
    /// Bytes of the file
    #[arg(
        long = "max_model_file_bytes",
        alias = "max-model-file-bytes",
        env = "SIDEGATE_MAX_MODEL_FILE_BYTES",
        default_value_t = Limits::default().file_bytes,
        value_name = "BYTES",
        hide_short_help = true
    )]
    file_bytes: usize,
    /// Bytes of what is compressed in it
    #[arg(
        long = "max_model_inflated_bytes",
        alias = "max-model-inflated-bytes",
        env = "SIDEGATE_MAX_MODEL_INFLATED_BYTES",
        default_value_t = Limits::default().decompressed_bytes,
        value_name = "BYTES",
        hide_short_help = true
    )]
    inflated_bytes: usize,
    /// Values in a pickle or skops file, such as the words of a vocabulary
    #[arg(
        long = "max_model_objects",
        alias = "max-model-objects",
        env = "SIDEGATE_MAX_MODEL_OBJECTS",
        default_value_t = Limits::default().objects,
        value_name = "N",
        hide_short_help = true
    )]
    objects: usize,
    /// Estimators inside of estimators
    #[arg(
        long = "max_model_depth",
        alias = "max-model-depth",
        env = "SIDEGATE_MAX_MODEL_DEPTH",
        default_value_t = Limits::default().depth,
        value_name = "N",
        hide_short_help = true
    )]
    depth: usize,
    /// Bytes of the model in memory
    #[arg(
        long = "max_model_compiled_bytes",
        alias = "max-model-compiled-bytes",
        env = "SIDEGATE_MAX_MODEL_COMPILED_BYTES",
        default_value_t = Limits::default().compiled_bytes,
        value_name = "BYTES",
        hide_short_help = true
    )]
    compiled_bytes: usize,
    /// Bytes of all tensors that a graph of ONNX makes of one request
    #[arg(
        long = "max_tensor_bytes",
        alias = "max-tensor-bytes",
        env = "SIDEGATE_MAX_TENSOR_BYTES",
        default_value_t = Limits::default().tensor_bytes,
        value_name = "BYTES",
        hide_short_help = true
    )]
    tensor_bytes: usize,
}

impl ModelLimitArgs {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            file_bytes: self.file_bytes,
            decompressed_bytes: self.inflated_bytes,
            objects: self.objects,
            depth: self.depth,
            compiled_bytes: self.compiled_bytes,
            tensor_bytes: self.tensor_bytes,
        }
    }
}
