//! Graphs of ONNX with operators that the kernels of `models` have not, run by ONNX Runtime's own library.
//!
//! The library is a file that whoever runs the program has: nothing of it is linked or downloaded. Without the feature `load`
//! there is no code for it, and [`Library::open`] says so.

#[cfg(feature = "load")]
mod session;

#[cfg(feature = "load")]
pub use session::Library;
#[cfg(not(feature = "load"))]
pub use without::Library;

use std::path::PathBuf;
use thiserror::Error;

/// Why there is no library.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The program was built without the feature.
    #[error("this program was built without ONNX Runtime: build it with `--features onnxruntime`")]
    NotBuilt,
    /// The file is not there, or not ONNX Runtime, or an older one than 1.18.
    #[error("`{path}` cannot be used as ONNX Runtime's library: {what}")]
    Library {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
}

#[cfg(not(feature = "load"))]
mod without {
    use super::OpenError;
    use models::{Graph, GraphReader, Limits, LoadError};
    use std::convert::Infallible;
    use std::path::Path;

    /// ONNX Runtime, which this build has not.
    #[derive(Debug)]
    pub struct Library(Infallible);

    impl Library {
        /// Loads the library.
        ///
        /// # Errors
        /// Always.
        pub fn open(_: &Path) -> Result<Self, OpenError> {
            Err(OpenError::NotBuilt)
        }
    }

    impl GraphReader for Library {
        fn read(&self, _: &[u8], _: &Limits) -> Result<Graph, LoadError> {
            match self.0 {}
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_was_not_built_is_told() {
            let error = Library::open(Path::new("/nowhere")).unwrap_err();
            assert_eq!(error, OpenError::NotBuilt);
        }
    }
}
