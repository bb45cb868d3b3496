//! Model files to compiled predictors, without executing anything found in them.
