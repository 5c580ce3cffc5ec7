//! Plans of the engine against a naive model of S3.

mod model;
