//! Nested values, as XGBoost, CatBoost and skops write them in JSON and UBJSON.

/// A value. Lists of numbers, which are almost all of a file, are kept flat.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Number(f64),
    Text(String),
    /// Numbers, with truth values as 0 and 1; also the empty list.
    Numbers(Vec<f64>),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl Value {
    pub(crate) fn find(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Object(entries) => {
                let entry = entries.iter().find(|(known, _)| known == key);
                entry.map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// # Errors
    /// There is no such member.
    pub(crate) fn at(&self, key: &str) -> Result<&Value, String> {
        self.find(key)
            .ok_or_else(|| format!("expected a member `{key}`"))
    }

    /// The text of a member.
    pub(crate) fn text(&self, key: &str) -> Result<&str, String> {
        match self.at(key)? {
            Self::Text(text) => Ok(text),
            _ => Err(format!("expected text in `{key}`")),
        }
    }

    /// The whole number of a member, which XGBoost writes as text in its parameters.
    pub(crate) fn whole(&self, key: &str) -> Result<usize, String> {
        let number = match self.at(key)? {
            Self::Number(value) => whole(*value),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| format!("expected a whole number in `{key}`"))
    }

    /// The numbers of a member.
    pub(crate) fn numbers(&self, key: &str) -> Result<&[f64], String> {
        match self.at(key)? {
            Self::Numbers(values) => Ok(values),
            _ => Err(format!("expected numbers in `{key}`")),
        }
    }

    /// The values of a member that is a list of anything but numbers.
    pub(crate) fn list(&self, key: &str) -> Result<&[Value], String> {
        match self.at(key)? {
            Self::List(values) => Ok(values),
            Self::Numbers(values) if values.is_empty() => Ok(&[]),
            _ => Err(format!("expected a list in `{key}`")),
        }
    }
}

/// The number as an index.
pub(crate) fn whole(value: f64) -> Option<usize> {
    let fits = (0.0..9e15).contains(&value) && value.fract() == 0.0;
    fits.then_some(value as usize)
}

/// A list that grows one value at a time and stays flat while it is of numbers.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    numbers: Vec<f64>,
    others: Vec<Value>,
}

impl Growing {
    /// # Errors
    /// Numbers among others take more memory than their bytes: these are paid for.
    pub(crate) fn push(&mut self, value: Value, source: &mut Source<'_>) -> Result<(), String> {
        match value {
            Value::Number(number) if self.others.is_empty() => self.numbers.push(number),
            value => {
                let mixed = self.numbers.len() + usize::from(matches!(value, Value::Number(_)));
                source.pay_for(mixed)?;
                self.others
                    .extend(self.numbers.drain(..).map(Value::Number));
                self.others.push(value);
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Value {
        if self.others.is_empty() {
            Value::Numbers(self.numbers)
        } else {
            Value::List(self.others)
        }
    }
}

/// What is left to read, and what reading may still cost.
#[derive(Debug)]
pub(crate) struct Source<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Values other than the numbers of lists.
    objects: usize,
    /// Values inside values.
    depth: usize,
}

/// Values inside values, unless a format nests deeper.
pub(crate) const DEPTH: usize = 24;

impl<'b> Source<'b> {
    pub(crate) fn new(bytes: &'b [u8], objects: usize) -> Self {
        Self {
            bytes,
            at: 0,
            objects,
            depth: DEPTH,
        }
    }

    pub(crate) fn with_depth(self, depth: usize) -> Self {
        Self { depth, ..self }
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'b [u8], String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..count).ok_or("the file ends early")?;
        self.at += count;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, String> {
        let byte = self.peek().ok_or("the file ends early")?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N)?;
        bytes
            .try_into()
            .map_err(|_| "the file ends early".to_owned())
    }

    /// Pays for a value that takes more memory than its bytes.
    pub(crate) fn pay(&mut self) -> Result<(), String> {
        self.pay_for(1)
    }

    fn pay_for(&mut self, count: usize) -> Result<(), String> {
        self.objects = self
            .objects
            .checked_sub(count)
            .ok_or("more values than the limit of objects")?;
        Ok(())
    }
}
