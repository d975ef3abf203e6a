//! Secrets as systemd hands them over (`LoadCredential=`): from the file to the receiver, and after they were rotated.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use detector::config::Config;
use tests::recorder::{Recorder, Request};

use crate::{
    again,
    events::{Host, send, sinks},
    server::until,
};

/// Puts a credential in place as systemd does: another file under the same name, for the service alone.
fn install(folder: &Path, secret: &str) {
    let new = folder.join(".#token");
    fs::write(&new, secret).expect("writable");
    fs::set_permissions(&new, PermissionsExt::from_mode(0o400)).expect("ours");
    fs::rename(new, folder.join("token")).expect("writable");
}

/// Incident and `Authorization` of each request.
fn shown(requests: &[Request]) -> Vec<(String, String)> {
    let authorization = |request: &Request| {
        let lines = request.head.lines();
        let mut values = lines.filter_map(|line| line.strip_prefix("authorization: "));
        values.next().unwrap_or_default().to_owned()
    };
    let subject = |request: &Request| {
        request.body["subject"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    requests
        .iter()
        .map(|request| (subject(request), authorization(request)))
        .collect()
}

#[test]
fn a_credential_of_systemds_reaches_the_receiver_and_so_does_the_one_that_replaces_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    install(folder.path(), "first\n");
    let variables = [("CREDENTIALS_DIRECTORY", folder.path().as_os_str())];
    assert!(again::passes("credentials::within_the_service", &variables));
}

#[tokio::test]
#[ignore = "started by the test above, with the variable set"]
async fn within_the_service() {
    let folder = again::folder("CREDENTIALS_DIRECTORY");
    let receiver = Recorder::kind();
    let text = format!(
        "[sink.http]\nurl = \"{}\"\nbearer_token_file = \"$CREDENTIALS_DIRECTORY/token\"\n",
        receiver.url("/")
    );
    let mut sender = sinks(&text);
    let mut host = Host::new("web01");
    send(&sender, &host.opened("a"));
    until(|| receiver.requests().len() == 1).await;
    // Rotated while the daemon runs, without a word to it.
    install(&folder, "second");
    send(&sender, &host.opened("b"));
    until(|| receiver.requests().len() == 2).await;
    // `systemctl reload`, to another path of the same receiver.
    install(&folder, "third");
    let config = Config::parse(
        Path::new("test.toml"),
        &text.replace("/\"\n", "/events\"\n"),
    );
    sender.reload(&config.expect("a configuration"));
    send(&sender, &host.opened("c"));
    until(|| receiver.requests().len() == 3).await;
    // What cannot be read leaves the old one in force.
    fs::remove_file(folder.join("token")).expect("it is there");
    send(&sender, &host.opened("d"));
    until(|| receiver.requests().len() == 4).await;
    let expected = [
        ("a", "first"),
        ("b", "second"),
        ("c", "third"),
        ("d", "third"),
    ];
    let expected = expected.map(|(id, token)| (id.to_owned(), format!("bearer {token}")));
    assert_eq!(shown(&receiver.requests()), expected);
    assert_eq!(receiver.requests()[2].path, "/events");
}
