//! `detector manual`: manual pages and completions of shells, from the definition of the command line itself.

use std::{fs, path::Path, process::ExitCode};

use anyhow::Context as _;
use clap::{CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;

use super::CommandLine;

/// Writes `man1/*.1` and one file of completions a shell into `folder`.
pub fn execute(folder: &Path) -> anyhow::Result<ExitCode> {
    let pages = folder.join("man1");
    fs::create_dir_all(&pages).with_context(|| format!("creating {}", pages.display()))?;
    let command = CommandLine::command().name("detector");
    clap_mangen::generate_to(command.clone(), &pages)
        .with_context(|| format!("writing the manual pages into {}", pages.display()))?;
    for shell in Shell::value_variants() {
        clap_complete::generate_to(*shell, &mut command.clone(), "detector", folder)
            .with_context(|| format!("writing the completions of {shell}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
