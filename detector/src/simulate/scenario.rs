//! The hosts that false alarms and delays are measured on.

use super::{Host, Load, Program};

/// A named host. Benign ones are a small server each; hostile ones are the web shop with a culprit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scenario {
    /// A web shop on two CPUs: nginx, php-fpm, mariadb, cron, a nightly backup.
    WebShop,
    /// A database under load all day.
    Database,
    /// A host on which people build and convert images, in bursts with heavy tails.
    Workbench,
    /// Monitoring, proxies, an unowned server under constant load.
    Appliance,
    /// A miner that takes every CPU.
    FullSpeed,
    /// A miner of one thread.
    OneThread,
    /// A miner that rises to full speed within two minutes.
    Ramping,
    /// A miner at half of one CPU.
    HalfSpeed,
    /// A miner at a fifth of one CPU.
    FifthSpeed,
}

/// When hostile loads begin, s after the first pass: the shop is an hour old.
const ONSET_S: u64 = 3_600;
/// And since boot.
const FROM_S: u64 = super::FIRST_S + ONSET_S + 1;

impl Scenario {
    /// Hosts on which nothing is wrong.
    pub const BENIGN: &'static [Scenario] = &[
        Scenario::WebShop,
        Scenario::Database,
        Scenario::Workbench,
        Scenario::Appliance,
    ];
    /// Hosts on which something begins after an hour.
    pub const HOSTILE: &'static [Scenario] = &[
        Scenario::FullSpeed,
        Scenario::OneThread,
        Scenario::Ramping,
        Scenario::HalfSpeed,
        Scenario::FifthSpeed,
    ];

    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::WebShop => "web_shop",
            Scenario::Database => "database",
            Scenario::Workbench => "workbench",
            Scenario::Appliance => "appliance",
            Scenario::FullSpeed => "full_speed",
            Scenario::OneThread => "one_thread",
            Scenario::Ramping => "ramping",
            Scenario::HalfSpeed => "half_speed",
            Scenario::FifthSpeed => "fifth_speed",
        }
    }

    /// The host.
    pub fn host(self, seed: u64) -> Host {
        let miner = |cores: f64, noise: f64| Load::Steady {
            from_s: FROM_S,
            cores,
            noise,
        };
        match self {
            Scenario::WebShop => shop(Load::None, seed),
            Scenario::Database => database(seed),
            Scenario::Workbench => workbench(seed),
            Scenario::Appliance => appliance(seed),
            Scenario::FullSpeed => hostile(miner(2.0, 0.0), seed),
            Scenario::OneThread => hostile(miner(1.0, 0.0), seed),
            Scenario::Ramping => hostile(
                Load::Ramp {
                    from_s: FROM_S,
                    rise_s: 120.0,
                    cores: 2.0,
                },
                seed,
            ),
            Scenario::HalfSpeed => hostile(miner(0.5, 0.03), seed),
            Scenario::FifthSpeed => hostile(miner(0.2, 0.03), seed),
        }
    }
}

fn packaged(path: &'static str, uid: u32, load: Load) -> Program {
    Program {
        path,
        packaged: true,
        parent: None,
        uid,
        load,
        switches_per_cpu_s: 1_500.0,
    }
}

/// Seasonal, with the memory of some ten seconds.
fn season(mean: f64, swing: f64, sigma: f64) -> Load {
    Load::Seasonal {
        mean,
        swing,
        peak_hour: 19.0,
        sigma,
        memory: 0.9,
    }
}

fn bursts(per_day: f64, shortest_s: f64, longest_s: f64, cores: f64) -> Load {
    Load::Bursts {
        per_day,
        shortest_s,
        alpha: 1.5,
        longest_s,
        cores,
    }
}

fn batch(hour: f64, length_s: f64, cores: f64) -> Load {
    Load::Batch {
        hour,
        length_s,
        cores,
    }
}

/// The connections of a shop with visitors.
const VISITORS: Load = Load::Seasonal {
    mean: 12.0,
    swing: 0.8,
    peak_hour: 19.0,
    sigma: 0.3,
    memory: 0.5,
};

fn shop(miner: Load, seed: u64) -> Host {
    let programs = vec![
        packaged("/usr/sbin/nginx", 33, season(0.03, 0.6, 0.4)),
        packaged("/usr/sbin/php-fpm8.2", 33, season(0.2, 0.7, 0.5)),
        packaged("/usr/sbin/mariadbd", 101, season(0.1, 0.6, 0.4)),
        packaged(
            "/usr/bin/php8.2",
            33,
            Load::Periodic {
                every_s: 300,
                length_s: (1.0, 5.0),
                cores: 0.9,
            },
        ),
        packaged("/usr/bin/xz", 0, batch(2.5, 900.0, 1.8)),
        packaged("/usr/bin/updatedb", 0, batch(5.0, 60.0, 0.9)),
        packaged("/usr/bin/convert", 33, bursts(40.0, 1.5, 45.0, 0.95)),
        packaged("/usr/bin/apt-get", 0, batch(6.2, 90.0, 0.9)),
        Program {
            packaged: false,
            parent: Some(1),
            switches_per_cpu_s: 50.0,
            ..packaged("/var/www/shop/wp-content/uploads/.x/kworkerd", 33, miner)
        },
    ];
    Host::new(2, programs, VISITORS, seed)
}

fn hostile(miner: Load, seed: u64) -> Host {
    shop(miner, seed).hostile(8, ONSET_S)
}

fn database(seed: u64) -> Host {
    let programs = vec![
        packaged("/usr/sbin/mariadbd", 101, season(1.6, 0.4, 0.2)),
        packaged("/usr/bin/mariadb-backup", 0, batch(1.0, 2_400.0, 1.7)),
        packaged("/usr/sbin/rsyslogd", 0, season(0.02, 0.3, 0.3)),
        packaged(
            "/usr/bin/gzip",
            0,
            Load::Periodic {
                every_s: 3_600,
                length_s: (5.0, 20.0),
                cores: 1.0,
            },
        ),
    ];
    Host::new(4, programs, Load::None, seed)
}

fn workbench(seed: u64) -> Host {
    let programs = vec![
        packaged("/usr/bin/cc1plus", 1_000, bursts(60.0, 3.0, 240.0, 3.9)),
        packaged("/usr/bin/convert", 33, bursts(120.0, 2.0, 60.0, 2.0)),
        packaged("/usr/bin/ffmpeg", 1_000, bursts(4.0, 60.0, 1_800.0, 3.5)),
        packaged("/usr/bin/python3.11", 1_000, bursts(200.0, 1.0, 120.0, 1.0)),
        packaged("/usr/bin/rsync", 0, batch(4.0, 600.0, 1.5)),
    ];
    Host::new(4, programs, Load::None, seed)
}

fn appliance(seed: u64) -> Host {
    let programs = vec![
        packaged(
            "/usr/bin/prometheus-node-exporter",
            102,
            season(0.02, 0.0, 0.3),
        ),
        packaged("/usr/sbin/haproxy", 103, season(0.5, 0.5, 0.15)),
        Program {
            packaged: false,
            switches_per_cpu_s: 2_000.0,
            ..packaged("/opt/gateway/bin/gateway", 104, season(0.6, 0.2, 0.1))
        },
        packaged("/usr/bin/redis-server", 105, season(0.2, 0.1, 0.05)),
    ];
    Host::new(2, programs, VISITORS, seed)
}
