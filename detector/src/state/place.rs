//! Where the state file lies.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Where it lies when neither the configuration nor systemd says so.
const DEFAULT: &str = "/var/lib/detector";
/// Its name within the folder that systemd gives (`StateDirectory=`).
const NAME: &str = "state.db";

/// The path in force: the configured one, else in systemd's folder, else the default.
pub fn path(configured: Option<&Path>) -> PathBuf {
    choose(configured, env::var_os("STATE_DIRECTORY"))
}

fn choose(configured: Option<&Path>, directory: Option<OsString>) -> PathBuf {
    if let Some(path) = configured {
        return path.to_owned();
    }
    // systemd joins several folders with colons; the first is the service's own.
    let directory = directory.and_then(|all| env::split_paths(&all).next());
    directory
        .filter(|path| path.is_absolute())
        .unwrap_or_else(|| DEFAULT.into())
        .join(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_wins_over_systemd_and_that_over_the_default() {
        let given = |configured: Option<&str>, directory: Option<&str>| {
            choose(configured.map(Path::new), directory.map(Into::into))
        };
        assert_eq!(given(Some("/x/y.db"), Some("/run/a")), Path::new("/x/y.db"));
        assert_eq!(
            given(None, Some("/run/a:/run/b")),
            Path::new("/run/a/state.db")
        );
        assert_eq!(
            given(None, Some("relative")),
            Path::new("/var/lib/detector/state.db")
        );
        assert_eq!(given(None, None), Path::new("/var/lib/detector/state.db"));
    }
}
