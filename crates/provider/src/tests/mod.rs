//! The provider as a browser and a relying party see it.

mod bed;
mod codes;
mod flow;
mod guard;
mod keys;
mod refusals;
