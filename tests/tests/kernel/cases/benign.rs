//! A busy day on the live kernel: everything an honest server does flat out, with the real programs, one after the
//! other under one daemon. None of it pages.

use std::time::{Duration, Instant};

use tests::{
    chores::{self, CHORES},
    daemon::Daemon,
    told::{Suspect, Told, seconds},
    web_stack::{self, WebStack},
};

use crate::{
    program::watching,
    watch::{Turn, obstacle, skip},
};

/// Customers at a time.
const CUSTOMERS: usize = 8;

/// Watches what is said about a piece of work and adds a line to the table; what pages is a fault.
fn judge(daemon: &Daemon, name: &str, suspects: &[Suspect], faults: &mut Vec<String>) -> Vec<Told> {
    let events = daemon.events();
    let told: Vec<Told> = suspects
        .iter()
        .map(|suspect| suspect.told(&events))
        .collect();
    for told in &told {
        println!(
            "| {name} | {} | {} | {} | {} |",
            seconds(told.opened),
            told.severity(),
            told.findings().join(", "),
            told.title(),
        );
        if told.critical.is_some() {
            faults.push(format!("{name} pages: {} {:#}", told.title(), told.last));
        }
    }
    told
}

/// As many customers as the host can bear view a page again and again. Returns how many views succeeded.
fn crowd(stack: &WebStack, page: &'static str) -> usize {
    let (server, until) = (stack.address(), Instant::now() + chores::LASTS);
    let customer = move || {
        let mut views = 0;
        while Instant::now() < until {
            views +=
                usize::from(web_stack::view(server, page).is_ok_and(|page| page.status == 200));
        }
        views
    };
    let customers: Vec<_> = (0..CUSTOMERS)
        .map(|_| std::thread::spawn(customer))
        .collect();
    customers
        .into_iter()
        .map(|customer| customer.join().expect("it does not panic"))
        .sum()
}

#[test]
fn a_busy_day_pages_nobody() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let _alone = Turn::alone();
    let stack = match WebStack::start() {
        Ok(stack) => stack,
        Err(error) => return skip(&format!("{error:#}")),
    };
    let mut daemon = watching(["--for", "590s"]);
    println!("| a busy day | opened | severity | findings | title |");
    println!("| --- | --- | --- | --- | --- |");
    let mut faults = Vec::new();
    for chore in CHORES {
        let mut work = chore.start().expect("it starts");
        let done = work.finish();
        let suspect = Suspect {
            folder: work.folder().to_str().expect("text").to_owned(),
            pid: work.session().pid(),
            started: work.session().started,
        };
        // What was found in the last second is told by the next pass.
        let _news = daemon.events_from(daemon.events().len(), Duration::from_secs(2));
        judge(&daemon, chore.name, &[suspect], &mut faults);
        if let Err(error) = done {
            faults.push(format!("{}: {error:#}", chore.name));
        }
    }
    // Last: what is usual for the shop is known by then, and that these are more customers than usual.
    for (name, page) in [
        ("php-fpm and nginx under load", "/render.php"),
        ("ImageMagick by www-data through php", "/thumbnail.php"),
    ] {
        let started = Instant::now();
        let views = crowd(&stack, page);
        let suspects = stack.masters().map(|pid| Suspect {
            folder: stack.folder().to_str().expect("text").to_owned(),
            pid,
            started,
        });
        let told = judge(&daemon, name, &suspects, &mut faults);
        let is_traffic = |told: &Told| told.findings().contains(&"impact.traffic_saturation");
        if page == "/render.php" && !told.iter().any(is_traffic) {
            faults.push(format!("{name}: customers are not named as traffic"));
        }
        if views == 0 {
            faults.push(format!("{name}: no view succeeded; {}", stack.logs()));
        }
    }
    assert!(daemon.stop().expect("it stops").success());
    assert!(faults.is_empty(), "{faults:#?}\n{}", daemon.account());
}
