//! Envoy's messages in the form in which this program builds, compares and prints them: proto3 JSON. Their
//! descriptors, and bodies that may share all but one text with others. May not know what a message means.

mod body;
pub mod descriptors;

pub use body::{Body, Listing, MARK, Template};
