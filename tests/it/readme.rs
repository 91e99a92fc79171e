//! The README tells the truth about the flags.
//!
//! Never: runs its commands; `tests/readme.sh` does.

use a8registry::config::markdown_table;

use crate::support::Setup;

/// What the README has between its marks.
fn shown() -> &'static str {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("<!-- flags -->\n").expect("the mark is there");
    rest.split_once("<!-- /flags -->").expect("the mark is there").0
}

#[test]
fn the_table_of_flags_is_that_of_the_program() {
    assert!(shown() == markdown_table(), "put this between the marks of the README:\n{}", markdown_table());
}

#[test]
fn every_flag_of_the_table_is_in_the_help() {
    let help = Setup::new("--help").run();
    assert_eq!(help.status, Some(0));
    let mut flags = 0;
    for row in shown().lines().skip(2) {
        let mut cells = row.split('`');
        let (flag, variable) = (cells.nth(1).expect("a flag"), cells.nth(1).expect("a variable"));
        let is_named =
            |name: &str| help.stdout.split([' ', '[', ']', '=', ',', '\n']).any(|word| word == name);
        assert!(is_named(flag) && is_named(variable), "{flag} {variable}: {}", help.stdout);
        assert_eq!(variable.to_lowercase().replace("a8_", "--"), flag);
        flags += 1;
    }
    assert!(30 < flags, "{flags} flags");
}
