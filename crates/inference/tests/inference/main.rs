//! The protocols against answers of KServe, and against noise.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod capture;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod graphs;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod integers;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod mlserver;
#[cfg(test)]
mod noise;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod tables;
