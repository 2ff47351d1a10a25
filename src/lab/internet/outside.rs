//! The tables that DNS and sites share, and what follows from them for the network: which addresses refuse, which are
//! silent, which are the outside's among those of Services.

use super::names::{Found, Names};
use super::site::{Availability, Site, SiteTable};
use crate::lab::capture::Prefix;
use crate::lab::fabric::{Fabric, OWN_SUBNETS, OutsideRules};
use crate::lab::links::all_but;
use crate::lab::obstacle::Obstacle;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What DNS and sites share.
#[derive(Default)]
pub(super) struct World {
    names: Mutex<Names>,
    sites: Mutex<SiteTable>,
}

impl World {
    pub fn names<T>(&self, act: impl FnOnce(&mut Names) -> T) -> T {
        // Tables are whole whenever their lock is free, even after a panic elsewhere.
        act(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn sites<T>(&self, act: impl FnOnce(&mut SiteTable) -> T) -> T {
        act(&mut self.sites.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What DNS says about a name, given without the last dot.
    pub fn look_up(&self, name: &str) -> Found {
        let service = self.names(|names| names.service(name));
        service.unwrap_or_else(|| self.look_up_outside(name))
    }

    /// What DNS says to who is outside: of the cluster's names nothing.
    pub fn look_up_outside(&self, name: &str) -> Found {
        let found = self.told(name);
        if found.is_empty() { Found::NoSuchName } else { Found::Addresses(found) }
    }

    pub fn outside_address(&self, host: &str) -> Option<Ipv4Addr> {
        self.told(host).first().copied()
    }

    /// The addresses that DNS tells for an outside name.
    fn told(&self, name: &str) -> Vec<Ipv4Addr> {
        let site = self.sites(|sites| sites.of_host(&name.to_ascii_lowercase()));
        let told = match &site {
            Some(site) if !site.dns => return Vec::new(),
            Some(site) => site.told_addresses(),
            None => Vec::new(),
        };
        if !told.is_empty() {
            return told;
        }
        let named = site.is_some_and(|site| !site.is_everywhere());
        self.names(|names| names.outside(name, named)).into_iter().collect()
    }

    /// The site that a request or connection meets, the version of the table it is from, and the name that DNS has for
    /// the address.
    pub fn met(&self, address: Ipv4Addr, host: Option<&str>) -> (Option<Arc<Site>>, u64, Option<String>) {
        let here = self.names(|names| names.at(address).map(String::from));
        self.sites(|sites| (sites.met(address, host, here.as_deref()), sites.version(), here))
    }

    fn rules(&self) -> OutsideRules {
        let sites = self.sites(|sites| sites.all().to_vec());
        let known: Vec<(String, Ipv4Addr)> =
            self.names(|names| names.known().map(|(name, at)| (name.to_string(), at)).collect());
        let mut rules = OutsideRules::default();
        for site in &sites {
            let in_services = |(address, _): &&Prefix| address.octets()[0] == 10 && address.octets()[1] & 0xf0 == 96;
            rules.here.extend(site.addresses.iter().filter(in_services));
            let (everywhere, up) = (site.is_everywhere(), site.availability == Availability::Up);
            if up && (everywhere || site.ports.is_none()) {
                continue;
            }
            let of_site = |name: &str| {
                let of_host = self.sites(|table| table.of_host(name));
                of_host.is_some_and(|found| Arc::ptr_eq(&found, site))
            };
            let places: Vec<Prefix> = match everywhere {
                true => all_but(&OWN_SUBNETS),
                false if !site.addresses.is_empty() => site.addresses.clone(),
                false => known.iter().filter(|(name, _)| of_site(name)).map(|(_, at)| (*at, 32)).collect(),
            };
            match site.availability {
                Availability::Down => rules.silent.extend(places),
                Availability::Refused => rules.refused.extend(places.into_iter().map(|place| (place, Vec::new()))),
                Availability::Up => {
                    let open: Vec<u16> = site.open_ports().collect();
                    rules.refused.extend(places.into_iter().map(|place| (place, open.clone())));
                }
            }
        }
        rules
    }
}

/// The tables, and the network that they are put into force in.
pub(super) struct Outside {
    pub fabric: Fabric,
    pub world: Arc<World>,
    /// How many names were known when rules were last put into force. Held meanwhile, so that the last ones stay.
    in_force: tokio::sync::Mutex<OutsideRules>,
    known: AtomicUsize,
}

impl Outside {
    pub fn new(fabric: Fabric) -> Outside {
        let known = AtomicUsize::new(Names::default().known().count());
        Outside { fabric, world: Arc::default(), in_force: Default::default(), known }
    }

    pub async fn put_into_force(&self) -> Result<(), Obstacle> {
        let mut in_force = self.in_force.lock().await;
        self.known.store(self.world.names(|names| names.known().count()), Ordering::Relaxed);
        let rules = self.world.rules();
        if *in_force != rules {
            self.fabric.set_outside(rules.clone()).await?;
            *in_force = rules;
        }
        Ok(())
    }

    /// A name that got its address with this question is refused, if its site is, before anybody knows where it is.
    pub async fn name_was_told(&self) {
        let known = self.world.names(|names| names.known().count());
        if known != self.known.load(Ordering::Relaxed) {
            // Rules that the kernel refuses were refused, and told, when the site was set.
            let _ = self.put_into_force().await;
        }
    }
}
