//! The lab's internet: DNS for cluster and outside names, and a site for every outside name.
//!
//! It lives in the fabric's network, where every address that is no pod's and no Service's ends. Nothing of it reaches
//! the host or the real internet.

mod certificates;
mod dns;
mod httpbin;
mod names;
mod prefixed;
mod site;
mod sites;

pub use names::{ServiceName, minted_address};
pub use site::{CertificateFault, Site, TlsVersions};

use super::authority::Authority;
use super::fabric::{DNS_ADDRESS, Fabric};
use super::obstacle::Obstacle;
use names::Names;
use site::SiteTable;
use sites::SiteServer;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

/// The lab's internet, as long as it is not dropped.
pub struct Internet {
    fabric: Fabric,
    world: Arc<World>,
    server: SiteServer,
    state: Mutex<Serving>,
}

struct Serving {
    /// DNS and the listeners; they end with the internet.
    tasks: JoinSet<()>,
    ports: BTreeSet<u16>,
}

/// What DNS and sites share.
#[derive(Default)]
struct World {
    names: Mutex<Names>,
    sites: Mutex<SiteTable>,
}

impl World {
    fn names<T>(&self, act: impl FnOnce(&mut Names) -> T) -> T {
        // Tables are whole whenever their lock is free, even after a panic elsewhere.
        act(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn sites<T>(&self, act: impl FnOnce(&mut SiteTable) -> T) -> T {
        act(&mut self.sites.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Internet {
    /// Serves DNS at [`DNS_ADDRESS`], HTTP on port 80 and HTTPS on port 443 of every outside address.
    /// `authority` is the outside authority, which pods must trust to find the sites' certificates valid.
    pub async fn start(fabric: &Fabric, authority: Arc<Authority>) -> Result<Internet, Obstacle> {
        let world = Arc::new(World::default());
        let mut tasks = JoinSet::new();
        let address = SocketAddrV4::new(DNS_ADDRESS, 53);
        tasks.spawn(dns::serve_udp(fabric.bind_udp(address).await?, world.clone()));
        tasks.spawn(dns::serve_tcp(fabric.listen_tcp(address).await?, world.clone()));
        let server = SiteServer::new(world.clone(), authority);
        let state = Mutex::new(Serving { tasks, ports: BTreeSet::new() });
        let internet = Internet { fabric: fabric.clone(), world, server, state };
        internet.open_port(80).await?;
        internet.open_port(443).await?;
        Ok(internet)
    }

    /// Names and addresses of Services, by fully qualified name without the last dot, in place of those before.
    pub fn set_services(&self, services: BTreeMap<String, ServiceName>) {
        self.world.names(|names| names.set_services(services));
    }

    /// How a site behaves from now on; `None` for as every site does. Connections already made go on as they are.
    pub async fn set_site(&self, host: &str, site: Option<Site>) -> Result<(), Obstacle> {
        let host = host.to_ascii_lowercase();
        let unresolved = site.as_ref().is_some_and(|site| site.unresolved);
        self.world.names(|names| names.hide(&host, unresolved));
        self.world.sites(|sites| sites.set(&host, site));
        let down = self.world.sites(|sites| sites.down());
        let addresses = down.iter().filter_map(|host| self.outside_address(host)).collect();
        self.fabric.refuse(addresses).await
    }

    /// Serves a further port on every outside address. 8000 and 8080 speak plain HTTP, 8443 and 9443 HTTPS; every other
    /// port speaks what the client begins with, echoes what is neither TLS nor HTTP, and is a proxy (CONNECT).
    pub async fn open_port(&self, port: u16) -> Result<(), Obstacle> {
        let open = |state: &mut Serving| state.ports.insert(port);
        if !open(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let listener = self.fabric.listen_tcp(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)).await?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tasks.spawn(self.server.clone().serve(listener));
        Ok(())
    }

    /// The address an outside name has, as DNS tells it; `None` if it has none.
    pub fn outside_address(&self, host: &str) -> Option<Ipv4Addr> {
        self.world.names(|names| names.outside(host))
    }
}
