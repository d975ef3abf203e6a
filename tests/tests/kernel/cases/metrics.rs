//! What Prometheus is told is what others say, and whoever asks costs nothing.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use detector_common::counter::Counter;
use serde_json::Value;
use tests::{
    daemon::Daemon,
    metrics::{Page, ask_port, ask_socket},
    process::cpu_time,
    service,
};

use crate::{
    actor::Actor,
    program::{soon, watching},
    watch::{Turn, obstacle, skip},
};

/// Prometheus' own parser of the format, in Debian's package.
const PARSER: &str = "/usr/lib/python3/dist-packages/prometheus_client/parser.py";

/// A daemon that tells on a socket and a port.
struct Asked {
    daemon: Daemon,
    socket: PathBuf,
    port: SocketAddr,
    _folder: tempfile::TempDir,
}

fn asked() -> Asked {
    let folder = tempfile::tempdir().expect("a temporary folder");
    service::give(folder.path()).expect("tests run as root");
    let socket = folder.path().join("metrics.sock");
    let config = folder.path().join("detector.toml");
    let text = format!(
        "[metrics]\nsocket = {:?}\nlisten = \"127.0.0.1:0\"\n",
        socket.display().to_string()
    );
    fs::write(&config, text).expect("the folder is writable");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).expect("it is ours");
    service::give(&config).expect("tests run as root");
    let daemon = watching(["--config".as_ref(), config.as_os_str()]);
    let log = daemon.stderr_tail();
    let port = log.iter().find_map(|line| {
        let (_, address) = line.split_once("at=\"127.0.0.1:")?;
        format!("127.0.0.1:{}", address.split('"').next()?)
            .parse()
            .ok()
    });
    Asked {
        port: port.unwrap_or_else(|| panic!("the port is logged: {log:#?}")),
        daemon,
        socket,
        _folder: folder,
    }
}

/// `label` of `/proc/PID/status`, or of `/proc/stat` for the machine, as a number.
fn number(file: &Path, label: &str) -> f64 {
    let text = fs::read_to_string(file).expect("it is there");
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    let value = line.and_then(|line| line.split_whitespace().next());
    value
        .and_then(|value| value.parse().ok())
        .expect("a number")
}

/// CPU seconds of a process.
fn cpu_s(pid: u32) -> f64 {
    cpu_time(pid).expect("it runs").as_secs_f64()
}

/// Asks until it is so.
fn until(asked: &Asked, what: &str, so: impl Fn(&Page) -> bool) -> Page {
    let deadline = soon();
    loop {
        let page = ask_socket(&asked.socket).expect("it answers");
        if so(&page) {
            return page;
        }
        assert!(Instant::now() < deadline, "{what}: {}", page.text);
    }
}

#[test]
fn what_is_told_is_what_proc_the_kernel_and_the_heartbeat_say() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let _alone = Turn::alone();
    let mut asked = asked();
    let mode = fs::metadata(&asked.socket).expect("it is there").mode();
    assert_eq!(mode & 0o7777, 0o660);
    // As `sysctl kernel.bpf_stats_enabled=1`, for as long as this is held.
    let statistics = aya::sys::enable_stats(aya::sys::Stats::RunTime).expect("tests run as root");
    let pid = asked.daemon.pid();
    let machine = Path::new("/proc/stat");
    let (forks_before, cpu_before) = (number(machine, "processes "), cpu_s(pid));
    let before = ask_socket(&asked.socket).expect("it answers");
    let mut storm = Actor::start(["storm", "--count", "300", "/bin/true"]);
    assert_eq!(storm.says()["ran"], 300);
    assert!(storm.finish().success());
    let gained = |page: &Page, key: &str| {
        let value = |page: &Page| {
            page.get(key)
                .unwrap_or_else(|| panic!("{key}: {}", page.text))
        };
        value(page) - value(&before)
    };
    let execs = "detector_events_total{class=\"exec\"}";
    let exits = "detector_events_total{class=\"exit\"}";
    let page = until(&asked, "300 execs", |page| {
        gained(page, execs) >= 301.0 && gained(page, exits) >= 301.0
    });
    let (forks, cpu_after) = (number(machine, "processes ") - forks_before, cpu_s(pid));
    drop(statistics);

    // The storm is 301 processes; whatever else the machine did meanwhile was forked too.
    let forked = gained(&page, "detector_events_total{class=\"fork\"}");
    assert!((301.0..=forks).contains(&forked), "{forked} of {forks}");
    let runs = page.get("detector_bpf_runs_total{program=\"exec\"}");
    assert!(runs >= Some(300.0), "{runs:?}");
    let each = page
        .get("detector_bpf_run_seconds_total{program=\"exec\"}")
        .zip(runs)
        .map(|(seconds, runs)| seconds / runs);
    assert!(each > Some(1e-7) && each < Some(1e-3), "{each:?} s an exec");
    let told = page.get("process_cpu_seconds_total").expect("always told");
    assert!(
        (cpu_before - 0.1..=cpu_after + 0.1).contains(&told),
        "{cpu_before} {told} {cpu_after}"
    );
    let rss = 1024.0 * number(Path::new(&format!("/proc/{pid}/status")), "VmRSS:");
    let told = page
        .get("process_resident_memory_bytes")
        .expect("always told");
    assert!((told / rss - 1.0).abs() < 0.2, "{told} of {rss}");
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("it runs")
        .count() as f64;
    let told = page.get("process_open_fds").expect("always told");
    // Our own connections come and go.
    assert!((told - open).abs() <= 4.0, "{told} of {open}");

    let seen = asked.daemon.events().len();
    let beat = asked
        .daemon
        .wait_event_from(seen, soon(), |event| event["type"] == "detector.heartbeat");
    let beat = &beat.expect("every ten seconds").event["data"]["detector"];
    let page = ask_socket(&asked.socket).expect("it answers");
    compare(&page, beat);
    let port = ask_port(asked.port).expect("it answers there as well");
    let keys = |page: &Page| page.samples().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&port), keys(&page));
    assert!(asked.daemon.stop().expect("it stops").success());
    assert!(!asked.socket.exists(), "nothing is left behind");
}

/// One moment later than a heartbeat.
fn compare(page: &Page, beat: &Value) {
    let losses = beat["losses"].as_object().expect("always told");
    let names = page.labels("detector_losses_total", "name");
    for counter in Counter::ALL {
        assert!(names.contains(&counter.name()), "{names:?}");
    }
    for name in names {
        let told = page.get(&format!("detector_losses_total{{name=\"{name}\"}}"));
        let said = losses.get(name).and_then(Value::as_f64).unwrap_or(0.0);
        assert!(told >= Some(said), "{name}: {told:?} after {said}");
    }
    let probes = page.labels("detector_probe_up", "probe");
    for probe in beat["probes"].as_array().expect("always told") {
        let probe = probe.as_str().expect("a name");
        assert!(probes.contains(&probe), "{probes:?}");
        let up = page.get(&format!("detector_probe_up{{probe=\"{probe}\"}}"));
        assert_eq!(up, Some(1.0), "{probe}");
    }
    let at_least = |key: &str, said: &Value| {
        let told = page.get(key);
        assert!(told >= said.as_f64(), "{key}: {told:?} after {said}");
    };
    at_least("detector_last_sequence", &beat["last_sequence"]);
    let cpu_s = beat["own_cpu_ms"].as_f64().expect("always told") / 1000.0;
    at_least("process_cpu_seconds_total", &cpu_s.into());
    let processes = beat["processes"].as_f64().expect("always told");
    let told = page.get("detector_processes").expect("always told");
    assert!(
        (told - processes).abs() <= 100.0,
        "{told} after {processes}"
    );
    assert_eq!(page.get("detector_state_durable"), Some(1.0));
    assert_eq!(
        page.get("detector_build_info{version=\"0.1.0\"}"),
        Some(1.0)
    );
}

/// Reads the format with Prometheus' own library, and writes samples as this program does.
const READ: &str = r#"
import sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation and family.type in ("counter", "gauge"), family
    for sample in family.samples:
        labels = ",".join('%s="%s"' % pair for pair in sample.labels.items())
        print(sample.name + ("{%s}" % labels if labels else ""), float(sample.value))
"#;

#[test]
fn prometheus_own_parser_reads_every_sample() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    if !Path::new(PARSER).exists() {
        return skip("python3-prometheus-client is not installed");
    }
    let mut asked = asked();
    let page = ask_socket(&asked.socket).expect("it answers");
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it is installed");
    let mut input = python.stdin.take().expect("a pipe");
    input.write_all(page.text.as_bytes()).expect("it reads");
    drop(input);
    let output = python.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let read = String::from_utf8(output.stdout).expect("text");
    let read: std::collections::BTreeMap<String, f64> = read
        .lines()
        .map(|line| line.rsplit_once(' ').expect("a value"))
        .map(|(key, value)| (key.to_owned(), value.parse().expect("a number")))
        .collect();
    assert_eq!(&read, page.samples());
    assert!(read.len() > 100, "{read:?}");
    assert!(asked.daemon.stop().expect("it stops").success());
}

#[test]
fn a_hundred_clients_that_hang_hold_up_neither_passes_nor_detection() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let mut asked = asked();
    let pid = asked.daemon.pid();
    let descriptors = || {
        fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("it runs")
            .count()
    };
    let before = ask_socket(&asked.socket).expect("it answers");
    let open_before = descriptors();
    let begun = Instant::now();
    // Silent ones, some that stop in the middle of a request, and some that never read an answer.
    let words: [&[u8]; 3] = [
        b"",
        b"GET /met",
        b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n",
    ];
    let mut unix = Vec::new();
    let mut tcp = Vec::new();
    for number in 0..100 {
        let word = words[number % 3];
        let mut stream = UnixStream::connect(&asked.socket).expect("the kernel queues it");
        stream.write_all(word).expect("there is room");
        unix.push(stream);
        let mut stream = TcpStream::connect(asked.port).expect("the kernel queues it");
        stream.write_all(word).expect("there is room");
        tcp.push(stream);
    }
    let seen = asked.daemon.events().len();
    let mut most = 0;
    while begun.elapsed() < Duration::from_secs(11) {
        most = most.max(descriptors());
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let beats = asked.daemon.events_from(seen, Duration::ZERO);
    let beats = beats
        .iter()
        .filter(|seen| seen.event["type"] == "detector.heartbeat")
        .count();
    assert!(beats >= 1, "{}", asked.daemon.account());
    // Four of each place at a time, and the file that is read just now.
    assert!(most <= open_before + 12, "{open_before} {most}");
    drop((unix, tcp));
    let page = until(&asked, "it answers again", |_| true);
    let passes = page.get("detector_passes_total").expect("always told")
        - before.get("detector_passes_total").expect("always told");
    assert!(
        passes + 2.0 >= begun.elapsed().as_secs_f64().floor(),
        "{passes}"
    );
    assert!(asked.daemon.stop().expect("it stops").success());
}
