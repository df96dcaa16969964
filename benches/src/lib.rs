//! The server's innermost steps, each by itself and with inputs that are the same in every run: what the instruction
//! counts and the micro-benchmarks measure. The load harness is a program of its own and uses none of this.

pub mod micro;
