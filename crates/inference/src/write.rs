//! Writing JSON in the two ways that KServe does: orjson's compact one, and for CloudEvents the spaced one of Python's
//! standard library.

use models::{Labels, Output};

/// Who would have written the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// No spaces, text as UTF-8.
    Compact,
    /// Spaces after `,` and `:`, text as ASCII, floats as Python's `repr`.
    Spaced,
}

impl Style {
    pub(crate) fn comma(self) -> &'static [u8] {
        match self {
            Self::Compact => b",",
            Self::Spaced => b", ",
        }
    }

    /// Appends a float. What JSON cannot say becomes `null`, as with orjson.
    pub(crate) fn float(self, value: f64, out: &mut Vec<u8>) {
        if !value.is_finite() {
            out.extend_from_slice(b"null");
            return;
        }
        match self {
            Self::Compact => {
                out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes())
            }
            Self::Spaced => out.extend_from_slice(python_repr(value).as_bytes()),
        }
    }

    pub(crate) fn text(self, text: &str, out: &mut Vec<u8>) {
        out.push(b'"');
        for character in text.chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\u{8}' => out.extend_from_slice(b"\\b"),
                '\u{c}' => out.extend_from_slice(b"\\f"),
                control if u32::from(control) < 0x20 => {
                    unit(u16::try_from(u32::from(control)).unwrap_or(0), out)
                }
                plain if plain.is_ascii() || self == Self::Compact => {
                    out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
                }
                other => other
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .for_each(|code| unit(*code, out)),
            }
        }
        out.push(b'"');
    }

    /// Appends the class at `index`.
    pub(crate) fn label(self, labels: &Labels, index: usize, out: &mut Vec<u8>) {
        match labels {
            Labels::Integers(values, _) => {
                out.extend_from_slice(
                    itoa::Buffer::new()
                        .format(values.get(index).copied().unwrap_or(0))
                        .as_bytes(),
                );
            }
            Labels::Floats(values) => {
                self.float(values.get(index).copied().unwrap_or(f64::NAN), out)
            }
            Labels::Strings(values) => self.text(values.get(index).map_or("", String::as_str), out),
            Labels::Booleans(values) => {
                out.extend_from_slice(if values.get(index) == Some(&true) {
                    b"true"
                } else {
                    b"false"
                });
            }
        }
    }

    /// Appends the items of a list, with `item` for each.
    pub(crate) fn list<T>(
        self,
        items: impl IntoIterator<Item = T>,
        out: &mut Vec<u8>,
        mut item: impl FnMut(T, &mut Vec<u8>),
    ) {
        out.push(b'[');
        for (index, value) in items.into_iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(self.comma());
            }
            item(value, out);
        }
        out.push(b']');
    }

    /// Appends what a model said, tables as lists of rows.
    pub(crate) fn nested(self, output: &Output, labels: Option<&Labels>, out: &mut Vec<u8>) {
        match output {
            Output::Table {
                values, columns, ..
            } => self.list(values.chunks_exact((*columns).max(1)), out, |row, out| {
                self.list(row, out, |value, out| self.float(*value, out));
            }),
            Output::ClassTable { classes, columns } => {
                self.list(classes.chunks_exact((*columns).max(1)), out, |row, out| {
                    self.classes(row, labels, out);
                });
            }
            _ => self.flat(output, labels, out),
        }
    }

    /// Appends what a model said, as one list.
    pub(crate) fn flat(self, output: &Output, labels: Option<&Labels>, out: &mut Vec<u8>) {
        match output {
            Output::Classes(classes) | Output::ClassTable { classes, .. } => {
                self.classes(classes, labels, out);
            }
            Output::Values(values, _) | Output::Table { values, .. } => {
                self.list(values, out, |value, out| self.float(*value, out));
            }
        }
    }

    /// Appends a list of classes; without labels, of their numbers.
    fn classes(self, classes: &[u32], labels: Option<&Labels>, out: &mut Vec<u8>) {
        self.list(classes, out, |class, out| match labels {
            Some(labels) => {
                self.label(labels, usize::try_from(*class).unwrap_or(usize::MAX), out);
            }
            None => out.extend_from_slice(itoa::Buffer::new().format(*class).as_bytes()),
        });
    }
}

fn unit(code: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\\u{code:04x}").as_bytes());
}

/// Python's `repr` of a finite float: shortest digits, an exponent below 1e-4 and from 1e16 on.
fn python_repr(value: f64) -> String {
    let scientific = format!("{value:e}");
    let exponent = scientific
        .rsplit('e')
        .next()
        .and_then(|exponent| exponent.parse::<i32>().ok())
        .unwrap_or(0);
    if (-4..16).contains(&exponent) || value == 0.0 {
        return format!("{value:?}");
    }
    let digits = scientific.split('e').next().unwrap_or_default();
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::Style;
    use crate::v2::{datatype, raw, shape};
    use models::{IntegerType, Labels, Output};

    /// As `tolist` of an array of two dimensions, and as its values one after the other.
    #[test]
    fn classes_of_several_outputs_are_rows() {
        let output = Output::ClassTable {
            classes: vec![0, 2, 1, 0],
            columns: 2,
        };
        let texts = Labels::Strings(["no", "yes", "\"so\""].map(str::to_owned).to_vec());
        let numbers = Labels::Integers(vec![4, -1, 9], IntegerType::Int32);
        let written = |labels: &Labels, flat: bool| {
            let mut out = Vec::new();
            match flat {
                true => Style::Compact.flat(&output, Some(labels), &mut out),
                false => Style::Compact.nested(&output, Some(labels), &mut out),
            }
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(&texts, false), r#"[["no","\"so\""],["yes","no"]]"#);
        assert_eq!(written(&numbers, false), "[[4,9],[-1,4]]");
        assert_eq!(written(&numbers, true), "[4,9,-1,4]");
        assert_eq!(shape(&output), [2, 2]);
        assert_eq!(datatype(&output, Some(&numbers)), "INT32");
        let mut bytes = Vec::new();
        raw(&output, Some(&numbers), &mut bytes);
        let values: Vec<u8> = [4_i32, 9, -1, 4].map(i32::to_le_bytes).concat();
        assert_eq!(bytes, values);
        let contents = crate::grpc::contents("INT32", &output, Some(&numbers));
        assert_eq!(contents.ints, [4, 9, -1, 4]);
    }

    #[test]
    fn floats_are_written_as_python_writes_them() {
        let cases = [
            (0.0, "0.0", "0.0"),
            (-0.0, "-0.0", "-0.0"),
            (1e15, "1000000000000000.0", "1000000000000000.0"),
            (1e16, "1e+16", "1e+16"),
            (
                1.234_567_890_123_456_8e17,
                "1.2345678901234568e+17",
                "1.2345678901234568e+17",
            ),
            (1e-4, "0.0001", "0.0001"),
            (1e-5, "0.00001", "1e-05"),
            (1.5e-5, "0.000015", "1.5e-05"),
            (1e-6, "1e-6", "1e-06"),
            (5e-324, "5e-324", "5e-324"),
            (
                f64::MAX,
                "1.7976931348623157e+308",
                "1.7976931348623157e+308",
            ),
            (12345.678, "12345.678", "12345.678"),
            (f64::NAN, "null", "null"),
        ];
        for (value, orjson, repr) in cases {
            for (style, expected) in [(Style::Compact, orjson), (Style::Spaced, repr)] {
                let mut out = Vec::new();
                style.float(value, &mut out);
                assert_eq!(String::from_utf8_lossy(&out), expected);
            }
        }
    }

    #[test]
    fn text_is_escaped() {
        let check = |style: Style, text: &str, expected: &str| {
            let mut out = Vec::new();
            style.text(text, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        };
        check(
            Style::Compact,
            "a\"\\\n\u{1}é😀",
            "\"a\\\"\\\\\\n\\u0001é😀\"",
        );
        check(Style::Spaced, "é😀", "\"\\u00e9\\ud83d\\ude00\"");
    }
}
