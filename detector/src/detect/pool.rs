//! Names under which mining pools are reached. They add weight and never page alone: pools move, and
//! sit behind names of their own.
//!
//! From the public rule sets of Falco, Sigma (`proc_creation_lnx_crypto_mining`) and Datadog's agent.

/// Domains; a subdomain counts as well.
const DOMAINS: [&[u8]; 23] = [
    b"2miners.com",
    b"c3pool.com",
    b"c3pool.org",
    b"crypto-pool.fr",
    b"dwarfpool.com",
    b"ethermine.org",
    b"f2pool.com",
    b"hashcity.org",
    b"hashvault.pro",
    b"minergate.com",
    b"minexmr.com",
    b"monerohash.com",
    b"moneroocean.stream",
    b"nanopool.org",
    b"nicehash.com",
    b"poolin.com",
    b"sparkpool.com",
    b"supportxmr.com",
    b"unmineable.com",
    b"viabtc.com",
    b"xmrig.com",
    b"xmrpool.eu",
    b"zpool.ca",
];

/// Whether a host name is a pool's.
pub fn is_pool(name: &[u8]) -> bool {
    let name = name.strip_suffix(b".").unwrap_or(name).to_ascii_lowercase();
    DOMAINS.iter().any(|domain| {
        name.strip_suffix(*domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with(b"."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdomains_count_and_lookalikes_do_not() {
        assert!(is_pool(b"pool.SupportXMR.com"));
        assert!(is_pool(b"eth.2miners.com"));
        assert!(is_pool(b"f2pool.com."));
        assert!(!is_pool(b"notf2pool.com"));
        assert!(!is_pool(b"f2pool.com.example"));
        assert!(!is_pool(b""));
    }
}
