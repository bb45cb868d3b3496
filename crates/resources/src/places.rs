//! Lines of fields, for problems that are found after loading.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use yaml::{Step, Text, undotted};

use crate::document::Document;
use crate::meta::ObjectRef;

/// The texts that objects were read from.
#[derive(Clone, Default)]
pub struct Places(Arc<HashMap<ObjectRef, Place>>);

struct Place {
    text: Arc<Text>,
    /// Where the object is in it: the item of a list.
    path: Vec<Step>,
}

impl Places {
    /// Of documents whose fields are asked for.
    pub(crate) fn of<'d>(documents: impl Iterator<Item = &'d Document>) -> Self {
        let places = documents.map(|document| {
            let place = Place {
                text: document.text.clone(),
                path: document.path.clone(),
            };
            (document.reference(), place)
        });
        Self(Arc::new(places.collect()))
    }

    /// The line in its file of a field such as `spec.http[0].match`, or of the
    /// deepest part of it that is written.
    pub fn line(&self, object: &ObjectRef, field: &str) -> Option<u32> {
        let place = self.0.get(object)?;
        let mut path = place.path.clone();
        path.extend(undotted(field));
        place.text.line_of(&path)
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Places({})", self.0.len())
    }
}
