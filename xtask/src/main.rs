//! `cargo xtask`: one file per verb. This one parses, dispatches and turns errors into exit codes.

mod apt;
mod bench;
mod bpf;
mod build;
mod chores;
mod cli;
mod cross;
mod demo;
mod dist;
mod exec;
mod facts;
mod fuzz;
mod lint;
mod mutate;
mod privilege;
mod run;
mod services;
mod setup;
mod summary;
mod test;
mod toolchain;
mod tools;
mod unit;
mod vm;

use clap::Parser as _;
use cli::{Cli, Verb};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Cli { setup, verb } = Cli::parse();
    let result = match verb {
        Verb::Setup => setup::verb(setup),
        Verb::Build(args) => build::verb(setup, args),
        Verb::Run(args) => run::verb(setup, args),
        Verb::Test(args) => test::verb(setup, args),
        Verb::Lint => lint::verb(setup),
        Verb::Bench(args) => bench::verb(setup, args),
        Verb::Mutate(args) => mutate::verb(setup, args),
        Verb::Fuzz(args) => fuzz::verb(setup, args),
        Verb::Dist(args) => dist::verb(setup, args),
        Verb::Demo(args) => demo::verb(setup, args),
        Verb::Vm(args) => vm::verb(setup, args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
