//! A Kubernetes API server subset: HTTPS with client certificates on loopback, an in-memory store
//! with watches, managed fields, tables. Knows neither Istio nor scenarios.

pub mod kubelet;
