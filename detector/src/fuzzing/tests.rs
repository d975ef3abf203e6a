//! The kept corpora are played through the targets, so that neither rots; and inputs that once broke a promise.

use std::{collections::BTreeSet, fs, path::PathBuf};

fn corpora() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

/// Plays one corpus; how many inputs it has.
fn play(name: &str, target: fn(&[u8])) -> usize {
    let folder = corpora().join(name);
    let inputs: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    for input in &inputs {
        target(&fs::read(input).unwrap());
    }
    inputs.len()
}

/// A test for each corpus, and a set of their names.
macro_rules! corpus {
    ($($test:ident: $target:ident),+ $(,)?) => {
        $(#[test]
        fn $test() {
            assert!(play(stringify!($target), super::$target) > 0);
        })+
        const PLAYED: &[&str] = &[$(stringify!($target)),+];
    };
}

corpus! {
    type_information_is_read_or_refused: btf,
    configurations_mean_the_same_when_written_again: config,
    records_are_what_their_bytes_say: decode,
    files_belong_to_the_package_of_debian_that_lists_them: dpkg,
    nothing_said_before_hides_mining: payload,
    recordings_are_read_again_as_they_were_written: recording,
    answers_of_receivers_are_bounded: response,
    files_belong_to_the_package_of_red_hat_that_lists_them: rpm,
    state_goes_on_whatever_its_file_holds: state,
    text_is_safe_to_show_and_means_its_bytes: text,
}

#[test]
fn every_target_has_a_corpus_that_is_played_and_a_program() {
    let stems = |folder: PathBuf| -> BTreeSet<String> {
        let entries = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        entries
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    let targets: BTreeSet<String> = PLAYED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(stems(corpora()), targets);
    assert_eq!(stems(corpora().join("../fuzz_targets")), targets);
}
