//! A real nginx and php-fpm with one vulnerable page, in one temporary directory on a loopback port.
//!
//! Owns the two servers, their directory and whatever was planted through the page: dropping a [`WebStack`]
//! ends exactly these processes and removes the directory. Nothing of the system's nginx or PHP is read,
//! written, stopped or started; a shop that already runs here is left alone, because the port is free and
//! the socket is our own. The page is a hole for the holder of a per-run secret only.
//!
//! It refuses to run without root (the servers must drop to `www-data` by themselves, as in the field), and
//! downloads nothing.

mod programs;

pub use programs::Programs;

use crate::http::{self, Request, Response};
use crate::process::{Known, Owned};
use crate::sys;
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The user the pool and nginx's workers run as.
pub const USER: &str = "www-data";

const UP_WITHIN: Duration = Duration::from_secs(15);
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const RETRY_AFTER: Duration = Duration::from_millis(20);
/// A port that was free may be taken before nginx binds it.
const ATTEMPTS: u32 = 3;
/// The running shop.
#[derive(Debug)]
pub struct WebStack {
    // Dropped in this order: the servers before the directory they write to.
    nginx: Owned,
    php_fpm: Owned,
    address: SocketAddr,
    secret: String,
    uid: u32,
    directory: TempDir,
}

impl WebStack {
    /// Starts both servers and waits until a page answers.
    ///
    /// The servers end with the calling thread ([`sys::die_with_parent`]): keep the stack where it was started.
    ///
    /// # Errors
    /// When something is missing ([`Programs::find`]) or no page answers in 15 s; then with the servers' logs.
    pub fn start() -> Result<Self> {
        let programs = Programs::find()?;
        let mut attempt = 1;
        loop {
            match Self::start_once(&programs) {
                Err(error) if attempt < ATTEMPTS && format!("{error:#}").contains("bind()") => {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn start_once(programs: &Programs) -> Result<Self> {
        // Not /tmp, which is often another, `noexec`, file system. 0755: www-data must be able to enter.
        let directory = tempfile::Builder::new()
            .prefix("detector-shop-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in("/var/tmp")?;
        let address = free_address()?;
        let secret = secret()?;
        furnish(directory.path(), programs, address, &secret)
            .with_context(|| format!("cannot furnish {}", directory.path().display()))?;

        let root = directory.path();
        let mut php_fpm = Command::new(&programs.php_fpm);
        php_fpm
            .args(["--no-php-ini", "--nodaemonize", "--fpm-config"])
            .arg(root.join("php-fpm.conf"));
        let php_fpm = Owned::start("php-fpm", quiet(&mut php_fpm, root)?, Signal::TERM)?;
        let mut nginx = Command::new(&programs.nginx);
        nginx.arg("-p").arg(root);
        nginx.arg("-c").arg(root.join("nginx.conf"));
        nginx.arg("-e").arg(root.join("log/nginx.log"));
        let nginx = Owned::start("nginx", quiet(&mut nginx, root)?, Signal::TERM)?;
        let stack = Self {
            nginx,
            php_fpm,
            address,
            secret,
            uid: programs.uid,
            directory,
        };
        stack
            .wait_until_up()
            .with_context(|| format!("the web stack did not come up; {}", stack.logs()))?;
        Ok(stack)
    }

    fn wait_until_up(&self) -> Result<()> {
        let deadline = Instant::now() + UP_WITHIN;
        loop {
            let problem = match self.view_page() {
                Ok(page) if page.status == 200 && page.body.contains("all is well") => {
                    return Ok(());
                }
                Ok(page) => format!("the health page answers {} {:?}", page.status, page.body),
                Err(error) => format!("{error:#}"),
            };
            ensure!(!self.nginx.has_exited(), "nginx ended: {problem}");
            ensure!(!self.php_fpm.has_exited(), "php-fpm ended: {problem}");
            ensure!(!sys::interrupted(), "interrupted");
            ensure!(Instant::now() < deadline, "after {UP_WITHIN:?}: {problem}");
            std::thread::sleep(RETRY_AFTER);
        }
    }

    /// Where the shop answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The user id of the pool.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Process ids of the masters: nginx, php-fpm.
    #[must_use]
    pub fn masters(&self) -> [u32; 2] {
        [self.nginx.pid(), self.php_fpm.pid()]
    }

    /// The folder in which everything of it lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// Where the page writes what is posted.
    #[must_use]
    pub fn planted(&self) -> PathBuf {
        self.uploads().join(".x/kworkerd")
    }

    /// Where a planted program may leave its pid: `--pid-file` of the stand-in.
    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        self.uploads().join(".x/pid")
    }

    fn uploads(&self) -> PathBuf {
        self.directory.path().join("shop/wp-content/uploads")
    }

    /// Views the shop as a customer does.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub fn view_page(&self) -> Result<Response> {
        view(self.address, "/index.php")
    }

    /// Posts `payload` to the vulnerable page, which writes it to [`Self::planted`] and starts it in the
    /// background with `arguments`, through `sh -c`, as `www-data`.
    ///
    /// # Errors
    /// When the page does not answer 200; then with the servers' logs.
    pub fn exploit(&self, payload: &[u8], arguments: &[String]) -> Result<()> {
        let query: Vec<String> = arguments
            .iter()
            .map(|argument| format!("args[]={}", http::encode(argument)))
            .collect();
        let target = format!("/wp-content/plugins/gallery/upload.php?{}", query.join("&"));
        let request = Request {
            method: "POST",
            target: &target,
            headers: &[
                ("Content-Type", "application/octet-stream"),
                ("X-Demo-Secret", &self.secret),
            ],
            body: payload,
        };
        let answer = http::send(self.address, request, Instant::now() + ANSWER_WITHIN)
            .with_context(|| self.logs())?;
        let expected = format!("{} bytes\n", payload.len());
        ensure!(
            answer.status == 200 && answer.body == expected,
            "the page answers {} {:?}; {}",
            answer.status,
            answer.body,
            self.logs()
        );
        Ok(())
    }

    /// The planted program, once it has written its pid and is verified to run [`Self::planted`].
    ///
    /// # Errors
    /// When that is not the case by `deadline`; then with what the program printed.
    pub fn wait_for_planted(&self, deadline: Instant) -> Result<Known> {
        loop {
            if let Some(known) = self.find_planted() {
                return Ok(known);
            }
            ensure!(!sys::interrupted(), "interrupted");
            if Instant::now() >= deadline {
                let said = fs::read_to_string(self.uploads().join(".x/log")).unwrap_or_default();
                bail!(
                    "{} wrote no pid to {} or is gone; it printed {said:?}; {}",
                    self.planted().display(),
                    self.pid_file().display(),
                    self.logs()
                );
            }
            std::thread::sleep(RETRY_AFTER);
        }
    }

    fn find_planted(&self) -> Option<Known> {
        let text = fs::read_to_string(self.pid_file()).ok()?;
        // Without its newline the number may be half written.
        let pid = text.strip_suffix('\n')?.parse().ok()?;
        Known::find(pid, &self.planted())
    }

    /// What the servers logged, for a failure that explains itself.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut text = String::from("the servers' logs:");
        for name in ["nginx.log", "php-fpm.log", "output"] {
            let path = self.directory.path().join("log").join(name);
            let content = fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
            text.push_str(&format!("\n--- {name}\n{content}"));
        }
        text
    }
}

impl Drop for WebStack {
    fn drop(&mut self) {
        if let Some(planted) = self.find_planted() {
            planted.kill();
        }
    }
}

/// Fetches a page of the shop at `server`: `/index.php` costs nothing, `/render.php` tens of milliseconds of a
/// CPU, `/thumbnail.php` a second or so of ImageMagick.
///
/// # Errors
/// When there is no answer in time.
pub fn view(server: SocketAddr, page: &str) -> Result<Response> {
    let request = Request {
        method: "GET",
        target: page,
        headers: &[],
        body: &[],
    };
    http::send(server, request, Instant::now() + ANSWER_WITHIN)
}

/// Writes the configuration, the document root and the folders of the servers.
fn furnish(root: &Path, programs: &Programs, address: SocketAddr, secret: &str) -> Result<()> {
    let gallery = root.join("shop/wp-content/plugins/gallery");
    let uploads = root.join("shop/wp-content/uploads");
    for folder in [&root.join("log"), &root.join("run"), &gallery, &uploads] {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    }
    chown(&uploads, Some(programs.uid), Some(programs.gid))?;
    let place = root.to_str().context("the path is not UTF-8")?;
    let write = |path: PathBuf, template: &str, mode: u32| -> Result<()> {
        let text = template
            .replace("@ROOT@", place)
            .replace("@ADDRESS@", &address.to_string())
            .replace("@USER@", USER)
            .replace("@GROUP@", &programs.gid.to_string())
            .replace("@SECRET@", secret);
        // Created for nobody else first: no moment at which the secret is readable.
        let mut options = fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.write(true).create_new(true).open(&path)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        chown(&path, Some(0), Some(programs.gid))?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        Ok(())
    };
    write(
        root.join("nginx.conf"),
        include_str!("web_stack/nginx.conf"),
        0o644,
    )?;
    write(
        root.join("php-fpm.conf"),
        include_str!("web_stack/php-fpm.conf"),
        0o644,
    )?;
    write(
        root.join("shop/index.php"),
        include_str!("web_stack/index.php"),
        0o644,
    )?;
    write(
        root.join("shop/render.php"),
        include_str!("web_stack/render.php"),
        0o644,
    )?;
    write(
        root.join("shop/thumbnail.php"),
        include_str!("web_stack/thumbnail.php"),
        0o644,
    )?;
    write(
        gallery.join("upload.php"),
        include_str!("web_stack/upload.php"),
        0o640,
    )
}

/// No terminal, both streams to one file of the stack.
fn quiet<'a>(command: &'a mut Command, root: &Path) -> Result<&'a mut Command> {
    let output = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(root.join("log/output"))?;
    Ok(command
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output))
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// 128 bits from the kernel, in hexadecimal.
fn secret() -> Result<String> {
    let mut bytes = [0_u8; 16];
    let mut source = fs::File::open("/dev/urandom")?;
    std::io::Read::read_exact(&mut source, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
