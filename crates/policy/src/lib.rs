//! The access decision: resources to a Snapshot, a request to a Permit or a Denial.
