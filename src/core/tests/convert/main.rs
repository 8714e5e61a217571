//! The converter through its public surface: what games send in, protobuf out.

mod harness;
mod mutated;
mod random;
mod reference;
