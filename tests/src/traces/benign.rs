//! What servers do all day and nobody should be woken for.

use super::{Case, Truth, logged_in, scheduled, shelled_out};
use crate::trace::{Image, Trace};

macro_rules! cases {
    ($($name:ident, $seconds:literal, $story:literal;)+) => {
        pub(super) const CASES: &[Case] = &[$(Case {
            name: concat!("benign-", stringify!($name)),
            story: $story,
            seconds: $seconds,
            truth: Truth::Benign,
            make: $name,
        },)+];
    };
}

cases! {
    quiet, 900, "nothing but the shop itself";
    web_load, 600, "a campaign brings many customers: php-fpm takes every CPU";
    backup, 900, "cron packs the uploads with xz on every CPU";
    compile, 600, "an administrator builds a program and runs it";
    database, 600, "a report keeps mariadb busy";
    package_update, 400, "unattended-upgrades installs packages; their scripts run";
    cron_bursts, 480, "300 short jobs";
    logrotate, 300, "logs are packed";
    image_conversion, 400, "the shop makes thumbnails with a shell and ImageMagick";
    updatedb, 400, "the file index, with low priority";
    key_generation, 400, "an administrator makes keys";
    monitoring, 900, "a packaged agent uses a steady fifth of a CPU";
    deployment, 400, "a program of the owner's own, fresh in /opt, is restarted by systemd";
}

fn quiet(_: &mut Trace, _: f64) {}

fn web_load(trace: &mut Trace, at_s: f64) {
    trace.at(at_s).process("nginx").is_visited(180.0, 300.0);
    trace.process("nginx").burns(0.2).lasting_s(300.0);
    trace.process("mariadbd").burns(0.3).lasting_s(300.0);
    let workers: Vec<usize> = (0..8)
        .map(|_| {
            let worker = trace.at(at_s).process("php-fpm8.2").forks();
            worker.user(33, "www-data").id()
        })
        .collect();
    for worker in workers {
        trace.of(worker).hums(0.4).for_s(320.0);
    }
}

fn backup(trace: &mut Trace, at_s: f64) {
    let script = Image::script("/usr/local/sbin/backup", "/usr/bin/dash").aged_s(90 * 86_400);
    let backup = scheduled(trace, at_s)
        .forks()
        .after_s(0.02)
        .runs(script)
        .id();
    trace
        .at(at_s + 0.1)
        .of(backup)
        .forks()
        .execs("/usr/bin/tar")
        .burns(0.15)
        .for_s(600.0);
    let xz = trace
        .of(backup)
        .forks()
        .runs(Image::file("/usr/bin/xz").args(&["xz", "-T0"]));
    xz.threads(2).burns(1.9).for_s(600.0);
    trace.at(at_s + 601.0).of(backup).exits(0);
}

fn compile(trace: &mut Trace, at_s: f64) {
    let shell = logged_in(trace, at_s).id();
    let make = trace
        .at(at_s + 2.0)
        .of(shell)
        .forks()
        .execs("/usr/bin/make")
        .id();
    for file in 0..120 {
        let since_s = 2.5 + f64::from(file / 2) * 2.0;
        let cc = trace
            .at(at_s + since_s)
            .of(make)
            .forks()
            .execs("/usr/bin/x86_64-linux-gnu-gcc-12");
        let cc = cc.for_s(1.95).id();
        let cc1 = trace.at(at_s + since_s + 0.02).of(cc).forks();
        cc1.execs("/usr/lib/gcc/x86_64-linux-gnu/12/cc1")
            .burns(1.0)
            .for_s(1.9);
    }
    trace.at(at_s + 130.0).of(make).exits(0);
    let program = Image::file("/home/admin/project/build/program");
    trace
        .at(at_s + 135.0)
        .of(shell)
        .forks()
        .runs(program)
        .burns(1.0)
        .for_s(60.0);
}

fn database(trace: &mut Trace, at_s: f64) {
    trace
        .at(at_s)
        .process("mariadbd")
        .burns(1.8)
        .lasting_s(300.0);
}

fn package_update(trace: &mut Trace, at_s: f64) {
    let upgrade = Image::script("/usr/bin/unattended-upgrade", "/usr/bin/python3.11");
    trace.at(at_s);
    let timer = trace
        .of(0)
        .forks()
        .unit("apt-daily-upgrade.service")
        .runs(upgrade);
    let upgrade = timer.burns(0.9).lasting_s(40.0).id();
    let dpkg = trace
        .at(at_s + 30.0)
        .of(upgrade)
        .forks()
        .execs("/usr/bin/dpkg");
    let dpkg = dpkg.burns(0.8).lasting_s(60.0).id();
    for package in 0..20 {
        let path = format!("/var/lib/dpkg/info/package{package}.postinst");
        let script = Image::script(&path, "/usr/bin/dash").aged_s(3);
        let since_s = 35.0 + 3.0 * f64::from(package);
        trace
            .at(at_s + since_s)
            .of(dpkg)
            .forks()
            .runs(script)
            .burns(0.7)
            .for_s(0.4);
    }
    let update = trace
        .at(at_s + 60.0)
        .of(dpkg)
        .forks()
        .runs(Image::file("/tmp/dpkg.x7/hook"));
    update.burns(0.5).for_s(2.0);
    trace.at(at_s + 100.0).of(dpkg).exits(0);
    trace.at(at_s + 101.0).of(upgrade).exits(0);
}

fn cron_bursts(trace: &mut Trace, at_s: f64) {
    for job in 0..300 {
        let since_s = f64::from(job / 60) * 60.0 + f64::from(job % 60) * 0.05;
        let shell = scheduled(trace, at_s + since_s).for_s(0.5).id();
        let work = trace.at(at_s + since_s + 0.05).of(shell).forks();
        work.execs("/usr/bin/php8.2").burns(1.0).for_s(0.4);
    }
}

fn logrotate(trace: &mut Trace, at_s: f64) {
    trace.at(at_s);
    let logrotate = trace
        .of(0)
        .forks()
        .unit("logrotate.service")
        .execs("/usr/sbin/logrotate")
        .id();
    for log in 0..6 {
        let gzip = trace
            .at(at_s + 0.5 + 4.0 * f64::from(log))
            .of(logrotate)
            .forks();
        gzip.execs("/usr/bin/gzip").burns(1.0).for_s(3.9);
    }
    trace.at(at_s + 26.0).of(logrotate).exits(0);
}

fn image_conversion(trace: &mut Trace, at_s: f64) {
    for image in 0..10 {
        let since_s = 14.0 * f64::from(image);
        let shell = shelled_out(trace, at_s + since_s, "convert in.jpg out.jpg")
            .for_s(12.1)
            .id();
        let convert = trace.at(at_s + since_s + 0.01).of(shell).forks();
        convert
            .execs("/usr/bin/convert-im6.q16")
            .threads(2)
            .burns(2.0)
            .for_s(12.0);
    }
}

fn updatedb(trace: &mut Trace, at_s: f64) {
    trace.at(at_s);
    let updatedb = trace.of(0).forks().unit("plocate-updatedb.service");
    updatedb
        .execs("/usr/sbin/updatedb.plocate")
        .nice(19)
        .idle_class()
        .burns(0.9)
        .for_s(120.0);
}

fn key_generation(trace: &mut Trace, at_s: f64) {
    let shell = logged_in(trace, at_s).id();
    for key in 0..4 {
        let openssl = trace
            .at(at_s + 1.0 + 40.0 * f64::from(key))
            .of(shell)
            .forks();
        openssl.execs("/usr/bin/openssl").burns(1.0).for_s(30.0);
    }
}

fn monitoring(trace: &mut Trace, at_s: f64) {
    trace.at(at_s);
    let agent = trace.of(0).forks().unit("prometheus-node-exporter.service");
    agent
        .execs("/usr/bin/prometheus-node-exporter")
        .threads(4)
        .burns(0.2)
        .for_s(720.0);
}

fn deployment(trace: &mut Trace, at_s: f64) {
    trace.at(at_s);
    let image = Image::file("/opt/shop-api/bin/server").aged_s(45);
    let server = trace.of(0).forks().unit("shop-api.service").runs(image);
    server
        .threads(4)
        .connects([10, 0, 0, 5], 5_432)
        .hums(0.3)
        .for_s(250.0);
}
