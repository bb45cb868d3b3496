//! The V1 and V2 inference protocols over a predictor.
