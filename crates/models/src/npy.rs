//! numpy's `.npy` files: rows to ask a model about, and what it answered elsewhere.

use crate::pickle::{Dtype, Kind};
use crate::{Limits, LoadError, Matrix, Precision};

/// The values of a `.npy` file of one or two dimensions; one dimension is a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Npy {
    /// Numbers and truth values.
    Numbers(Matrix),
    /// Text, in row-major order.
    Texts {
        /// The values.
        values: Vec<String>,
        /// Values in a row.
        columns: usize,
    },
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads a file of format 1 to 3.
///
/// # Errors
/// A damaged file, one that passes `limits`, more than two dimensions, or values that are neither numbers nor text.
pub fn read_npy(bytes: &[u8], limits: &Limits) -> Result<Npy, LoadError> {
    if bytes.len() > limits.file_bytes {
        return Err(LoadError::Limit {
            what: "bytes of file",
            limit: limits.file_bytes,
        });
    }
    read(bytes, limits).map_err(|what| LoadError::Npy { what })
}

fn read(bytes: &[u8], limits: &Limits) -> Result<Npy, String> {
    let (header, data) = Header::read(bytes)?;
    if header.dtype.kind == Kind::Record {
        return Err("expected values of one type, found records".to_owned());
    }
    let (rows, columns) = match header.shape.as_slice() {
        [rows] => (*rows, 1),
        [rows, columns] => (*rows, *columns),
        shape => {
            return Err(format!(
                "expected one or two dimensions, found {}",
                shape.len()
            ));
        }
    };
    let count = rows
        .checked_mul(columns)
        .filter(|count| *count <= limits.decompressed_bytes / size_of::<f64>())
        .ok_or("more values than a file may have")?;
    let size = header.dtype.size;
    if count.checked_mul(size) != Some(data.len()) {
        return Err(format!(
            "its header tells of {rows} × {columns} values of {size} bytes, and {} bytes follow",
            data.len()
        ));
    }
    let cell = |place: usize| {
        let at = match header.fortran {
            true => (place % columns.max(1)) * rows + place / columns.max(1),
            false => place,
        };
        data.get(at * size..(at + 1) * size)
    };
    let bad = || "a value that is none of its type".to_owned();
    match header.dtype.kind {
        Kind::Text => {
            let values = (0..count).map(|place| header.dtype.string(cell(place)?));
            let values = values.collect::<Option<Vec<_>>>().ok_or_else(bad)?;
            Ok(Npy::Texts { values, columns })
        }
        Kind::Float | Kind::Signed | Kind::Unsigned | Kind::Boolean => {
            let values = (0..count).map(|place| header.dtype.float(cell(place)?));
            let values = values.collect::<Option<Vec<_>>>().ok_or_else(bad)?;
            let precision = match (header.dtype.kind, size) {
                (Kind::Float, 4) => Precision::Single,
                _ => Precision::Double,
            };
            let matrix = Matrix::new(values, rows, columns, precision).ok_or_else(bad)?;
            Ok(Npy::Numbers(matrix))
        }
        _ => Err(
            "expected numbers or text: save objects with `astype(str)` or `astype(float)`"
                .to_owned(),
        ),
    }
}

/// Bytes of a header, as many as format 1 can have.
const HEADER: usize = 1 << 16;

/// What a file says of its values.
pub(crate) struct Header {
    pub(crate) dtype: Dtype,
    pub(crate) fortran: bool,
    pub(crate) shape: Vec<usize>,
}

impl Header {
    /// The header, and the bytes of the values behind it, whose number is not checked.
    ///
    /// # Errors
    /// What is wrong with the header.
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, &[u8]), String> {
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or("it does not begin with numpy's signature")?;
        let (header, data) = match rest {
            [1, _, a, b, rest @ ..] => {
                rest.split_at_checked(usize::from(u16::from_le_bytes([*a, *b])))
            }
            [2 | 3, _, a, b, c, d, rest @ ..] => {
                usize::try_from(u32::from_le_bytes([*a, *b, *c, *d]))
                    .ok()
                    .filter(|length| *length <= HEADER)
                    .and_then(|length| rest.split_at_checked(length))
            }
            _ => return Err("expected format 1, 2 or 3".to_owned()),
        }
        .ok_or("it ends within its header")?;
        let text = std::str::from_utf8(header).map_err(|_| "a header that is no text")?;
        Ok((Self::parse(text)?, data))
    }

    /// A dict as Python writes it: `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`.
    fn parse(text: &str) -> Result<Self, String> {
        let after = |key: &str| {
            let (_, rest) = text.split_once(&format!("'{key}':"))?;
            Some(rest.trim_start())
        };
        let missing = |key: &str| format!("a header without `{key}`");
        let descr = after("descr").ok_or_else(|| missing("descr"))?;
        let dtype = match descr.strip_prefix('[') {
            Some(fields) => record(fields)?,
            None => one_type(quoted(descr).ok_or("a type that is no text")?.0)?,
        };
        let fortran = after("fortran_order").ok_or_else(|| missing("fortran_order"))?;
        let shape = after("shape")
            .and_then(|rest| rest.strip_prefix('(')?.split_once(')'))
            .ok_or_else(|| missing("shape"))?
            .0;
        let shape = shape
            .split(',')
            .map(str::trim)
            .filter(|size| !size.is_empty())
            .map(|size| size.parse().map_err(|_| format!("the size `{size:.20}`")))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            dtype,
            fortran: fortran.starts_with("True"),
            shape,
        })
    }
}

fn one_type(code: &str) -> Result<Dtype, String> {
    Dtype::of(code, code.starts_with('>'))
}

/// What stands in quotes at the beginning, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('\'')?.split_once('\'')
}

/// Fields of a record.
const FIELDS: usize = 128;

/// The fields of a record: `('left_child', '<i8'), ('', '|V7')]`; those without a name are padding.
fn record(text: &str) -> Result<Dtype, String> {
    let bad = || "records that are not of simple fields".to_owned();
    let (mut rest, mut fields) = (text.trim_start(), Vec::new());
    while let Some(field) = rest.strip_prefix('(') {
        let (name, after) = quoted(field).ok_or_else(bad)?;
        let (code, after) = after
            .strip_prefix(',')
            .and_then(|after| quoted(after.trim_start()))
            .ok_or_else(bad)?;
        rest = after.strip_prefix(')').ok_or_else(bad)?;
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        fields.push((name.to_owned(), one_type(code)?));
        if fields.len() > FIELDS {
            return Err("a record of too many fields".to_owned());
        }
    }
    match rest.starts_with(']') {
        true => Ok(Dtype::record(fields)),
        false => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `numpy.save` writes an array.
    fn file(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [MAGIC, &[1, 0], &length, header.as_bytes(), data].concat()
    }

    fn numbers(file: &[u8]) -> Matrix {
        match read_npy(file, &Limits::default()).unwrap() {
            Npy::Numbers(matrix) => matrix,
            Npy::Texts { .. } => panic!("texts"),
        }
    }

    #[test]
    fn numbers_of_all_types_and_orders() {
        let singles: Vec<u8> = [1f32, 2., 3., 4., 5., 6.]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let rows = numbers(&file("<f4", "False", "(2, 3)", &singles));
        assert_eq!((rows.rows(), rows.columns()), (2, 3));
        assert_eq!(rows.values(), [1., 2., 3., 4., 5., 6.]);
        assert_eq!(rows.precision(), Precision::Single);
        let columns = numbers(&file("<f4", "True", "(2, 3)", &singles));
        assert_eq!(columns.values(), [1., 3., 5., 2., 4., 6.]);
        let big = numbers(&file(">i2", "False", "(2,)", &[1, 0, 255, 255]));
        assert_eq!(big.values(), [256., -1.]);
        assert_eq!((big.rows(), big.columns()), (2, 1));
        assert_eq!(
            numbers(&file("|b1", "False", "(2,)", &[0, 1])).values(),
            [0., 1.]
        );
    }

    #[test]
    fn texts() {
        let data: Vec<u8> = "ab\0é\0\0"
            .chars()
            .flat_map(|c| u32::from(c).to_le_bytes())
            .collect();
        let read = read_npy(&file("<U3", "False", "(2,)", &data), &Limits::default());
        let values = vec!["ab".to_owned(), "é".to_owned()];
        assert_eq!(read, Ok(Npy::Texts { values, columns: 1 }));
    }

    #[test]
    fn damage_is_an_error_with_a_reason() {
        let whole = file("<f8", "False", "(2, 1)", &[0; 16]);
        assert_eq!(numbers(&whole).values(), [0., 0.]);
        for length in 0..whole.len() {
            let cut = whole.get(..length).unwrap();
            assert!(read_npy(cut, &Limits::default()).is_err(), "{length} bytes");
        }
        for (what, file) in [
            ("signature", b"PK\x03\x04".to_vec()),
            ("follow", file("<f8", "False", "(9, 9)", &[0; 16])),
            (
                "more values",
                file("<f8", "False", "(99999999999, 9999999999)", &[]),
            ),
            ("dimensions", file("<f8", "False", "(1, 1, 1)", &[0; 8])),
            ("the size", file("<f8", "False", "(-1,)", &[0; 8])),
            ("astype", file("|O", "False", "(1,)", &[0; 8])),
            ("dtype", file("<M8[ns]", "False", "(1,)", &[0; 8])),
        ] {
            let error = read_npy(&file, &Limits::default()).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
