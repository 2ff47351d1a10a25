//! What the lab's API reads, without what serves it.

#[path = "../../src/api/builtin.rs"]
pub mod builtin;
#[path = "../../src/api/failure.rs"]
pub mod failure;
#[path = "../../src/api/inflate.rs"]
pub mod inflate;
#[path = "../../src/api/merge.rs"]
pub mod merge;
#[path = "../../src/api/object.rs"]
pub mod object;
#[path = "../../src/api/protobuf.rs"]
pub mod protobuf;
#[path = "../../src/api/request.rs"]
pub mod request;
#[path = "../../src/api/resource.rs"]
pub mod resource;
#[path = "../../src/api/selector.rs"]
pub mod selector;
#[path = "../../src/api/spdy.rs"]
pub mod spdy;
#[path = "../../src/api/structural.rs"]
pub mod structural;
#[path = "../../src/api/validate.rs"]
pub mod validate;

use crate::kubernetes::schema;

/// Definitions are for who asks a server.
mod crd {
    pub fn definition(_: &super::resource::CustomResource) -> serde_json::Value {
        serde_json::Value::Null
    }
}
