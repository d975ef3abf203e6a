//! A real nginx that wants a client certificate: right, none, of another authority, expired and renewed in place.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use tests::{process::Owned, recorder::Recorder};

use crate::{
    events::{Host, Sinks, finish, send, sinks},
    server::{find, free_port, start, until},
};

/// Files of two authorities and of what the first one signed.
pub struct Certificates {
    pub ca: PathBuf,
    pub other_ca: PathBuf,
    pub server: PathBuf,
    pub server_key: PathBuf,
    expired: PathBuf,
    expired_key: PathBuf,
    client: PathBuf,
    client_key: PathBuf,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

impl Certificates {
    pub fn make(folder: &Path) -> Certificates {
        let write = |name: &str, pem: String| {
            let path = folder.join(name);
            fs::write(&path, pem).expect("writable");
            fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("ours");
            path
        };
        let (ours, other) = (authority("ours"), authority("other"));
        let signed = |name: &str, until_year: i32| {
            let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
            params.not_after = date_time_ymd(until_year, 1, 1);
            let key = KeyPair::generate().expect("a key");
            let certificate = params.signed_by(&key, &ours).expect("a certificate");
            (
                write(&format!("{name}.pem"), certificate.pem()),
                write(&format!("{name}.key"), key.serialize_pem()),
            )
        };
        let (server, server_key) = signed("server", 4096);
        let (expired, expired_key) = signed("expired", 2001);
        let (client, client_key) = signed("client", 4096);
        Certificates {
            ca: write("ca.pem", ours.pem()),
            other_ca: write("other.pem", other.pem()),
            server,
            server_key,
            expired,
            expired_key,
            client,
            client_key,
        }
    }
}

/// nginx before `receiver`, with that certificate.
async fn nginx(
    program: &Path,
    folder: &Path,
    port: u16,
    receiver: &Recorder,
    files: &Certificates,
    certificate: (&Path, &Path),
) -> Owned {
    let config = folder.join("nginx.conf");
    let text = format!(
        "daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1; events {{}}\n\
         http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;\n\
         fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
         server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {cert}; ssl_certificate_key {key};\n\
         ssl_client_certificate {ca}; ssl_verify_client on;\n\
         location / {{ proxy_pass http://127.0.0.1:{to}; }} }} }}\n",
        folder = folder.display(),
        cert = certificate.0.display(),
        key = certificate.1.display(),
        ca = files.ca.display(),
        to = receiver.port,
    );
    fs::write(&config, text).expect("writable");
    let mut command = Command::new(program);
    command.arg("-c").arg(&config).arg("-p").arg(folder);
    // As root it would become another user, who may not write to the folder.
    command.args(["-g", "user root;"]);
    start("nginx", &mut command, folder, port).await
}

fn config(port: u16, ca: &Path, client: Option<(&Path, &Path)>) -> String {
    let client = client.map_or_else(String::new, |(certificate, key)| {
        format!(
            "client_cert_file = \"{}\"\nclient_key_file = \"{}\"\n",
            certificate.display(),
            key.display()
        )
    });
    format!(
        "[sink.http]\nurl = \"https://localhost:{port}/\"\nca_file = \"{}\"\nretry_initial_ms = 1\nretry_max_ms = 100\n{client}",
        ca.display()
    )
}

#[tokio::test]
async fn nginx_takes_events_from_a_known_client_and_we_give_them_to_a_known_server_only() {
    let Some(program) = find("nginx") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = Certificates::make(folder.path());
    let receiver = Recorder::kind();
    let port = free_port();
    let client = (files.client.as_path(), files.client_key.as_path());
    let good = (files.server.as_path(), files.server_key.as_path());
    let expired = (files.expired.as_path(), files.expired_key.as_path());
    let mut host = Host::new("web01");
    let retried = |sinks: &Sinks| sinks.counters().any(|(_, counters)| counters.retried > 2);

    // An expired server gets nothing; once it is renewed, it gets what waited.
    let mut server = nginx(&program, folder.path(), port, &receiver, &files, expired).await;
    let sender = sinks(&config(port, &files.ca, Some(client)));
    send(&sender, &host.opened("i-1"));
    until(|| retried(&sender)).await;
    assert_eq!(receiver.requests().len(), 0);
    server.end().expect("it ends");
    let _server = nginx(&program, folder.path(), port, &receiver, &files, good).await;
    assert_eq!(finish(sender).await, (1, 0));
    assert_eq!(receiver.requests().len(), 1);

    // A server of an authority we do not trust.
    let distrusting = sinks(&config(port, &files.other_ca, Some(client)));
    send(&distrusting, &host.opened("i-2"));
    until(|| retried(&distrusting)).await;
    drop(distrusting);

    // nginx answers 400 to a client without a certificate: refused, with its words.
    let unknown = sinks(&config(port, &files.ca, None));
    send(&unknown, &host.opened("i-3"));
    assert_eq!(finish(unknown).await, (0, 1));

    // A certificate that is renewed in place is taken up without a restart.
    let renewed = (folder.path().join("own.pem"), folder.path().join("own.key"));
    let install = |from: (&Path, &Path)| {
        for (from, to) in [(from.0, &renewed.0), (from.1, &renewed.1)] {
            fs::copy(from, to).expect("a copy");
            fs::set_permissions(to, PermissionsExt::from_mode(0o600)).expect("ours");
        }
    };
    install(expired);
    let renewing = sinks(&config(port, &files.ca, Some((&renewed.0, &renewed.1))));
    send(&renewing, &host.opened("i-4"));
    until(|| {
        renewing
            .counters()
            .any(|(_, counters)| counters.dead_lettered + counters.retried > 0)
    })
    .await;
    install(client);
    send(&renewing, &host.opened("i-5"));
    until(|| {
        receiver
            .requests()
            .iter()
            .any(|request| request.body["subject"] == "i-5")
    })
    .await;
    assert!(
        receiver
            .requests()
            .iter()
            .all(|request| request.body["subject"] != "i-3")
    );
}
