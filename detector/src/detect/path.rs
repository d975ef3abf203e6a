//! What a path says about a file: the part of the tree it lies in, and what its name is like.
//!
//! Only absolute paths are judged; `..` and `//` are not resolved, so a path with `..` is
//! [`PathClass::Unknown`] and cannot pass for a system folder.

/// Where a file lies, from the point of view of somebody who drops files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathClass {
    /// `/usr`, `/bin`, `/sbin`, `/lib*`: only root writes there.
    System,
    /// `/home`, `/root`.
    Home,
    /// Below a web root, in a folder the application writes to: uploads, caches, plug-ins, themes.
    WebWritable,
    /// Elsewhere below a web root.
    WebRoot,
    /// A folder anybody can write to: `/tmp`, `/var/tmp`, `/dev/shm`, `/run/user`, `/run/lock`.
    WorldWritable,
    /// Below a hidden folder, or hidden itself, where a home folder's own does not explain it.
    Hidden,
    /// Never had a path.
    Memfd,
    /// Somewhere else.
    Other,
    /// No absolute path is known.
    Unknown,
}

impl PathClass {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            PathClass::System => "system",
            PathClass::Home => "home",
            PathClass::WebWritable => "web_writable",
            PathClass::WebRoot => "web_root",
            PathClass::WorldWritable => "world_writable",
            PathClass::Hidden => "hidden",
            PathClass::Memfd => "memfd",
            PathClass::Other => "other",
            PathClass::Unknown => "unknown",
        }
    }

    /// A place where programs do not belong and a service can put them.
    pub fn is_writable_dir(self) -> bool {
        matches!(
            self,
            PathClass::WebWritable | PathClass::WorldWritable | PathClass::Hidden
        )
    }

    /// As [`PathClass::is_writable_dir`], or a web root.
    pub fn is_odd(self) -> bool {
        self.is_writable_dir() || self == PathClass::WebRoot
    }
}

const WORLD_WRITABLE: [&[u8]; 6] = [
    b"/tmp/",
    b"/var/tmp/",
    b"/dev/shm/",
    b"/run/user/",
    b"/run/lock/",
    b"/dev/mqueue/",
];
const WEB_ROOTS: [&[u8]; 6] = [
    b"/var/www/",
    b"/srv/www/",
    b"/srv/http/",
    b"/usr/share/nginx/",
    b"/usr/local/lsws/",
    b"/opt/lampp/htdocs/",
];
/// Folders below a home that hosting panels serve.
const WEB_FOLDERS: [&[u8]; 5] = [
    b"public_html",
    b"htdocs",
    b"httpdocs",
    b"www",
    b"wp-content",
];
/// Folders a web application writes to.
const WEB_WRITABLE: [&[u8]; 12] = [
    b"uploads",
    b"upload",
    b"cache",
    b"plugins",
    b"themes",
    b"mu-plugins",
    b"upgrade",
    b"tmp",
    b"files",
    b"media",
    b"storage",
    b"images",
];

/// Classifies an absolute path.
pub fn classify(path: &[u8]) -> PathClass {
    if !path.starts_with(b"/") || path.starts_with(b"/proc/") || path.starts_with(b"/dev/fd/") {
        return PathClass::Unknown;
    }
    if path.starts_with(b"/memfd:") {
        return PathClass::Memfd;
    }
    let mut parts = path[1..].split(|byte| *byte == b'/');
    if parts.clone().any(|part| part == b"..") {
        return PathClass::Unknown;
    }
    let starts = |folders: &[&[u8]]| folders.iter().any(|folder| path.starts_with(folder));
    if starts(&WORLD_WRITABLE) {
        return PathClass::WorldWritable;
    }
    let home = starts(&[b"/home/", b"/root/"]);
    let folders = || path[1..].rsplit(|byte| *byte == b'/').skip(1);
    let web = starts(&WEB_ROOTS)
        || folders().any(|part| part == b"wp-content")
        || (home || starts(&[b"/srv/", b"/opt/"]))
            && folders().any(|part| WEB_FOLDERS.contains(&part));
    if web {
        return if folders().any(|part| WEB_WRITABLE.contains(&part)) {
            PathClass::WebWritable
        } else if has_hidden_part(path) {
            PathClass::Hidden
        } else {
            PathClass::WebRoot
        };
    }
    if home {
        // `~/.cargo/bin/x` and `~/.local/bin/x` are how people install things.
        let below = if path.starts_with(b"/root/") { 1 } else { 2 };
        let hidden = parts.by_ref().skip(below + 1).any(is_hidden);
        return if hidden {
            PathClass::Hidden
        } else {
            PathClass::Home
        };
    }
    if parts.any(is_hidden) {
        return PathClass::Hidden;
    }
    let system: [&[u8]; 4] = [b"/usr/", b"/bin/", b"/sbin/", b"/lib"];
    if starts(&system) && !path.starts_with(b"/usr/local/") {
        PathClass::System
    } else {
        PathClass::Other
    }
}

/// Whether a component of the path is hidden.
pub fn has_hidden_part(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(is_hidden)
}

/// Leading dot, or a trailing blank that hides the real name.
fn is_hidden(part: &[u8]) -> bool {
    part.len() > 1 && part.starts_with(b".") || part.ends_with(b" ")
}

/// The last component.
pub fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        use PathClass::*;
        let cases: [(&[u8], PathClass); 24] = [
            (b"/usr/bin/php8.2", System),
            (b"/usr/local/bin/tool", Other),
            (b"/lib64/ld-linux-x86-64.so.2", System),
            (b"/tmp/x", WorldWritable),
            (b"/dev/shm/.x/y", WorldWritable),
            (b"/run/user/33/a", WorldWritable),
            (b"/var/www/shop/wp-content/uploads/.x/kworkerd", WebWritable),
            (b"/var/www/shop/wp-content/plugins/evil/a.sh", WebWritable),
            (b"/var/www/shop/run.sh", WebRoot),
            (b"/var/www/shop/.git/hooks/x", Hidden),
            (b"/home/shop/public_html/wp-content/cache/x", WebWritable),
            (b"/home/shop/public_html/run.sh", WebRoot),
            (b"/home/shop/htdocs/uploads/x", WebWritable),
            (b"/home/anna/.cargo/bin/cargo", Home),
            (b"/root/.local/bin/x", Home),
            (b"/home/anna/src/.../x", Hidden),
            (b"/home/anna/src/target/debug/app", Home),
            (b"/etc/.x/y", Hidden),
            (b"/opt/app/bin/server", Other),
            (b"/usr/bin/../../tmp/dpkg", Unknown),
            (b"./kworkerd", Unknown),
            (b"/proc/self/fd/7", Unknown),
            (b"/memfd:x", Memfd),
            (b"/usr/bin/top ", Hidden),
        ];
        for (path, class) in cases {
            assert_eq!(classify(path), class, "{}", String::from_utf8_lossy(path));
        }
    }
}
