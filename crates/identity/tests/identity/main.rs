//! The crate together with its neighbours.

#[cfg(test)]
mod browser;
#[cfg(test)]
mod provider;
#[cfg(test)]
mod several;
