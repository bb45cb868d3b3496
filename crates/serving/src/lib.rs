//! InferenceService life cycle: storage, loading, states.
