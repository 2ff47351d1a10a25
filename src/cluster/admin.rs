//! Envoy's admin (127.0.0.1:15000 in a pod) and other plain HTTP ports of a pod, through the API's
//! port-forward. One connection a pod and port is kept alive and used again.

use super::{Cluster, Error, Pod};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1 as core;
use kube::Api;
use serde_json::Value;
use tokio::sync::Mutex;

/// The port of Envoy's admin in a pod.
const ENVOY_ADMIN: u16 = 15000;

/// HTTP/1.1 over port-forward to one port of one pod.
pub struct Admin {
    cluster: Cluster,
    namespace: String,
    pod: String,
    port: u16,
    connection: Mutex<Option<SendRequest<Empty<Bytes>>>>,
}

/// An answer with its status code.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

impl Cluster {
    /// The admin of the pod's Envoy. Nothing is asked yet.
    pub fn admin(&self, pod: &Pod) -> Admin {
        self.http(pod, ENVOY_ADMIN)
    }

    /// Plain HTTP to a port of a pod.
    pub fn http(&self, pod: &Pod, port: u16) -> Admin {
        Admin {
            cluster: self.clone(),
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            port,
            connection: Mutex::new(None),
        }
    }
}

impl Admin {
    /// GET, whatever the status. A connection that was closed meanwhile is opened anew once.
    pub async fn get(&self, path: &str) -> Result<Answer, Error> {
        let mut connection = self.connection.lock().await;
        let reused = connection.is_some();
        match self.get_on(&mut connection, path).await {
            Err(_) if reused => {
                *connection = None;
                self.get_on(&mut connection, path).await
            }
            other => other,
        }
    }

    /// GET of JSON; any status but 200 is an error.
    pub async fn json(&self, path: &str) -> Result<Value, Error> {
        let answer = self.get(path).await?;
        let doing = self.doing(path);
        if answer.status != 200 {
            return Err(Error::Refused {
                doing,
                code: answer.status,
                reason: String::new(),
                message: format!("HTTP {}: {}", answer.status, String::from_utf8_lossy(&answer.body).trim()),
            });
        }
        serde_json::from_slice(&answer.body).map_err(|e| Error::broken(doing, &e))
    }

    /// Envoy's whole configuration as its admin prints it (snake_case).
    pub async fn config_dump(&self) -> Result<Value, Error> {
        self.json("/config_dump").await
    }

    /// The same with endpoints: dearer (see Envoy's `include_eds`).
    pub async fn config_dump_with_endpoints(&self) -> Result<Value, Error> {
        self.json("/config_dump?include_eds").await
    }

    /// The active listeners whose whole names match the regex; an empty list of `configs` where none does.
    pub async fn listeners_named(&self, regex: &str) -> Result<Value, Error> {
        let path = format!("/config_dump?resource=dynamic_listeners&name_regex={}", escape(regex));
        match self.json(&path).await {
            // A resource of which there is none is "not found in config dump".
            Err(Error::Refused { code: 404, .. }) => Ok(serde_json::json!({"configs": []})),
            other => other,
        }
    }

    /// Envoy's version and state, e.g. `{"version": "…/1.40.0/…", "state": "LIVE"}`.
    pub async fn server_info(&self) -> Result<Value, Error> {
        self.json("/server_info").await
    }

    /// True when Envoy says LIVE.
    pub async fn ready(&self) -> Result<bool, Error> {
        Ok(self.get("/ready").await?.status == 200)
    }

    /// Endpoints with their health, as `/clusters?format=json` has them.
    pub async fn clusters(&self) -> Result<Value, Error> {
        self.json("/clusters?format=json").await
    }

    /// Bound listeners with their addresses.
    pub async fn listeners(&self) -> Result<Value, Error> {
        self.json("/listeners?format=json").await
    }

    /// Statistics whose names match the regex, by name; text values are left out.
    pub async fn stats(&self, filter: &str) -> Result<Vec<(String, u64)>, Error> {
        let answer = self.json(&format!("/stats?format=json&filter={}", escape(filter))).await?;
        let list = answer["stats"].as_array().cloned().unwrap_or_default();
        Ok(list.iter().filter_map(|s| Some((s["name"].as_str()?.to_owned(), s["value"].as_u64()?))).collect())
    }

    async fn get_on(&self, connection: &mut Option<SendRequest<Empty<Bytes>>>, path: &str) -> Result<Answer, Error> {
        let doing = self.doing(path);
        let sender = match connection {
            Some(sender) => sender,
            None => connection.insert(self.open().await?),
        };
        let request = http::Request::get(path)
            .header("host", "localhost")
            .body(Empty::new())
            .map_err(|e| Error::broken(doing.clone(), &e))?;
        sender.ready().await.map_err(|e| Error::broken(doing.clone(), &e))?;
        let response = sender.send_request(request).await.map_err(|e| Error::broken(doing.clone(), &e))?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|e| Error::broken(doing, &e))?.to_bytes();
        Ok(Answer { status, body })
    }

    async fn open(&self) -> Result<SendRequest<Empty<Bytes>>, Error> {
        let doing = format!("forwarding port {} of {}/{}", self.port, self.namespace, self.pod);
        let api: Api<core::Pod> = Api::namespaced(self.cluster.client().clone(), &self.namespace);
        let mut forwarder =
            api.portforward(&self.pod, &[self.port]).await.map_err(|e| Error::from_kube(doing.clone(), e))?;
        let refusal = forwarder.take_error(self.port);
        let Some(stream) = forwarder.take_stream(self.port) else {
            return Err(Error::says(doing, "the server opened no stream"));
        };
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| Error::broken(doing.clone(), &e))?;
        tokio::spawn(async move {
            // The forwarder lives as long as the connection over it. The server's own refusal ends it too.
            let refused = async {
                match refusal {
                    Some(refusal) => match refusal.await {
                        Some(_) => (),
                        None => std::future::pending().await,
                    },
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = connection => (),
                _ = refused => (),
            }
            drop(forwarder);
        });
        Ok(sender)
    }

    fn doing(&self, path: &str) -> String {
        format!("asking {}/{}:{} for {path}", self.namespace, self.pod, self.port)
    }
}

/// Percent-encodes everything but letters and digits, for a query value.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|b| match b.is_ascii_alphanumeric() || b == b'_' {
            true => char::from(b).to_string(),
            false => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regex_survives_the_query() {
        assert_eq!(escape("^(a_b|c).*$"), "%5E%28a_b%7Cc%29%2E%2A%24");
    }
}
