//! Whom the names of programs stand for: the lists of `lineage.rs`, entry by entry where nothing else tells them.

use crate::detect::{
    lineage::{is_package_manager, is_shell, is_web_service},
    testing::{exec, key},
};

/// Which of `names` an image in `/usr/bin` is recognised by.
fn recognised<'a>(names: &[&'a str], is: impl Fn(&crate::input::Exec) -> bool) -> Vec<&'a str> {
    let by = |name: &&&str| is(&exec(key(900, 1), key(1, 0), &format!("/usr/bin/{name}")));
    names.iter().filter(by).copied().collect()
}

#[test]
fn shells_are_known_by_name() {
    let shells = [
        "sh", "bash", "dash", "ash", "zsh", "ksh", "ksh93", "fish", "busybox",
    ];
    assert_eq!(recognised(&shells, is_shell), shells);
    assert_eq!(recognised(&["php", "sshd", "bashful"], is_shell), [""; 0]);
}

#[test]
fn package_managers_are_known_by_name() {
    let managers = [
        "apt",
        "apt-get",
        "aptitude",
        "dpkg",
        "dpkg-deb",
        "unattended-upgrade",
        "dnf",
        "dnf5",
        "microdnf",
        "yum",
        "rpm",
        "zypper",
        "packagekitd",
    ];
    assert_eq!(recognised(&managers, is_package_manager), managers);
    assert_eq!(
        recognised(&["pip", "npm", "apt-x"], is_package_manager),
        [""; 0]
    );
}

#[test]
fn web_services_are_known_by_name_and_those_with_versions_by_how_it_begins() {
    let services = [
        "apache2",
        "nginx",
        "litespeed",
        "caddy",
        "node",
        "java",
        "uwsgi",
        "php-cgi",
        "php-fpm8.2",
        "lsphp81",
        "httpd",
        "frankenphp",
        "gunicorn3",
        "openlitespeed",
    ];
    assert_eq!(recognised(&services, is_web_service), services);
    assert_eq!(
        recognised(&["php", "nginx-debug", "apache"], is_web_service),
        [""; 0]
    );
}
