//! One signal: what was seen, about which process, and how much it says.

use std::{net::IpAddr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::subject::Subject;
use crate::{
    detect::{excuse::Excuse, indicator, path::PathClass, stratum::Dialect},
    input::{Loss, PreloadFrom, ProcessKey, Throttled},
};

/// How loud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Kept and queryable; wakes nobody.
    Info,
    /// Somebody should look during the day.
    Warning,
    /// Somebody should get up.
    Critical,
}

impl Severity {
    /// All, the quietest first.
    pub const ALL: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

    /// The severity of that stable name.
    pub fn from_name(name: &str) -> Option<Severity> {
        Severity::ALL
            .into_iter()
            .find(|severity| severity.name() == name)
    }

    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// What kind of statement a finding makes. Two classes that count and agree are two independent signals;
/// two findings of one class often rest on one fact (a dropped file is unowned *and* in an odd place).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The machine is harmed.
    Impact,
    /// Something runs that should not be there, or hides.
    Execution,
    /// It talks to somebody.
    CommandAndControl,
    /// True of the innocent as well: explains or adds weight, and never counts towards a page.
    Support,
    /// About the detector itself.
    Agent,
}

impl Class {
    /// Name for people; `None`: it does not count towards a page.
    pub fn counts(self) -> Option<&'static str> {
        match self {
            Class::Impact => Some("the host is harmed"),
            Class::Execution => Some("what runs should not be there"),
            Class::CommandAndControl => Some("it talks to the outside"),
            Class::Support | Class::Agent => None,
        }
    }
}

macro_rules! finding_types {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $class:ident, $weight:literal, [$($technique:literal),*];)+) => {
        /// Finding types. Names are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FindingType { $($(#[$doc])* $variant,)+ }

        impl FindingType {
            /// Every type.
            pub const ALL: &'static [FindingType] = &[$(FindingType::$variant,)+];
            /// Stable name on the wire.
            pub fn name(self) -> &'static str { match self { $(FindingType::$variant => $name,)+ } }
            /// Its class.
            pub fn class(self) -> Class { match self { $(FindingType::$variant => Class::$class,)+ } }
            /// How much it says at `warning` (0–1): see [`super::score`].
            pub fn weight(self) -> f64 { match self { $(FindingType::$variant => $weight,)+ } }
            /// ATT&CK techniques it points to.
            pub fn techniques(self) -> &'static [&'static str] {
                match self { $(FindingType::$variant => &[$($technique),*],)+ }
            }
        }
    };
}

finding_types! {
    /// One culprit keeps the CPUs busy. A fact, but traffic and backups do it too.
    CpuSaturation = "impact.cpu_saturation", Impact, 0.45, ["T1496.001"];
    /// A load that does not vary, below every threshold. Monitoring and databases do it, too: they are info.
    ComputeHijacking = "impact.compute_hijacking", Impact, 0.50, ["T1496.001"];
    /// A web service saturates the CPUs while as many more connect to it.
    TrafficSaturation = "impact.traffic_saturation", Support, 0.05, [];
    /// The hypervisor gives the CPUs to others: nobody's fault here.
    CpuSteal = "impact.cpu_steal", Support, 0.05, [];
    /// Somebody makes many processes that live for a moment. Builds do it, too: those of a login are info.
    ProcessStorm = "impact.process_storm", Impact, 0.35, ["T1499"];
    /// An executable no package knows. Hand-made deployments do it too.
    NewBinary = "execution.new_binary", Execution, 0.55, ["T1105"];
    /// A script in a place where programs do not belong.
    NewScript = "execution.new_script", Execution, 0.45, ["T1059"];
    /// A program that never was a file. Hardly anybody does it who has nothing to hide.
    Fileless = "execution.fileless", Execution, 0.80, ["T1620"];
    /// A program deleted before it was executed.
    DeletedExecutable = "execution.deleted_executable", Execution, 0.70, ["T1070.004"];
    /// A packaged program or script with another content than shipped.
    ModifiedPackageFile = "execution.modified_package_file", Execution, 0.65, ["T1554"];
    /// A program in a folder that services or everybody can write to.
    FromWritableDir = "execution.from_writable_dir", Execution, 0.45, ["T1036.005"];
    /// A web service made a shell. Mail and image tools do it all day.
    WebServerSpawnedShell = "execution.web_server_spawned_shell", Execution, 0.50, ["T1505.003", "T1059.004"];
    /// A name or argument that miners are known by. Names are anybody's to choose: packaged programs are info.
    KnownIndicator = "execution.known_indicator", Execution, 0.60, ["T1496.001"];
    /// A process that calls itself something it is not.
    MasqueradedName = "defense_evasion.masqueraded_name", Execution, 0.65, ["T1036.004", "T1036.005"];
    /// An object no package knows is loaded before all others.
    PreloadedLibrary = "defense_evasion.preloaded_library", Execution, 0.55, ["T1574.006"];
    /// A program is back after its death. Services that crash do it, too.
    Respawn = "persistence.respawn", Support, 0.50, ["T1543", "T1053.003"];
    /// It speaks to a mining pool. Nobody does it by accident.
    MiningProtocol = "c2.mining_protocol", CommandAndControl, 0.85, ["T1496.001", "T1071"];
    /// It connects to very many, or fails very often. Crawlers and scanners do it too.
    ConnectionStorm = "c2.connection_storm", CommandAndControl, 0.60, ["T1046", "T1110"];
    /// A suspect program talks to the outside world.
    NewDestination = "c2.new_destination", CommandAndControl, 0.50, ["T1071"];
    /// Records were lost: something may be missing from the picture.
    EventLoss = "agent.event_loss", Agent, 0.0, [];
}

impl Serialize for FindingType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for FindingType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        FindingType::from_name(&name)
            .ok_or_else(|| D::Error::custom(format!("no finding type {name:?}")))
    }
}

impl FindingType {
    /// The type with that name.
    pub fn from_name(name: &str) -> Option<FindingType> {
        FindingType::ALL
            .iter()
            .copied()
            .find(|kind| kind.name() == name)
    }

    /// Whether it tells of a load that goes on and ends, rather than of somebody who is suspect while he lives.
    pub fn is_load(self) -> bool {
        matches!(
            self,
            FindingType::CpuSaturation
                | FindingType::TrafficSaturation
                | FindingType::CpuSteal
                | FindingType::ProcessStorm
        )
    }

    /// Whether a finding at `warning` makes its process a suspect. Load that comes and goes and what merely
    /// supports do not.
    pub fn accuses(self) -> bool {
        !self.is_load() && self.class().counts().is_some()
    }
}

/// ATT&CK's names of the techniques above.
pub fn technique_name(id: &str) -> Option<&'static str> {
    Some(match id {
        "T1496.001" => "Resource Hijacking: Compute Hijacking",
        "T1499" => "Endpoint Denial of Service",
        "T1105" => "Ingress Tool Transfer",
        "T1059" => "Command and Scripting Interpreter",
        "T1554" => "Compromise Host Software Binary",
        "T1036.004" => "Masquerading: Masquerade Task or Service",
        "T1574.006" => "Hijack Execution Flow: Dynamic Linker Hijacking",
        "T1543" => "Create or Modify System Process",
        "T1053.003" => "Scheduled Task/Job: Cron",
        "T1059.004" => "Command and Scripting Interpreter: Unix Shell",
        "T1620" => "Reflective Code Loading",
        "T1070.004" => "Indicator Removal: File Deletion",
        "T1036.005" => "Masquerading: Match Legitimate Resource Name or Location",
        "T1505.003" => "Server Software Component: Web Shell",
        "T1046" => "Network Service Discovery",
        "T1110" => "Brute Force",
        "T1071" => "Application Layer Protocol",
        _ => return None,
    })
}

/// Whom a saturation is blamed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Culprit {
    /// One process.
    Process,
    /// Several processes of one executable in one lineage group.
    Executable,
    /// A lineage group.
    Group,
    /// A cgroup.
    Cgroup,
}

impl Culprit {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Culprit::Process => "process",
            Culprit::Executable => "executable",
            Culprit::Group => "lineage_group",
            Culprit::Cgroup => "cgroup",
        }
    }
}

/// What a finding rests on. Fields are documented in the rule's file.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// `impact.cpu_saturation`, `impact.traffic_saturation`.
    Cpu(CpuEvidence),
    /// `impact.compute_hijacking`.
    Steady(SteadyEvidence),
    /// `impact.cpu_steal`.
    Steal(StealEvidence),
    /// `impact.process_storm`.
    Storm(StormEvidence),
    /// The `execution.*` findings about a file.
    File(FileEvidence),
    /// `execution.web_server_spawned_shell`.
    Shell(ShellEvidence),
    /// `execution.known_indicator`.
    Indicators(Vec<indicator::Match>),
    /// `defense_evasion.masqueraded_name`.
    Masquerade(MasqueradeEvidence),
    /// `defense_evasion.preloaded_library`.
    Preload(PreloadEvidence),
    /// `persistence.respawn`.
    Respawn(RespawnEvidence),
    /// `c2.mining_protocol`.
    Mining(MiningEvidence),
    /// `c2.connection_storm`.
    ConnectionStorm(ConnectionStormEvidence),
    /// `c2.new_destination`.
    Destination(DestinationEvidence),
    /// `agent.event_loss`.
    Loss(LossEvidence),
}

/// See `detect/rule/event_loss.rs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LossEvidence {
    /// How many of each class.
    pub losses: Vec<Loss>,
    /// Which cgroups flooded a ring, and what was kept out of it.
    pub throttled: Vec<Throttled>,
}

/// See `detect/rule/cpu_saturation.rs`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuEvidence {
    /// Whom it is blamed on.
    pub culprit: Culprit,
    /// CPUs used, mean over the window.
    pub cores: f64,
    /// Share of all CPUs (0–1).
    pub host_share: f64,
    /// Seconds of the window.
    pub window_s: f64,
    /// Since when, ns since boot.
    pub since_ns: u64,
    /// Share of all CPUs the hypervisor gave to others meanwhile (0–1).
    pub steal_share: Option<f64>,
    /// Inbound connections a second, of a web service.
    pub accepts_per_s: Option<f64>,
    /// The same over the hours before.
    pub usual_accepts_per_s: Option<f64>,
}

/// See `detect/rule/compute_hijacking.rs`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SteadyEvidence {
    /// CPUs used, mean.
    pub cores: f64,
    /// Largest part of the mean by which most seconds differ from it (0–1).
    pub tolerance: f64,
    /// Processes of the program in its group.
    pub processes: u32,
    /// Voluntary context switches for a second of CPU time.
    pub switches_per_cpu_s: f64,
    /// It lets everybody else go first: nice 19 or `SCHED_IDLE`.
    pub low_priority: bool,
    /// Since when, ns since boot.
    pub since_ns: u64,
    /// How long, s.
    pub duration_s: f64,
}

/// See `detect/rule/cpu_steal.rs`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StealEvidence {
    /// Share of all CPUs that was given to others (0–1), mean over the window.
    pub share: f64,
    /// Since when, ns since boot.
    pub since_ns: u64,
}

/// See `detect/rule/process_storm.rs`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StormEvidence {
    /// Processes made a second, mean over the window.
    pub forks_per_s: f64,
    /// Programs executed a second.
    pub execs_per_s: f64,
    /// CPUs its group used, mean over the window.
    pub cores: f64,
    /// Since when, ns since boot.
    pub since_ns: u64,
}

/// See `detect/rule/new_binary.rs`.
#[derive(Clone, Debug, PartialEq)]
pub struct FileEvidence {
    /// The path as known; `None`: only a relative one was seen.
    pub path: Option<Box<[u8]>>,
    /// Where it lies.
    pub path_class: PathClass,
    /// Seconds from the file's last change to its execution, by the host's clock.
    pub age_at_exec_s: Option<i64>,
    /// Changed shortly before it was executed.
    pub fresh: bool,
    /// Root of the lineage group, if it already ran when the file was last changed.
    pub written_below: Option<ProcessKey>,
    /// Owner of the file: whoever wrote it, as far as anybody can tell afterwards.
    pub uid: Option<u32>,
    /// The owner's name.
    pub user_name: Option<String>,
    /// Package that owns it.
    pub package: Option<String>,
    /// Executed below a web service.
    pub web_service: Option<ProcessKey>,
    /// What explains it.
    pub excuse: Option<Excuse>,
    /// It ran before the detector started.
    pub from_snapshot: bool,
}

/// See `detect/rule/web_server_spawned_shell.rs`.
#[derive(Clone, Debug, PartialEq)]
pub struct ShellEvidence {
    /// Path or name of the web service.
    pub web_service: Box<[u8]>,
    /// Words of the command line that fetch or unpack programs.
    pub markers: Vec<&'static str>,
}

/// See `detect/rule/mining_protocol.rs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MiningEvidence {
    /// What was heard.
    pub spoken: Spoken,
    /// Remote address.
    pub ip: IpAddr,
    /// Remote port.
    pub port: u16,
    /// No package knows the program, or it has no file.
    pub unowned: bool,
    /// It had kept a CPU busy for a while.
    pub busy: bool,
}

/// What was heard of a mining protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// The protocol itself, in plain text.
    Stratum {
        /// Which.
        dialect: Dialect,
        /// Methods heard, sorted.
        methods: Vec<&'static str>,
        /// How the client calls itself, cut.
        agent: Option<Box<[u8]>>,
    },
    /// Something encrypted, with a pool's name on it.
    Tls {
        /// The server asked for.
        server_name: Box<[u8]>,
    },
}

/// Where a process shows a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShownIn {
    /// The name of its file.
    FileName,
    /// argv[0] at its exec.
    Argument0,
    /// `comm` of its leader.
    Comm,
    /// Its command line since.
    Title,
}

impl ShownIn {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            ShownIn::FileName => "file_name",
            ShownIn::Argument0 => "argument_0",
            ShownIn::Comm => "comm",
            ShownIn::Title => "title",
        }
    }
}

/// What a name pretends to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imitates {
    /// A thread of the kernel.
    KernelThread,
    /// A program of this package.
    Package(String),
    /// A program that runs on nearly every server.
    Program,
    /// Something else than its file.
    Unknown,
}

impl Imitates {
    /// Stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Imitates::KernelThread => "kernel_thread",
            Imitates::Package(_) => "package",
            Imitates::Program => "program",
            Imitates::Unknown => "unknown",
        }
    }
}

/// See `detect/rule/masqueraded_name.rs`.
#[derive(Clone, Debug, PartialEq)]
pub struct MasqueradeEvidence {
    /// The name.
    pub shown: Box<[u8]>,
    /// Where.
    pub shown_in: ShownIn,
    /// Whose name that is.
    pub imitates: Imitates,
    /// What really runs.
    pub path: Option<Box<[u8]>>,
}

/// See `detect/rule/preloaded_library.rs`.
#[derive(Clone, Debug, PartialEq)]
pub struct PreloadEvidence {
    /// The object.
    pub path: Box<[u8]>,
    /// Where it lies.
    pub path_class: PathClass,
    /// Who orders it.
    pub from: PreloadFrom,
}

/// Who starts a program again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Restarter {
    /// A time table.
    Cron,
    /// Process 1.
    ServiceManager,
    /// A web service.
    WebService,
    /// Another process.
    Process,
}

impl Restarter {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Restarter::Cron => "cron",
            Restarter::ServiceManager => "service_manager",
            Restarter::WebService => "web_service",
            Restarter::Process => "process",
        }
    }
}

/// See `detect/rule/respawn.rs`.
#[derive(Clone, Debug, PartialEq)]
pub struct RespawnEvidence {
    /// What kind of thing starts it again.
    pub restarter: Restarter,
    /// Its name.
    pub restarted_by: Box<[u8]>,
    /// Its process id.
    pub restarter_pid: u32,
    /// systemd unit of the new process, if known by then.
    pub unit: Option<String>,
    /// How often it ended within ten minutes.
    pub times: u32,
    /// From its last end to this start, ns.
    pub gone_ns: u64,
    /// How it ended, as `wait(2)` gives it.
    pub last_wait_status: Option<u32>,
    /// The same file; else another with the same content.
    pub same_identity: bool,
}

/// What a storm of connections looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Many addresses.
    Scan,
    /// Hardly any answer.
    Failing,
    /// Many attempts at ports where one logs in.
    Logins,
}

impl Shape {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Scan => "scan",
            Shape::Failing => "failing",
            Shape::Logins => "logins",
        }
    }
}

/// See `detect/rule/connection_storm.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionStormEvidence {
    /// What it looks like.
    pub shape: Shape,
    /// Connections attempted in the window so far.
    pub attempts: u32,
    /// Of these, or of earlier ones, failed in it.
    pub failed: u32,
    /// Distinct addresses, at least.
    pub addresses: usize,
    /// Remote port of the last one.
    pub port: u16,
    /// Length of the window, seconds.
    pub window_s: u64,
}

/// See `detect/rule/new_destination.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationEvidence {
    /// Remote address.
    pub ip: IpAddr,
    /// Remote port.
    pub port: u16,
    /// The peer answered.
    pub established: bool,
    /// A port that services hardly use, and the program descends from a web service.
    pub odd: bool,
    /// For a program that saturates or uses a CPU without varying: how long the connection has been open, seconds.
    pub open_s: Option<u64>,
    /// A program that has been known for a week never talked to that network and port.
    pub new: bool,
    /// A port that mining pools use as well. Adds nothing to the severity.
    pub pool_port: bool,
}

/// One signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What.
    pub kind: FindingType,
    /// How loud it is alone.
    pub severity: Severity,
    /// Whom it is about; `None`: the detector itself.
    pub process: Option<ProcessKey>,
    /// The process as known at that moment.
    pub subject: Option<Arc<Subject>>,
    /// First seen, ns since 1970.
    pub first_seen_unix_ns: i64,
    /// Last seen, ns since 1970.
    pub last_seen_unix_ns: i64,
    /// What it rests on.
    pub evidence: Evidence,
    /// It would be louder, had not somebody said that it is fine: how that is told.
    pub accepted: Option<Arc<str>>,
}
