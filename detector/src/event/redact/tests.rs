use super::*;

/// One argv, written with ` | ` between its arguments.
fn redacted(argv: &str) -> String {
    let argv = argv.replace(" | ", "\0");
    let out = Redactor::default().arguments(argv.as_bytes()).into_owned();
    String::from_utf8(out).unwrap().replace('\0', " | ")
}

#[test]
fn secrets_go_and_everything_else_stays() {
    for (argv, expected) in [
        // By the name of an option or a variable.
        (
            "app | --password=hunter2 | -v",
            "app | --password=[redacted] | -v",
        ),
        (
            "app | --db-password | hunter 2 | -v",
            "app | --db-password | [redacted] | -v",
        ),
        ("app | --api_key=abc", "app | --api_key=[redacted]"),
        ("app | --apiKey | abc", "app | --apiKey | [redacted]"),
        (
            "env | MYSQL_PWD=hunter2 | AWS_SECRET_ACCESS_KEY=x/y+z | app",
            "env | MYSQL_PWD=[redacted] | AWS_SECRET_ACCESS_KEY=[redacted] | app",
        ),
        (
            "java | -Dtrust.storePassword=x | -jar | a.jar",
            "java | -Dtrust.storePassword=[redacted] | -jar | a.jar",
        ),
        ("app | --token | --verbose", "app | --token | --verbose"),
        ("app | --password", "app | --password"),
        // By program.
        (
            "mysql | -uroot | -phunter2 | shop",
            "mysql | -uroot | -p[redacted] | shop",
        ),
        (
            "/usr/bin/mysqldump | -p | shop",
            "/usr/bin/mysqldump | -p | shop",
        ),
        (
            "sudo | mariadb | -phunter2",
            "sudo | mariadb | -p[redacted]",
        ),
        (
            "sshpass | -p | hunter2 | ssh | -p | 22 | host",
            "sshpass | -p | [redacted] | ssh | -p | 22 | host",
        ),
        (
            "redis-cli | -a | hunter2 | ping",
            "redis-cli | -a | [redacted] | ping",
        ),
        (
            "curl | -u | bob:hunter2 | https://a.example/",
            "curl | -u | bob:[redacted] | https://a.example/",
        ),
        ("curl | -ubob:hunter2", "curl | -ubob:[redacted]"),
        ("curl | --user=bob:hunter2", "curl | --user=bob:[redacted]"),
        ("curl | -u | bob", "curl | -u | bob"),
        ("ssh | -p | 2222 | host", "ssh | -p | 2222 | host"),
        ("mkdir | -p | /srv/a", "mkdir | -p | /srv/a"),
        // By form.
        (
            "git | clone | https://bob:hunter2@git.example/a.git",
            "git | clone | https://bob:[redacted]@git.example/a.git",
        ),
        (
            "psql | postgres://:hunter2@db/shop?sslmode=require",
            "psql | postgres://:[redacted]@db/shop?sslmode=require",
        ),
        (
            "curl | https://a.example/?q=1&access_token=abc&page=2#x",
            "curl | https://a.example/?q=1&access_token=[redacted]&page=2#x",
        ),
        (
            "curl | -H | Authorization: Bearer abc.def",
            "curl | -H | Authorization: [redacted]",
        ),
        ("curl | -HX-Api-Key:abc", "curl | -HX-Api-Key:[redacted]"),
        (
            "deploy | ghp_0123456789abcdefghijABCDEFGHIJ012345",
            "deploy | [redacted]",
        ),
        ("aws | AKIAIOSFODNN7EXAMPLE", "aws | [redacted]"),
        (
            "app | eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
            "app | [redacted]",
        ),
        // In a script for a shell.
        (
            "sh | -c | cd /srv && mysql -uroot -phunter2 shop < a.sql",
            "sh | -c | cd /srv && mysql -uroot -p[redacted] shop < a.sql",
        ),
        (
            "sh | -c | curl -H 'Authorization: Basic abc' https://a.example/ --token \"a b\" -v",
            "sh | -c | curl -H 'Authorization: [redacted]' https://a.example/ --token [redacted] -v",
        ),
        (
            "bash | -c | ssh db \"sudo sh -c 'mysql -phunter2 shop'\"",
            "bash | -c | ssh db \"sudo sh -c 'mysql -p[redacted] shop'\"",
        ),
        ("sh | -c |  \" ' \" -p", "sh | -c |  \" ' \" -p"),
        // Nothing to hide, though it looks a little like it.
        (
            "app | --password-file=/etc/pw | --passwordless",
            "app | --password-file=/etc/pw | --passwordless",
        ),
        (
            "git | log | --author=bob | https://a.example:8080/x@y",
            "git | log | --author=bob | https://a.example:8080/x@y",
        ),
        (
            "xmrig | -o | pool.example:3333 | -u | 4wallet | -p | x",
            "xmrig | -o | pool.example:3333 | -u | 4wallet | -p | x",
        ),
        (
            "vi | secret | token | password",
            "vi | secret | token | password",
        ),
    ] {
        assert_eq!(redacted(argv), expected);
    }
}

#[test]
fn bytes_that_are_no_text_stay_as_they_are() {
    let redactor = Redactor::default();
    let argv = b"\xff\xfe\0--pass\xffword=a\0--token=\xff\0\0 \x1b[31m\0";
    assert_eq!(
        &*redactor.arguments(argv),
        b"\xff\xfe\0--pass\xffword=a\0--token=[redacted]\0\0 \x1b[31m\0"
    );
    let all: Vec<u8> = (0..=255).collect();
    assert!(matches!(redactor.arguments(&all), Cow::Borrowed(_)));
    for length in 0..64 {
        let argv = b"mysql\0-p\0--password\0=\0-psecret\0sh\0-c\0mysql -p 'x --token";
        // No cut of an argv is a panic.
        redactor.arguments(&argv[..length.min(argv.len())]);
    }
}

#[test]
fn expressions_of_ones_own_take_out_their_group_or_all() {
    let redactor =
        Redactor::new(&["customer-([0-9]+)".to_owned(), "(?i)hunter2".to_owned()]).unwrap();
    assert_eq!(
        &*redactor.arguments(b"app\0customer-4711\0HUNTER2x"),
        b"app\0customer-[redacted]\0[redacted]x"
    );
    assert_eq!(
        &*redactor.text(b"hunter2 https://a:b@c"),
        b"[redacted] https://a:[redacted]@c"
    );
    assert_ne!(redactor, Redactor::default());
    for wrong in ["(", "((a{0,1000}){0,1000}){0,1000}"] {
        let error = Redactor::new(&[wrong.to_owned()]).expect_err("refused");
        assert!(error.contains("cannot be used"), "{error}");
    }
    assert!(Redactor::new(&vec![String::new(); OWN_MAX + 1]).is_err());
}
