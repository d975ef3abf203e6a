//! What a cgroup path says: which unit, which container. Pure.
//!
//! Whoever was delegated a cgroup may name what lies below it, `sshd.service` too: a unit is a
//! statement about the path, to be shown with it and not to be trusted alone.

/// The path of a process from the text of `/proc/PID/cgroup`.
///
/// The unified hierarchy's line (`0::/…`), or systemd's own v1 hierarchy where the unified one is absent or
/// not used (a hybrid host shows `0::/` for everything).
pub fn path(text: &str) -> Option<String> {
    let of = |wanted: &str| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            // The kernel marks a group that was removed below its last process.
            let path = path.strip_suffix(" (deleted)").unwrap_or(path);
            (controllers == wanted).then_some(path)
        })
    };
    let unified = of("");
    match (unified, of("name=systemd")) {
        (None | Some("/"), Some(systemd)) => Some(systemd.to_owned()),
        _ => unified.map(str::to_owned),
    }
}

/// The innermost systemd unit on a path: a service or a scope, name unescaped.
pub fn unit(path: &str) -> Option<String> {
    path.rsplit('/')
        .find(|part| part.ends_with(".service") || part.ends_with(".scope"))
        // systemd puts `_` before a name that would collide with a file of the kernel's.
        .map(|part| unescape(part.strip_prefix('_').unwrap_or(part)))
}

/// The innermost container on a path: the runtime's id, or the name for LXC.
pub fn container(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    (0..parts.len()).rev().find_map(|at| {
        let parent = at.checked_sub(1).map(|above| parts[above]);
        component(parts[at], parent).map(str::to_owned)
    })
}

fn component<'p>(part: &'p str, parent: Option<&str>) -> Option<&'p str> {
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return Some(name).filter(|name| !name.is_empty());
    }
    if matches!(parent, Some("lxc" | "lxc.payload")) && !part.is_empty() {
        return Some(part);
    }
    let name = part.strip_suffix(".scope").unwrap_or(part);
    // `kubepods-….slice:cri-containerd:<id>` where the runtime has no systemd driver.
    let name = name.rsplit(':').next().unwrap_or(name);
    let id = [
        "docker-",
        "cri-containerd-",
        "crio-",
        "libpod-",
        "containerd-",
        "nerdctl-",
    ]
    .iter()
    .find_map(|prefix| name.strip_prefix(prefix))
    .unwrap_or(name);
    let is_id = id.len() == 64 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then_some(id)
}

/// Turns systemd's `\x2d` back. What does not decode stays as it is.
fn unescape(name: &str) -> String {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = (*first == b'\\')
            .then(|| tail.strip_prefix(b"x")?.get(..2))
            .flatten()
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match hex {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn unified_path_wins_unless_it_is_unused() {
        for (text, expected) in [
            (
                "0::/system.slice/nginx.service\n",
                Some("/system.slice/nginx.service"),
            ),
            (
                "12:cpu,cpuacct:/x\n1:name=systemd:/system.slice/a.service\n",
                Some("/system.slice/a.service"),
            ),
            (
                "9:name=systemd:/system.slice/a.service\n0::/\n",
                Some("/system.slice/a.service"),
            ),
            ("1:name=systemd:/a\n0::/b\n", Some("/b")),
            ("0::/a:b (deleted)\n", Some("/a:b")),
            ("0::/\n", Some("/")),
            ("4:memory:/x\n", None),
            ("", None),
        ] {
            assert_eq!(path(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn innermost_unit_is_taken_and_unescaped() {
        for (path, expected) in [
            (
                "/system.slice/php8.2-fpm.service",
                Some("php8.2-fpm.service"),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/x.service",
                Some("x.service"),
            ),
            (
                "/user.slice/user-1000.slice/session-3.scope",
                Some("session-3.scope"),
            ),
            ("/system.slice/a.service/worker/1", Some("a.service")),
            (
                "/user.slice/user@1000.service/app.slice/app-gnome\\x2dterminal-7.scope",
                Some("app-gnome-terminal-7.scope"),
            ),
            ("/system.slice/_cpu.service", Some("cpu.service")),
            ("/system.slice/odd\\x2.service", Some("odd\\x2.service")),
            ("/system.slice/odd\\xff.service", Some("odd\\xff.service")),
            ("/system.slice", None),
            ("/", None),
        ] {
            assert_eq!(unit(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn container_ids_of_the_common_runtimes_are_found() {
        for path in [
            format!("/system.slice/docker-{ID}.scope"),
            format!("/docker/{ID}"),
            format!("/docker/{ID}/system.slice/nginx.service"),
            format!("/kubepods/burstable/pod0f0e/{ID}"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"),
            format!("/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}"),
            format!("/kubepods.slice/crio-{ID}.scope"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
            format!("/k8s.io/{ID}"),
        ] {
            assert_eq!(container(&path).as_deref(), Some(ID), "{path}");
        }
        assert_eq!(container("/lxc/web").as_deref(), Some("web"));
        assert_eq!(
            container("/lxc.payload.web/init.scope").as_deref(),
            Some("web")
        );
        assert_eq!(container("/system.slice/docker.service"), None);
        assert_eq!(
            container(&format!("/machine.slice/libpod-conmon-{ID}.scope")),
            None
        );
        assert_eq!(container(&format!("/docker/{}", ID.to_uppercase())), None);
    }
}
