//! Does one exactly known thing for a kernel test, and reports in JSON what ordinary means say of it.
//!
//! `/proc`, `stat(2)` and the process's own CPU clock are the independent sources that the tests
//! compare the probes with. Every act is bounded; nothing is left behind.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tests::disguise;

#[derive(Parser, Debug)]
enum Act {
    /// Threads that each burn this much CPU time, then say how much the process used
    Burn {
        #[arg(long)]
        ms: u64,
        #[arg(long, default_value_t = 1)]
        threads: u16,
        #[arg(long)]
        dodge_ticks: bool,
    },
    /// Threads one after the other, each burning this much
    Churn {
        #[arg(long)]
        ms: u64,
        #[arg(long)]
        threads: u16,
    },
    /// Child processes, two at a time, each burning this much
    Children {
        #[arg(long)]
        ms: u64,
        #[arg(long)]
        count: u32,
    },
    /// Say who this process is, then wait for the end of standard input
    Show { _rest: Vec<std::ffi::OsString> },
    /// Become a copy of this program in a memfd, and show
    Memfd,
    /// Become a copy of this program that was deleted, and show
    Deleted { folder: PathBuf },
    /// Become this program through `execveat` with an empty path, and show
    Execveat,
    /// Become this program from a thread that is not the leader, after burning in both
    ExecFromThread {
        #[arg(long)]
        ms: u64,
    },
    /// Connect, say how it went, send this much, wait for the other side's end, close
    Connect {
        address: SocketAddr,
        #[arg(long)]
        uring: bool,
        #[arg(long, default_value_t = 0)]
        send: usize,
    },
    /// Connect at the first line of standard input; send it and each further one, and say how many
    Speak {
        address: SocketAddr,
        #[arg(long)]
        uring: bool,
    },
    /// Accept this many connections on a port of its own, or on one it shares
    Listen {
        #[arg(long)]
        count: u32,
        /// Where; port 0: a port of its own
        #[arg(long, default_value = "127.0.0.1:0")]
        address: SocketAddr,
        /// With `SO_REUSEPORT`
        #[arg(long)]
        shared: bool,
    },
    /// Run a program this many times, two at a time
    Storm {
        #[arg(long)]
        count: u32,
        program: PathBuf,
    },
    /// Flood the kernel with one kind of event from some threads, until the end of standard input; say when that
    /// began, and how many there were
    Flood {
        #[arg(value_enum)]
        with: Flood,
        /// Whom to connect to
        #[arg(long, default_value = "127.0.0.1:9")]
        address: SocketAddr,
        /// How many at most
        #[arg(long)]
        count: u32,
        /// How long at most
        #[arg(long, default_value_t = 60_000)]
        ms: u64,
        #[arg(long, default_value_t = 2)]
        threads: u32,
        /// Run a program that only ends, instead of `true`: more often, and unknown to any package
        #[arg(long)]
        shortest: bool,
    },
    /// Have this many threads that sleep, until the end of standard input
    Sleep {
        #[arg(long)]
        threads: u32,
    },
    /// Fork a child that forks a grandchild and ends at once; the grandchild becomes `show`
    Orphan,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Flood {
    /// Programs that end at once.
    Exec,
    /// Children that end at once, two hundred waiting to be reaped at a time.
    Fork,
    /// Connections that are closed at once, or refused.
    Connect,
}

fn main() -> ExitCode {
    // Never outlive the test, whatever happens to it.
    thread::spawn(|| {
        thread::sleep(Duration::from_secs(300));
        std::process::abort();
    });
    match act(Act::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("actor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn act(act: Act) -> io::Result<()> {
    let this = std::env::current_exe()?;
    match act {
        Act::Burn {
            ms,
            threads,
            dodge_ticks,
        } => {
            let burners: Vec<_> = (0..threads)
                .map(|_| thread::spawn(move || burn(ms, dodge_ticks)))
                .collect();
            for burner in burners {
                burner.join().expect("a burner does not panic");
            }
            say(&json!({ "cpu_ns": process_cpu_ns() }))
        }
        Act::Churn { ms, threads } => {
            for _ in 0..threads {
                thread::spawn(move || burn(ms, false))
                    .join()
                    .expect("a burner does not panic");
            }
            say(&json!({ "cpu_ns": process_cpu_ns() }))
        }
        Act::Children { ms, count } => {
            let ms = ms.to_string();
            repeat(count, || {
                let mut child = Command::new(&this);
                child
                    .args(["burn", "--ms", &ms])
                    .stdout(std::process::Stdio::null());
                child
            })?;
            let stat = fs::read_to_string("/proc/self/stat")?;
            // cutime and cstime: fields 16 and 17; the kernel scales them to the exact run time.
            let ticks: u64 = after_comm(&stat)
                .skip(13)
                .take(2)
                .filter_map(|field| field.parse::<u64>().ok())
                .sum();
            let user_hz = rustix::param::clock_ticks_per_second();
            say(
                &json!({ "children_cpu_ns": ticks * (1_000_000_000 / user_hz), "cpu_ns": process_cpu_ns() }),
            )
        }
        Act::Show { .. } => {
            say(&whoami()?)?;
            io::stdin().read_to_end(&mut Vec::new()).map(drop)
        }
        Act::Memfd => become_show(&disguise::in_memory(&this, "kworker/0:1")?),
        Act::Deleted { folder } => {
            let copy = folder.join("gone");
            fs::copy(&this, &copy)?;
            become_show(&disguise::deleted(&copy)?)
        }
        Act::Execveat => Err(tests::raw::execveat(
            &File::open(&this)?,
            &[c"show", c"show"],
        )),
        Act::ExecFromThread { ms } => {
            burn(ms, false);
            let thread = thread::spawn(move || {
                burn(2 * ms, false);
                become_show(&this)
            });
            thread.join().expect("the thread does not panic")
        }
        Act::Connect {
            address,
            uring,
            send,
        } => connect(address, uring, send),
        Act::Speak { address, uring } => speak(address, uring),
        Act::Listen {
            count,
            address,
            shared,
        } => {
            let listener = listen(address, shared)?;
            say(&json!({ "port": listener.local_addr()?.port() }))?;
            for _ in 0..count {
                drop(listener.accept()?);
            }
            say(&json!({ "accepted": count }))?;
            io::stdin().read_to_end(&mut Vec::new()).map(drop)
        }
        Act::Storm { count, program } => {
            repeat(count, || Command::new(&program))?;
            say(&json!({ "ran": count }))
        }
        Act::Flood {
            with,
            address,
            count,
            ms,
            threads,
            shortest,
        } => {
            let folder = tempfile::tempdir()?;
            let program = match shortest {
                true => folder.path().join("shortest"),
                false => PathBuf::from("/bin/true"),
            };
            if shortest {
                tests::shortest::write(&program)?;
            }
            let limits = (count, Duration::from_millis(ms));
            flood(with, address, &program, limits, threads)
        }
        Act::Sleep { threads } => {
            for _ in 0..threads {
                let thread = thread::Builder::new().stack_size(16 << 10);
                thread.spawn(|| {
                    loop {
                        thread::park();
                    }
                })?;
            }
            say(&json!({ "began": true }))?;
            io::stdin().read_to_end(&mut Vec::new()).map(drop)
        }
        Act::Orphan => {
            // sh forks, the child becomes the background job's parent and ends at once.
            let mut sh = Command::new("/bin/sh");
            sh.arg("-c")
                .arg("(exec 3<&0; \"$0\" show <&3 & ) ; cat > /dev/null")
                .arg(this);
            Err(sh.exec())
        }
    }
}

/// Burns CPU time of this thread.
fn burn(ms: u64, dodge_ticks: bool) {
    use tests::burn;
    let until = Duration::from_millis(ms);
    let load = burn::Load {
        duty_percent: 100,
        dodge_ticks,
        ramp: Duration::ZERO,
    };
    while burn::thread_cpu_time() < until {
        let left = until.saturating_sub(burn::thread_cpu_time());
        burn::run(load, std::time::Instant::now() + left);
    }
}

/// Runs `make`'s command `count` times, two at a time.
fn repeat(count: u32, make: impl Fn() -> Command + Sync) -> io::Result<()> {
    let run = |count: u32| -> io::Result<()> {
        for _ in 0..count {
            make().status()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let half = scope.spawn(|| run(count / 2));
        run(count - count / 2)?;
        half.join().expect("a runner does not panic")
    })
}

fn flood(
    with: Flood,
    address: SocketAddr,
    program: &Path,
    (count, time): (u32, Duration),
    threads: u32,
) -> io::Result<()> {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
    let (end, made) = (std::time::Instant::now() + time, AtomicU32::new(0));
    static ENOUGH: AtomicBool = AtomicBool::new(false);
    thread::spawn(|| {
        let _end = io::stdin().read_to_end(&mut Vec::new());
        ENOUGH.store(true, Relaxed);
    });
    let wave = |size: u32| -> io::Result<()> {
        match with {
            Flood::Exec => (0..size).try_for_each(|_| Command::new(program).status().map(drop)),
            Flood::Connect => {
                (0..size).for_each(|_| drop(TcpStream::connect(address)));
                Ok(())
            }
            Flood::Fork => {
                let now = std::time::Instant::now();
                let children: io::Result<Vec<_>> = (0..size)
                    .map(|_| tests::sys::fork_burning_child(now))
                    .collect();
                let options = rustix::process::WaitOptions::empty();
                for child in children? {
                    rustix::process::waitpid(Some(child), options)?;
                }
                Ok(())
            }
        }
    };
    // A wave is claimed before it is made, so that `count` is exact.
    const WAVE: u32 = 100;
    let run = || -> io::Result<()> {
        while std::time::Instant::now() < end && !ENOUGH.load(Relaxed) {
            let before = made.fetch_add(WAVE, Relaxed);
            if before >= count {
                made.fetch_sub(WAVE, Relaxed);
                break;
            }
            wave(WAVE)?;
        }
        Ok(())
    };
    say(&json!({ "began": true }))?;
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        run()?;
        let mut others = others.into_iter();
        others.try_for_each(|other| other.join().expect("a flooder does not panic"))
    })?;
    say(&json!({ "made": made.load(Relaxed) }))
}

fn connect(address: SocketAddr, uring: bool, send: usize) -> io::Result<()> {
    let stream = if uring {
        tests::raw::connect_by_io_uring(address)
    } else {
        TcpStream::connect(address)
    };
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => return say(&json!({ "errno": error.raw_os_error() })),
    };
    say(&json!({ "local": stream.local_addr()?.to_string() }))?;
    stream.write_all(&vec![b'x'; send])?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut received = Vec::new();
    stream.read_to_end(&mut received)?;
    drop(stream);
    say(&json!({ "received": received.len() }))?;
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

fn speak(address: SocketAddr, uring: bool) -> io::Result<()> {
    let mut stream = None;
    for (count, line) in io::stdin().lines().enumerate() {
        let stream = match &mut stream {
            Some(stream) => stream,
            None if uring => stream.insert(tests::raw::connect_by_io_uring(address)?),
            None => stream.insert(TcpStream::connect(address)?),
        };
        stream.set_nodelay(true)?;
        stream.write_all(format!("{}\n", line?).as_bytes())?;
        say(&json!({ "sent": count + 1, "local": stream.local_addr()?.to_string() }))?;
    }
    Ok(())
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    use rustix::net;
    let family = match address {
        SocketAddr::V4(_) => net::AddressFamily::INET,
        SocketAddr::V6(_) => net::AddressFamily::INET6,
    };
    let socket = net::socket(family, net::SocketType::STREAM, None)?;
    // A port that was in use a moment ago is no other's.
    net::sockopt::set_socket_reuseaddr(&socket, true)?;
    net::sockopt::set_socket_reuseport(&socket, shared)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, 128)?;
    Ok(socket.into())
}

fn become_show(program: &Path) -> io::Result<()> {
    Err(Command::new(program).arg("show").exec())
}

/// What `/proc` and `stat(2)` say of this process.
fn whoami() -> io::Result<Value> {
    let exe = fs::metadata("/proc/self/exe")?;
    let filesystem = rustix::fs::statfs("/proc/self/exe")?;
    // The name in it may be any bytes.
    let lossy =
        |path| -> io::Result<String> { Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned()) };
    let status = lossy("/proc/self/status")?;
    let number = |key: &str| -> Option<i64> {
        let line = status.lines().find_map(|l| l.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let last = |key: &str| -> Option<i64> {
        let line = status.lines().find_map(|l| l.strip_prefix(key))?;
        line.split_whitespace().last()?.parse().ok()
    };
    let stat = lossy("/proc/self/stat")?;
    let field = |number: usize| {
        after_comm(&stat)
            .nth(number - 3)
            .and_then(|f| f.parse::<i64>().ok())
    };
    let id = |path: &str| {
        fs::read_to_string(path)
            .ok()
            .and_then(|t| t.trim().parse::<u32>().ok())
    };
    Ok(json!({
        "pid": std::process::id(),
        "ppid": number("PPid:"),
        "uid": number("Uid:"),
        "gid": number("Gid:"),
        "namespace_pid": last("NSpid:"),
        "session": field(6),
        "nice": field(19),
        "start_ticks": field(22),
        "policy": field(41),
        "loginuid": id("/proc/self/loginuid"),
        "audit_session": id("/proc/self/sessionid"),
        "dev": exe.dev(),
        "inode": exe.ino(),
        "ctime_sec": exe.ctime(),
        "ctime_nsec": exe.ctime_nsec(),
        "nlink": exe.nlink(),
        "mode": exe.mode(),
        "size": exe.size(),
        "file_uid": exe.uid(),
        "fs_magic": filesystem.f_type,
        "comm": fs::read("/proc/self/comm")?.trim_ascii_end(),
        "cmdline": fs::read("/proc/self/cmdline")?,
    }))
}

/// Fields of `/proc/PID/stat` from the third on; the second may contain anything.
fn after_comm(stat: &str) -> impl Iterator<Item = &str> {
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    rest.split_whitespace()
}

/// The process's own exact CPU clock, dead threads included.
fn process_cpu_ns() -> i64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn say(value: &Value) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{value}")?;
    stdout.flush()
}
