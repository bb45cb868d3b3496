//! The crate together with its neighbours.

#[cfg(test)]
mod provider;
