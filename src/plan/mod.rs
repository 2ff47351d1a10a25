//! The plan: what a run will do, typed. `set`, `let`, `for` and `include` are expanded here;
//! captures stay late references (a [`Text`] with [`Part::Capture`]), since their values exist only
//! when the run reaches them. No I/O: files were read by `check::load`.

pub mod step;

pub use step::*;
