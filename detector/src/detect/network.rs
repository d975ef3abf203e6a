//! Which destinations are outside: everything but the local ranges, and what is said to be.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::config::Network;

/// An address as records carry it (IPv4 mapped into IPv6), as people write it.
pub fn address(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

/// Loopback, unspecified, link-local, RFC 1918, RFC 6598 and unique local ranges.
pub fn private_ranges() -> Vec<IpNet> {
    [
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "::/127",
        "fe80::/10",
        "fc00::/7",
    ]
    .iter()
    .map(|range| range.parse().expect("the ranges above are valid"))
    .collect()
}

impl Network {
    /// Whether a destination counts as the outside world.
    pub fn is_outside(&self, address: IpAddr) -> bool {
        let within = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&address));
        within(&self.treat_as_remote) || !within(&self.local_ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outside(network: &Network, address: &str) -> bool {
        network.is_outside(address.parse().expect("valid"))
    }

    #[test]
    fn private_and_loopback_addresses_are_inside() {
        let network = Network::default();
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "::1",
            "fe80::1",
            "fd00::1",
        ] {
            assert!(!outside(&network, inside), "{inside}");
        }
        for remote in ["45.9.148.1", "172.32.0.1", "2001:db8::1"] {
            assert!(outside(&network, remote), "{remote}");
        }
    }

    #[test]
    fn a_range_treated_as_remote_wins_over_a_local_one() {
        let network = Network {
            treat_as_remote: vec!["127.66.0.0/16".parse().expect("valid")],
            ..Network::default()
        };
        assert!(outside(&network, "127.66.0.1"));
        assert!(!outside(&network, "127.0.0.1"));
    }

    #[test]
    fn a_mapped_address_is_an_ipv4_address() {
        let mapped = "::ffff:10.0.0.1".parse::<Ipv6Addr>().expect("valid");
        assert_eq!(address(mapped.octets()).to_string(), "10.0.0.1");
    }
}
