//! The provider as a browser and a relying party see it.

mod abuse;
mod accounts;
mod applications;
mod bed;
mod certification;
mod claims;
mod clients;
mod codes;
mod connectors;
mod cors;
mod devices;
mod endpoints;
mod enrol;
mod factors;
mod families;
mod flow;
mod guard;
mod hostile;
mod keys;
mod log;
mod logout;
mod machines;
mod pages;
mod people;
mod refusals;
mod sessions;
