//! FlatBuffers as far as CatBoost's models need them: tables with numbered fields, vectors and text, every offset checked.

/// A table: where it is, and where its fields are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'b> {
    bytes: &'b [u8],
    at: usize,
    fields: &'b [u8],
}

fn outside() -> String {
    "an offset leads out of the file".to_owned()
}

/// The bytes of one value.
fn take<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], String> {
    let rest = bytes.get(at..).and_then(|rest| rest.first_chunk());
    rest.copied().ok_or_else(outside)
}

fn size(bytes: &[u8], at: usize) -> Result<usize, String> {
    usize::try_from(u32::from_le_bytes(take(bytes, at)?)).map_err(|_| outside())
}

/// Where the offset at a place leads.
fn follow(bytes: &[u8], at: usize) -> Result<usize, String> {
    at.checked_add(size(bytes, at)?).ok_or_else(outside)
}

impl<'b> Table<'b> {
    pub(super) fn root(bytes: &'b [u8]) -> Result<Self, String> {
        Self::at(bytes, follow(bytes, 0)?)
    }

    fn at(bytes: &'b [u8], at: usize) -> Result<Self, String> {
        let back = i64::from(i32::from_le_bytes(take(bytes, at)?));
        let place = i64::try_from(at).ok().and_then(|at| at.checked_sub(back));
        let place = place
            .and_then(|place| usize::try_from(place).ok())
            .ok_or_else(outside)?;
        let size = usize::from(u16::from_le_bytes(take(bytes, place)?));
        // The sizes of this and of the table come first.
        let fields = bytes.get(place..).and_then(|rest| rest.get(4..size));
        Ok(Self {
            bytes,
            at,
            fields: fields.ok_or_else(outside)?,
        })
    }

    /// Where a field is; `None` if it is left out.
    fn field(&self, number: usize) -> Option<usize> {
        let offset = take(self.fields, number.checked_mul(2)?).ok()?;
        match u16::from_le_bytes(offset) {
            0 => None,
            offset => self.at.checked_add(usize::from(offset)),
        }
    }

    /// The bytes of a number, if it is there.
    pub(super) fn number<const N: usize>(&self, field: usize) -> Result<Option<[u8; N]>, String> {
        self.field(field).map(|at| take(self.bytes, at)).transpose()
    }

    pub(super) fn integer(&self, field: usize, default: i32) -> Result<i32, String> {
        Ok(self.number(field)?.map_or(default, i32::from_le_bytes))
    }

    pub(super) fn table(&self, field: usize) -> Result<Option<Self>, String> {
        match self.field(field) {
            Some(at) => Self::at(self.bytes, follow(self.bytes, at)?).map(Some),
            None => Ok(None),
        }
    }

    /// The bytes of a vector of values of `N` bytes each; none if it is left out.
    fn vector(&self, field: usize, width: usize) -> Result<&'b [u8], String> {
        let Some(at) = self.field(field) else {
            return Ok(&[]);
        };
        let start = follow(self.bytes, at)?;
        let count = size(self.bytes, start)?;
        let length = count.checked_mul(width);
        let values = start
            .checked_add(4)
            .and_then(|start| self.bytes.get(start..)?.get(..length?));
        values.ok_or_else(outside)
    }

    /// The values of a vector, each of `N` bytes.
    pub(super) fn values<const N: usize, T>(
        &self,
        field: usize,
        value: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, String> {
        let (values, _) = self.vector(field, N)?.as_chunks::<N>();
        Ok(values.iter().map(|bytes| value(*bytes)).collect())
    }

    /// The number of elements of a vector.
    pub(super) fn count(&self, field: usize) -> Result<usize, String> {
        Ok(self.vector(field, 1)?.len())
    }

    /// The tables of a vector.
    pub(super) fn tables(&self, field: usize) -> Result<Vec<Self>, String> {
        let entries = self.vector(field, 4)?;
        let start = (entries.as_ptr() as usize).checked_sub(self.bytes.as_ptr() as usize);
        let start = start.filter(|_| !entries.is_empty()).unwrap_or(0);
        let places = (start..).step_by(4).take(entries.len() / 4);
        places
            .map(|at| Self::at(self.bytes, follow(self.bytes, at)?))
            .collect()
    }

    pub(super) fn text(&self, field: usize) -> Result<&'b str, String> {
        std::str::from_utf8(self.vector(field, 1)?).map_err(|_| "text is not UTF-8".to_owned())
    }
}
