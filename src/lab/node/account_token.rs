//! A pod's token of its ServiceAccount, as a kubelet asks for it.

use super::NodeConfig;
use super::pod::Pod;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount, ServiceAccountTokenProjection};
use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;

/// Asks for the token; an account that is not there yet is waited for, as its namespace's controller makes it.
///
/// # Errors
/// What the API says.
pub async fn of(pod: &Pod, config: &NodeConfig, wanted: &ServiceAccountTokenProjection) -> Result<String, String> {
    let spec = pod.object.spec.as_ref();
    let account = spec.and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
    let api: Api<ServiceAccount> = Api::namespaced(config.client.clone(), &pod.namespace);
    let bound = BoundObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: Some(pod.name.clone()),
        uid: Some(pod.uid.clone()),
    };
    let spec = TokenRequestSpec {
        audiences: wanted.audience.iter().cloned().collect(),
        expiration_seconds: wanted.expiration_seconds,
        bound_object_ref: Some(bound),
    };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let params = PostParams::default();
    let ask = || api.create_token_request(account, &params, &request);
    let answer = match ask().await {
        Err(kube::Error::Api(refusal)) if refusal.code == 404 => {
            let exists = |account: Option<&ServiceAccount>| account.is_some();
            let waited = await_condition(api.clone(), account, exists).await;
            waited.map_err(|error| format!("waiting for ServiceAccount {account}: {error}"))?;
            ask().await
        }
        answer => answer,
    };
    let answer = answer.map_err(|error| format!("a token of ServiceAccount {account}: {error}"))?;
    Ok(answer.status.map(|status| status.token).unwrap_or_default())
}

/// A ConfigMap that the namespace's controller makes may be a moment later than the first pod.
pub async fn root_is_there(pod: &Pod, config: &NodeConfig, name: &str) -> Result<(), String> {
    const ROOT: &str = "kube-root-ca.crt";
    let api: Api<ConfigMap> = Api::namespaced(config.client.clone(), &pod.namespace);
    let told = |error: &dyn std::fmt::Display| format!("waiting for configmap {name}: {error}");
    if name != ROOT || api.get_metadata_opt(name).await.map_err(|error| told(&error))?.is_some() {
        return Ok(());
    }
    let exists = |map: Option<&ConfigMap>| map.is_some();
    await_condition(api, name, exists).await.map(drop).map_err(|error| told(&error))
}
