//! Five hundred hosts at once: their events through one real Alertmanager and one real JetStream.

use detector::{incident::Severity, output::Change};

use tests::recorder::Recorder;

use crate::{
    alertmanager::Alertmanager,
    events::{Host, send, sinks},
    nats,
    server::{find, free_port, until},
};

const HOSTS: usize = 500;

#[tokio::test]
async fn campaign_on_five_hundred_hosts_is_one_page_and_the_stream_has_every_event() {
    let (Some(alertmanager), Some(nats_server)) =
        (find("prometheus-alertmanager"), find("nats-server"))
    else {
        return;
    };
    let pager = Recorder::kind();
    let alertmanager = Alertmanager::start(&alertmanager, &pager, None).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = free_port();
    let _nats = nats::server(&nats_server, folder.path(), port).await;
    nats::make_stream(port).await;
    let password = nats::password(folder.path());
    let sinks = sinks(&format!(
        "[sink.alertmanager]\nurls = [\"{}\"]\nrate_per_s = 10_000\n{}rate_per_s = 10_000\n",
        alertmanager.url(),
        nats::section(port, &password),
    ));
    for number in 0..HOSTS {
        let mut host = Host::new(&format!("web{number:03}"));
        let id = format!("i-{number}");
        send(
            &sinks,
            &host.incident(&id, Change::Opened, Severity::Critical, Some("cafe")),
        );
        send(&sinks, &host.heartbeat());
    }
    until(|| sinks.depth() == 0).await;
    assert_eq!(alertmanager.alerts("DetectorIncident").len(), HOSTS);
    // The first page may come before the last host is heard of; then it is told again, still as one.
    until(|| {
        pager.requests().iter().any(|request| {
            request.body["alerts"]
                .as_array()
                .is_some_and(|alerts| alerts.len() == HOSTS)
        })
    })
    .await;
    let groups: std::collections::BTreeSet<String> = pager
        .requests()
        .iter()
        .map(|request| request.body["groupKey"].to_string())
        .collect();
    assert_eq!(groups.len(), 1, "{groups:?}");
    assert_eq!(
        nats::stored(&nats::connect(port).await).await.len(),
        2 * HOSTS
    );
}
