//! The envelope of the xDS protocol (`envoy.service.discovery.v3`), as far as this server reads and
//! writes it. Resources themselves go through `wire`.

use super::wire::Any;
use bytes::Bytes;

/// What Envoy sends: a subscription, an ACK or a NACK.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DiscoveryRequest {
    /// The version last accepted; empty at first.
    #[prost(string, tag = "1")]
    pub version_info: String,
    /// `envoy.config.core.v3.Node`, undecoded; only in the first request of a stream.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub node: Option<Bytes>,
    #[prost(string, repeated, tag = "3")]
    pub resource_names: Vec<String>,
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// The nonce of the response this one answers.
    #[prost(string, tag = "5")]
    pub response_nonce: String,
    /// Set in a NACK.
    #[prost(message, optional, tag = "6")]
    pub error_detail: Option<Status>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct DiscoveryResponse {
    #[prost(string, tag = "1")]
    pub version_info: String,
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Any>,
    #[prost(string, tag = "4")]
    pub type_url: String,
    #[prost(string, tag = "5")]
    pub nonce: String,
}
