//! Hosts of a test's own: network namespaces on a bridge, where they are to be had. That takes root and `ip`.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};

/// Hosts that reach each other and the test by a bridge, until they are parted or unplugged.
#[derive(Debug)]
pub(crate) struct Network {
    /// What the names of its parts begin with.
    name: String,
    /// The third number of its addresses.
    number: u8,
    hosts: usize,
}

impl Network {
    /// So many hosts; nothing where there are no namespaces to be had.
    pub(crate) fn of(hosts: usize) -> Option<Self> {
        let pid = std::process::id();
        let network = Self {
            name: format!("sd{pid}"),
            number: u8::try_from(pid % 250).expect("it fits"),
            hosts,
        };
        // What was made before something failed goes with it.
        network.make().then_some(network)
    }

    fn make(&self) -> bool {
        let bridge = &self.name;
        let gateway = format!("{}/24", self.gateway());
        let is_there = ip(&["link", "add", bridge, "type", "bridge"])
            && ip(&["addr", "add", &gateway, "dev", bridge])
            && ip(&["link", "set", bridge, "up"]);
        is_there && (0..self.hosts).all(|at| self.plug_in(at))
    }

    fn plug_in(&self, at: usize) -> bool {
        let (host, port) = (self.host(at), self.port(at));
        let address = format!("{}/24", self.address(at));
        ip(&["netns", "add", &host])
            && ip(&[
                "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &host,
            ])
            && ip(&["link", "set", &port, "master", &self.name, "up"])
            && ip(&["-n", &host, "addr", "add", &address, "dev", "eth0"])
            && ip(&["-n", &host, "link", "set", "eth0", "up"])
            && ip(&["-n", &host, "link", "set", "lo", "up"])
    }

    /// Where the test is reached from every host.
    pub(crate) fn gateway(&self) -> IpAddr {
        Ipv4Addr::new(10, 213, self.number, 1).into()
    }

    /// Where a host is reached.
    pub(crate) fn address(&self, at: usize) -> IpAddr {
        let last = u8::try_from(at + 10).expect("few hosts");
        Ipv4Addr::new(10, 213, self.number, last).into()
    }

    /// What runs a command on a host.
    pub(crate) fn runner(&self, at: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.host(at)]
            .map(str::to_owned)
            .to_vec()
    }

    /// Lets no host reach another one, or lets them all; the test reaches them either way.
    pub(crate) fn part(&self, apart: bool) {
        let state = if apart { "on" } else { "off" };
        for at in 0..self.hosts {
            let port = self.port(at);
            assert!(
                ip(&["link", "set", &port, "type", "bridge_slave", "isolated", state]),
                "a port of the bridge can be set apart"
            );
        }
    }

    fn host(&self, at: usize) -> String {
        format!("{}h{at}", self.name)
    }

    fn port(&self, at: usize) -> String {
        format!("{}p{at}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for at in 0..self.hosts {
            // Some may never have been there.
            ip(&["link", "del", &self.port(at)]);
            ip(&["netns", "del", &self.host(at)]);
        }
        ip(&["link", "del", &self.name]);
    }
}

/// Runs `ip`; whether it did what it was told.
fn ip(arguments: &[&str]) -> bool {
    let ran = Command::new("ip").args(arguments).stderr(Stdio::null()).status();
    ran.is_ok_and(|status| status.success())
}
