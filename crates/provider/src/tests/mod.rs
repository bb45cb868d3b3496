//! The provider as a browser and a relying party see it.

mod bed;
mod flow;
mod refusals;
