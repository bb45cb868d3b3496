//! Model files written by real scikit-learn, and files that mean harm.

#[cfg(test)]
mod apart;
#[cfg(test)]
mod archive;
#[cfg(test)]
mod boosted;
#[cfg(test)]
mod catboost;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod lightgbm;
#[cfg(test)]
mod onnx;
#[cfg(test)]
mod pickles;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod skops;
