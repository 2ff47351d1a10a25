//! A pod's volumes: folders of the pod on the host, filled, and shown in the pod where its containers mount them.
//! Containers of a pod share their files here, so a path means the same in all of them.

use super::environment::{config_map, pod_field, secret};
use super::image::{self, Program};
use super::pod::Pod;
use super::{NodeConfig, account_token};
use crate::lab::pod_files::PodFile;
use k8s_openapi::api::core::v1::{KeyToPath, Volume, VolumeProjection};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// Fills the volumes that the pod's own containers mount. The proxy has no use for files: its certificates come over SDS.
///
/// # Errors
/// What is missing or not supported, in the kubelet's words where it has some.
pub async fn files(pod: &Pod, config: &NodeConfig) -> Result<Vec<PodFile>, String> {
    let Some(spec) = &pod.object.spec else { return Ok(Vec::new()) };
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let own = containers.filter(|container| {
        let program = image::program(container.image.as_deref().unwrap_or_default(), &container.name);
        !matches!(program, Ok(Program::Proxy | Program::Pilot | Program::Done))
    });
    let mounts: Vec<_> = own.flat_map(|container| container.volume_mounts.iter().flatten()).collect();
    let mut filled = BTreeMap::new();
    let mut shown = BTreeSet::new();
    let mut files = Vec::new();
    for mount in mounts {
        let place = Path::new(&mount.mount_path);
        if !place.is_absolute() || place.components().any(|part| matches!(part, Component::ParentDir)) {
            return Err(format!("volume mount {}: the path must be absolute, without ..", mount.mount_path));
        }
        if !shown.insert(place.to_path_buf()) {
            continue;
        }
        let folder = match filled.get(&mount.name) {
            Some(folder) => PathBuf::clone(folder),
            None => {
                let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
                let volume = volume.ok_or_else(|| format!("volume \"{}\" is not in the pod's volumes", mount.name))?;
                let folder = pod.folder(config).join("volumes").join(&mount.name);
                fill(volume, &folder, pod, config).await?;
                filled.insert(mount.name.clone(), folder.clone());
                folder
            }
        };
        let source = match &mount.sub_path {
            Some(path) => folder.join(inside(path)?),
            None => folder,
        };
        files.push(PodFile::host(place, source));
    }
    Ok(files)
}

async fn fill(volume: &Volume, folder: &Path, pod: &Pod, config: &NodeConfig) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let found = |error: String| format!("MountVolume.SetUp failed for volume \"{}\" : {error}", volume.name);
    if volume.empty_dir.is_some() {
        return Ok(());
    }
    if let Some(source) = &volume.config_map {
        let map = config_map(pod, config, &source.name, source.optional).await.map_err(found)?;
        return write(folder, map.unwrap_or_default(), source.items.as_deref()).map_err(found);
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let map = secret(pod, config, name, source.optional).await.map_err(found)?;
        return write(folder, map.unwrap_or_default(), source.items.as_deref()).map_err(found);
    }
    if let Some(source) = &volume.downward_api {
        for item in source.items.iter().flatten() {
            let field = item.field_ref.as_ref().map(|field| pod_field(&field.field_path, pod));
            let value = field.unwrap_or_else(|| Err("only fieldRef is known here".into())).map_err(found)?;
            write(folder, BTreeMap::from([(item.path.clone(), value)]), None).map_err(found)?;
        }
        return Ok(());
    }
    if let Some(source) = &volume.projected {
        for part in source.sources.iter().flatten() {
            project(part, folder, pod, config).await.map_err(found)?;
        }
        return Ok(());
    }
    Err(found("the lab has emptyDir, configMap, secret, downwardAPI and projected volumes only".into()))
}

async fn project(part: &VolumeProjection, folder: &Path, pod: &Pod, config: &NodeConfig) -> Result<(), String> {
    if let Some(wanted) = &part.service_account_token {
        let token = account_token::of(pod, config, wanted).await?;
        write(folder, BTreeMap::from([(wanted.path.clone(), token)]), None)?;
    }
    if let Some(source) = &part.config_map {
        account_token::root_is_there(pod, config, &source.name).await?;
        let map = config_map(pod, config, &source.name, source.optional).await?;
        write(folder, map.unwrap_or_default(), source.items.as_deref())?;
    }
    if let Some(source) = &part.secret {
        let map = secret(pod, config, &source.name, source.optional).await?;
        write(folder, map.unwrap_or_default(), source.items.as_deref())?;
    }
    for item in part.downward_api.iter().flat_map(|source| source.items.iter().flatten()) {
        if let Some(field) = &item.field_ref {
            write(folder, BTreeMap::from([(item.path.clone(), pod_field(&field.field_path, pod)?)]), None)?;
        }
    }
    Ok(())
}

/// Each key as a file, or only the chosen ones at their paths.
fn write(folder: &Path, texts: BTreeMap<String, String>, items: Option<&[KeyToPath]>) -> Result<(), String> {
    let chosen: Vec<(String, String)> = match items {
        None => texts.into_iter().collect(),
        Some(items) => items
            .iter()
            .map(|item| match texts.get(&item.key) {
                Some(text) => Ok((item.path.clone(), text.clone())),
                None => Err(format!("references non-existent config key: {}", item.key)),
            })
            .collect::<Result<_, _>>()?,
    };
    for (path, text) in chosen {
        let place = folder.join(inside(&path)?);
        let made = place.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| crate::lab::folder::write_private(&place, &text))
            .map_err(|error| format!("cannot write {path}: {error}"))?;
    }
    Ok(())
}

/// A path that stays where it is put.
fn inside(path: &str) -> Result<&Path, String> {
    let relative = Path::new(path);
    let fits = !path.is_empty() && relative.components().all(|part| matches!(part, Component::Normal(_)));
    if fits { Ok(relative) } else { Err(format!("path {path:?} must be relative, without ..")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_volume_stays_in_it() {
        assert!(inside("a/b.yaml").is_ok());
        for path in ["../a", "/etc/passwd", "a/../../b", ""] {
            assert!(inside(path).is_err(), "{path}");
        }
    }
}
