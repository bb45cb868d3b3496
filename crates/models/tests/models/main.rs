//! Model files written by real scikit-learn, and files that mean harm.

mod corpus;
mod golden;
mod hostile;
mod pickles;
