//! What a model file may cost.

/// Bounds that hold while a model file is read and compiled. A file that would pass one is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file as stored.
    pub file_bytes: usize,
    /// Bytes after decompression.
    pub decompressed_bytes: usize,
    /// Values in the pickled graph, and entries in its memo.
    pub objects: usize,
    /// Pickles inside pickles (joblib writes object arrays so), and estimators inside estimators.
    pub depth: usize,
    /// Bytes of the compiled predictor, counted before they are allocated.
    pub compiled_bytes: usize,
    /// Bytes of all tensors that a graph of ONNX makes of one request. Its time is bounded in proportion.
    pub tensor_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 1 << 30,
            decompressed_bytes: 2 << 30,
            objects: 4_000_000,
            depth: 16,
            compiled_bytes: 2 << 30,
            tensor_bytes: 1 << 30,
        }
    }
}
