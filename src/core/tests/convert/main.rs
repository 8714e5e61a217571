//! The converter through its public surface: what games send in, protobuf out.

mod binary;
mod bodies;
mod harness;
mod mutated;
mod quirks;
mod random;
mod reference;
mod rules;
mod spans;
mod wrong_types;
