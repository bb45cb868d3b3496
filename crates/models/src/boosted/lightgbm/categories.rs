//! What the categories of a data frame are to the trees.
//!
//! LightGBM's Python package trains with the codes of pandas' categories and writes the categories behind the trees. Which
//! columns they belong to is not written: those are the categorical ones among the parameters, unless some were of ordered
//! categories, which are numbers to LightGBM.

use crate::document::{Source, Value};
use crate::json;
use crate::table::{CellRef, Column, Table};
use crate::{Limits, Precision};
use std::borrow::Cow;
use std::collections::HashMap;

/// By column: the code of each category that is text.
#[derive(Debug, Clone, Default)]
pub(super) struct Categories(Vec<(usize, HashMap<String, f64>)>);

impl Categories {
    /// Reads what follows the trees.
    ///
    /// # Errors
    /// A list of categories that is damaged.
    pub(super) fn read<'t>(
        lines: impl Iterator<Item = &'t str>,
        features: usize,
        limits: &Limits,
    ) -> Result<Self, String> {
        let (mut columns, mut lists) = (Vec::new(), None);
        for line in lines {
            if let Some(listed) = line.strip_prefix("[categorical_feature: ") {
                let listed = listed.trim_end_matches(']').split(',');
                columns = listed.filter_map(|column| column.parse().ok()).collect();
            } else if let Some(listed) = line.strip_prefix("pandas_categorical:") {
                let mut source = Source::new(listed.as_bytes(), limits.objects);
                let read = json::read(&mut source);
                lists = Some(read.map_err(|what| format!("{what} in `pandas_categorical`"))?);
            }
        }
        let lists = match lists {
            Some(Value::List(lists)) => lists,
            _ => return Ok(Self::default()),
        };
        columns.sort_unstable();
        if lists.len() != columns.len() || columns.iter().any(|column| *column >= features) {
            return Ok(Self::default());
        }
        let codes = |list: Value| match list {
            Value::List(categories) => {
                let codes = (0_u32..).map(f64::from);
                let entry = |(category, code)| match category {
                    Value::Text(text) => Some((text, code)),
                    _ => None,
                };
                categories
                    .into_iter()
                    .zip(codes)
                    .filter_map(entry)
                    .collect()
            }
            _ => HashMap::new(),
        };
        Ok(Self(
            columns
                .into_iter()
                .zip(lists.into_iter().map(codes))
                .collect(),
        ))
    }

    /// The table with codes in place of text; a text that is no category is missing, as in pandas. Numbers stay: they are
    /// codes.
    pub(super) fn encode<'d>(&self, table: Cow<'d, Table>) -> Cow<'d, Table> {
        let has_text = |(column, _): &&(usize, HashMap<String, f64>)| {
            let column = table.columns().get(*column);
            column.is_some_and(|(_, column)| !column.is_numeric())
        };
        let encoded: Vec<_> = self.0.iter().filter(has_text).collect();
        if encoded.is_empty() {
            return table;
        }
        let mut columns = table.columns().to_vec();
        for (at, codes) in encoded {
            let Some((_, column)) = columns.get_mut(*at) else {
                continue;
            };
            let code = |row| match column.cell(row) {
                CellRef::Number(value) => value,
                CellRef::Integer(value) => value as f64,
                CellRef::Text(text) => codes.get(text).copied().unwrap_or(f64::NAN),
                CellRef::None => f64::NAN,
            };
            *column = Column::Numbers((0..column.len()).map(code).collect(), Precision::Double);
        }
        match Table::new(columns) {
            Some(table) => Cow::Owned(table),
            None => table,
        }
    }
}
