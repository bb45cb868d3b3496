//! Certification plans of the OpenID Foundation's conformance suite, module by module.
//!
//! Each test does what the module of its name does, with what the suite asserts
//! (`src/main/java/net/openid/conformance/openid` there): a *failure* of the suite fails the test, and
//! what it would end with otherwise is compared with [`table`], from which `docs/oidc-conformance.md`
//! is made.

mod basic;
mod channel;
mod configuration;
mod logout;
mod party;
mod table;
