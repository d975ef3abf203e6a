//! Who this host is: from files only, no network call.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use crate::event::{Cloud, HostInfo, Redactor};

/// Reads the host's identity. What is not there stays empty.
pub fn info() -> HostInfo {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy().into_owned();
    let machine_id = line("/etc/machine-id").or_else(|| line("/var/lib/dbus/machine-id"));
    // Without a machine id the name is the best that stays the same over a restart.
    let id = machine_id.unwrap_or_else(|| name.clone());
    HostInfo {
        agent_id: id.clone(),
        redactor: Redactor::default(),
        id,
        name,
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        kernel: Some(
            rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
        ),
        cpu_count: std::thread::available_parallelism()
            .ok()
            .and_then(|n| u32::try_from(n.get()).ok())
            .unwrap_or(1),
        cloud: cloud(
            line("/sys/class/dmi/id/sys_vendor").as_deref(),
            line("/sys/class/dmi/id/board_asset_tag").as_deref(),
            fs::read_to_string("/run/cloud-init/instance-data.json")
                .ok()
                .as_deref(),
        ),
    }
}

/// Addresses of this host's own interfaces, each as a range of one.
pub fn addresses() -> Vec<IpNet> {
    let v4 = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let v6 = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let mut addresses: Vec<IpNet> = local_v4(&v4)
        .map(IpAddr::V4)
        .chain(local_v6(&v6).map(IpAddr::V6))
        .map(IpNet::from)
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// Leaves of the routing trie that say `/32 host LOCAL`.
fn local_v4(fib_trie: &str) -> impl Iterator<Item = Ipv4Addr> {
    let mut leaf = None;
    fib_trie.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
            return None;
        }
        line.starts_with("/32 host LOCAL").then_some(leaf).flatten()
    })
}

/// First field of each line: 32 hexadecimal digits.
fn local_v6(if_inet6: &str) -> impl Iterator<Item = Ipv6Addr> {
    if_inet6.lines().filter_map(|line| {
        let digits = line.split_whitespace().next()?;
        Some(Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?))
    })
}

/// The cloud by its firmware's words, with what cloud-init wrote down.
fn cloud(vendor: Option<&str>, asset_tag: Option<&str>, cloud_init: Option<&str>) -> Option<Cloud> {
    let provider = match vendor? {
        "Amazon EC2" => "aws",
        "OpenStack Foundation" | "RDO" => "openstack",
        "Google" => "gcp",
        "Microsoft Corporation" => "azure",
        "DigitalOcean" => "digitalocean",
        "Hetzner" => "hetzner",
        _ => return None,
    };
    let data: Option<serde_json::Value> =
        cloud_init.and_then(|text| serde_json::from_str(text).ok());
    let v1 = |key: &str| Some(data.as_ref()?["v1"][key].as_str()?.to_owned());
    Some(Cloud {
        provider: provider.to_owned(),
        instance: v1("instance_id")
            .or_else(|| {
                asset_tag
                    .filter(|tag| tag.starts_with("i-"))
                    .map(str::to_owned)
            })
            .map(|id| crate::event::CloudInstance { id }),
        region: v1("region"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_the_host_entries_of_the_routing_trie() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.1.0.0\n        /24 link UNICAST\n\
                    Local:\n     |-- 10.1.0.7\n        /32 host LOCAL\n     |-- 10.1.0.255\n        /32 link BROADCAST\n";
        assert_eq!(
            local_v4(trie).collect::<Vec<_>>(),
            [Ipv4Addr::new(10, 1, 0, 7)]
        );
        let inet6 = "00000000000000000000000000000001 01 80 10 80       lo\n";
        assert_eq!(local_v6(inet6).collect::<Vec<_>>(), [Ipv6Addr::LOCALHOST]);
    }

    #[test]
    fn a_machine_of_no_known_cloud_claims_none() {
        assert_eq!(cloud(Some("QEMU"), None, None), None);
        assert_eq!(cloud(None, Some("i-0"), None), None);
    }

    #[test]
    fn an_instance_is_named_by_firmware_and_cloud_init() {
        let data = r#"{"v1": {"region": "eu-central-1"}}"#;
        let cloud = cloud(Some("Amazon EC2"), Some("i-0abc"), Some(data)).expect("a known vendor");
        assert_eq!(
            (
                cloud.provider.as_str(),
                cloud.instance.map(|i| i.id).as_deref(),
                cloud.region.as_deref()
            ),
            ("aws", Some("i-0abc"), Some("eu-central-1"))
        );
    }
}
