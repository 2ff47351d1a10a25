//! The plan: what a run will do, typed. `set`, `let`, `for` and `include` are expanded here;
//! captures stay late references (a [`Text`] with [`Part::Capture`]), since their values exist only
//! when the run reaches them. No I/O: files were read by `check::load`.

mod blocks;
mod build;
mod change;
pub mod curl;
mod document;
mod expectation;
pub mod expected;
mod headers;
mod inline;
mod lab;
mod named;
mod scope;
mod select;
mod state;
pub mod step;
mod steps;
mod value;

pub use build::{DEFAULT_GATEWAY, DEFAULT_NAMESPACE, DEFAULT_WITHIN, Manifests, Taker, build};
pub use document::document;
pub use expected::*;
pub use inline::Inline;
pub use lab::LAB_GROUP;
pub use named::included;
pub use scope::Expanded;
pub use select::Selection;
pub use step::*;
pub use value::is_label;
