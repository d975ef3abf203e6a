//! Inbound connections by who listens.

use detector_common::event::{
    connection::{ListenKey, change},
    kind,
};

use crate::{
    detect::{
        listener::Served,
        testing::{Bench, SECOND, exec, header, key, process},
    },
    input::{Accepts, Input, Listener, ProcessKey, Sockets},
    output::Change,
};

const INIT: ProcessKey = ProcessKey {
    tgid: 1,
    start_ns: 0,
};
const HOST: u32 = 4_026_531_840;

fn at(port: u32) -> ListenKey {
    ListenKey {
        network_namespace: HOST,
        port,
    }
}

fn listen(bench: &mut Bench, of: ProcessKey, socket: u64, port: u16, change: u32) {
    let now_ns = bench.now_ns;
    let mut connection: detector_common::event::Connection = zerocopy::FromZeros::new_zeroed();
    connection.header = header(kind::CONNECTION, now_ns);
    connection.process = process(of);
    connection.socket = socket;
    connection.change = change;
    connection.network_namespace = HOST;
    connection.local_port = port;
    bench.apply(Input::Connection(connection));
}

fn snapshot(bench: &mut Bench, listeners: &[(ProcessKey, u32)]) {
    let now_ns = bench.now_ns;
    let listeners = listeners
        .iter()
        .map(|(process, port)| Listener {
            key: at(*port),
            process: *process,
        })
        .collect();
    let sockets = Sockets {
        listeners,
        flows: Vec::new(),
    };
    bench.apply(Input::Sockets(now_ns, &sockets));
}

fn accept(bench: &mut Bench, port: u32, count: u64) {
    bench.accepts.push(Accepts {
        key: at(port),
        count,
    });
    bench.second();
}

fn total(bench: &Bench, of: ProcessKey) -> Option<u64> {
    bench.engine.served(of).map(|served| served.total)
}

#[test]
fn accepts_belong_to_whoever_listens_before_the_start_or_since() {
    let mut bench = Bench::new();
    let (old, new) = (key(700, SECOND), key(901, 11 * SECOND));
    bench.run(INIT, old, "/usr/sbin/nginx");
    bench.run(INIT, new, "/usr/sbin/apache2");
    accept(&mut bench, 80, 3);
    snapshot(&mut bench, &[(old, 80)]);
    listen(&mut bench, new, 1, 8_080, change::LISTEN);
    accept(&mut bench, 80, 4);
    accept(&mut bench, 8_080, 5);
    assert_eq!(
        bench.engine.served(old),
        Some(Served {
            last_pass: 0,
            total: 7,
            // 4 in the three passes since the baseline; the 3 came before their listener was known.
            per_second: 4.0 / 3.0,
        })
    );
    assert_eq!(total(&bench, new), Some(5));
    assert_eq!(total(&bench, INIT), None, "it listens nowhere");
}

#[test]
fn who_joins_a_port_later_gets_nothing_until_the_first_is_gone() {
    let mut bench = Bench::new();
    let (web, intruder) = (key(700, SECOND), key(901, 11 * SECOND));
    bench.run(INIT, web, "/usr/sbin/nginx");
    bench.run(INIT, intruder, "/usr/sbin/other");
    listen(&mut bench, intruder, 2, 80, change::LISTEN);
    snapshot(&mut bench, &[(web, 80)]);
    accept(&mut bench, 80, 10);
    assert_eq!(
        (total(&bench, web), total(&bench, intruder)),
        (Some(10), Some(0))
    );
    listen(&mut bench, INIT, 99, 80, change::UNLISTEN);
    accept(&mut bench, 80, 1);
    assert_eq!(
        (total(&bench, web), total(&bench, intruder)),
        (Some(10), Some(1)),
        "an unknown socket that closed is the one from before the start"
    );
}

#[test]
fn another_network_namespace_has_ports_of_its_own() {
    let mut bench = Bench::new();
    let web = key(700, SECOND);
    bench.run(INIT, web, "/usr/sbin/nginx");
    listen(&mut bench, web, 1, 80, change::LISTEN);
    bench.accepts.push(Accepts {
        key: ListenKey {
            network_namespace: HOST + 1,
            port: 80,
        },
        count: 9,
    });
    bench.second();
    assert_eq!(total(&bench, web), Some(0));
}

#[test]
fn a_daemon_that_left_its_socket_to_its_child_still_stands_for_the_group() {
    let mut bench = Bench::new();
    let (starter, worker) = (key(700, SECOND), key(701, 2 * SECOND));
    bench.run(INIT, starter, "/usr/sbin/apache2");
    listen(&mut bench, starter, 1, 80, change::LISTEN);
    bench.fork(starter, worker);
    bench.exit(starter, 0);
    accept(&mut bench, 80, 6);
    assert_eq!(total(&bench, starter), Some(6));
}

#[test]
fn load_of_a_web_service_tells_how_many_connections_it_came_with() {
    let mut bench = Bench::new();
    let (nginx, php) = (key(700, SECOND), key(800, SECOND));
    bench.run(INIT, nginx, "/usr/sbin/nginx");
    bench.run(INIT, php, "/usr/sbin/php-fpm8.2");
    snapshot(&mut bench, &[(nginx, 80)]);
    for _ in 0..15 {
        bench.accepts.push(Accepts {
            key: at(80),
            count: 50,
        });
        bench.burn(1, &[(php, SECOND * 19 / 10)]);
    }
    let incidents = bench.incidents();
    let (change, incident) = incidents.first().expect("saturation");
    let impact = incident.impact.expect("it costs something");
    let rate = impact.accepts_per_second.expect("nginx listens for it");
    assert_eq!(*change, Change::Opened);
    assert!((45.0..=50.0).contains(&rate), "{rate}");
}

#[test]
fn a_thousand_ports_are_bounded_and_refusals_counted() {
    let mut bench = Bench::new();
    let web = key(700, SECOND);
    bench.exec(&exec(web, INIT, "/usr/sbin/nginx"));
    for port in 1..=1_030 {
        listen(&mut bench, web, u64::from(port), port, change::LISTEN);
    }
    assert_eq!(bench.engine.counters().listeners_refused, 6);
}
