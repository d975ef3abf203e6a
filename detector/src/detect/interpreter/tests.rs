use super::*;
use crate::detect::testing::{exec, key};

fn image(program: &str, args: &[&str]) -> Exec {
    let mut exec = exec(key(9, 1), key(1, 0), program);
    exec.args = args
        .iter()
        .flat_map(|arg| [arg.as_bytes(), b"\0"].concat())
        .collect();
    exec.args_total_bytes = u32::try_from(exec.args.len()).expect("short");
    exec
}

#[test]
fn the_file_is_found_behind_the_options_of_every_interpreter() {
    let cases: &[(&str, &[&str], &str)] = &[
        ("/bin/dash", &["sh", "x"], "x"),
        (
            "/bin/bash",
            &["bash", "-e", "-o", "pipefail", "+x", "x.sh", "-c"],
            "x.sh",
        ),
        (
            "/bin/bash",
            &["bash", "--rcfile", "f", "--", "-x.sh"],
            "-x.sh",
        ),
        (
            "/usr/bin/python3.11",
            &["python3", "-u", "-W", "ignore", "-Xdev", "x.py", "-c"],
            "x.py",
        ),
        (
            "/usr/bin/perl",
            &["perl", "-w", "-I", "lib", "-MPOSIX", "-i.e", "./x"],
            "./x",
        ),
        (
            "/usr/bin/php8.2",
            &["php", "-d", "a=b", "-n", "x.php"],
            "x.php",
        ),
        ("/usr/bin/php8.2", &["php", "-f", "x.php"], "x.php"),
        (
            "/usr/bin/node",
            &["node", "--require", "m", "--max-old-space-size=4", "x.js"],
            "x.js",
        ),
        (
            "/usr/bin/ruby3.1",
            &["ruby", "-W0", "-r", "set", "x.rb"],
            "x.rb",
        ),
        ("/bin/busybox", &["busybox", "sh", "x"], "x"),
        ("/bin/busybox", &["sh", "-x", "x"], "x"),
    ];
    for (program, args, expected) in cases {
        let image = image(program, args);
        assert_eq!(runs(&image), Runs::Script(expected.as_bytes()), "{args:?}");
    }
    let loader = "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
    let image = image(
        loader,
        &[
            "ld.so",
            "--library-path",
            "/x",
            "--argv0",
            "sshd",
            "./x",
            "-c",
        ],
    );
    assert_eq!(runs(&image), Runs::Loaded(b"./x"));
}

#[test]
fn code_without_a_file_is_told_by_where_it_comes_from() {
    use Inline::*;
    let cases: &[(&str, &[&str], Inline)] = &[
        ("/bin/dash", &["sh", "-c", "curl x | sh"], Argument),
        ("/bin/bash", &["bash", "-lc", "x"], Argument),
        ("/bin/dash", &["sh"], Stdin),
        ("/bin/bash", &["bash", "-s", "x"], Stdin),
        ("/bin/bash", &["bash", "/dev/fd/63"], Descriptor),
        ("/usr/bin/python3", &["python3", "-Ic", "x"], Argument),
        ("/usr/bin/python3", &["python3", "-"], Stdin),
        (
            "/usr/bin/python3",
            &["python3", "/proc/self/fd/3"],
            Descriptor,
        ),
        ("/usr/bin/perl", &["perl", "-lne", "x"], Argument),
        ("/usr/bin/php", &["php", "-r", "x"], Argument),
        ("/usr/bin/node", &["node", "--eval=x"], Argument),
        ("/bin/busybox", &["busybox", "ash", "-c", "x"], Argument),
    ];
    for (program, args, expected) in cases {
        assert_eq!(
            runs(&image(program, args)),
            Runs::Inline(*expected),
            "{args:?}"
        );
    }
}

#[test]
fn what_runs_no_file_is_itself() {
    let cases: &[(&str, &[&str])] = &[
        ("/usr/bin/id", &["sh", "x"]),
        ("/usr/bin/python3", &["python3", "-m", "http.server"]),
        ("/usr/bin/php", &["php", "-S", "127.0.0.1:1"]),
        ("/bin/busybox", &["busybox", "wget", "x"]),
        ("/lib64/ld-linux-x86-64.so.2", &["ld.so", "--verify", "x"]),
        (
            "/usr/sbin/php-fpm8.2",
            &["php-fpm: master process (/etc/php)"],
        ),
        ("/usr/bin/ld", &["ld", "x.o"]),
    ];
    for (program, args) in cases {
        assert_eq!(runs(&image(program, args)), Runs::Itself, "{args:?}");
    }
}

#[test]
fn an_operand_that_was_cut_off_is_no_path() {
    let mut image = image("/bin/bash", &["bash", "-x", "/tmp/x.sh"]);
    image.args_total_bytes = 2_000;
    image.args = image.args[..image.args.len() - 4].into();
    assert_eq!(runs(&image), Runs::Inline(Inline::Beyond));
    image.args = b"bash\0-x\0"[..].into();
    assert_eq!(runs(&image), Runs::Inline(Inline::Beyond));
}

#[test]
fn any_arguments_are_read_without_a_panic() {
    for program in [
        "/bin/bash",
        "/usr/bin/perl",
        "/usr/bin/php",
        "/bin/busybox",
        "/lib/ld-2.31.so",
    ] {
        for bytes in 0..=u16::MAX {
            let [one, two] = bytes.to_be_bytes();
            let mut image = image(program, &[]);
            image.args = [b'-', one, two].into();
            image.args_total_bytes = 3;
            let _ = runs(&image);
        }
    }
}
