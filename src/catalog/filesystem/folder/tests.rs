//! Looks at real folders, one after the other.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// A folder, what was told of it, and the looks so far.
struct Case {
    dir: TempDir,
    folder: Folder,
    told: BTreeMap<String, Vec<String>>,
}

impl Case {
    fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let folder = Folder::new(dir.path().join("cat"), 1000);
        fs::create_dir(dir.path().join("cat")).expect("created");
        Self { dir, folder, told: BTreeMap::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("cat").join(name)
    }

    fn write(&self, name: &str, values: &[&str]) {
        fs::write(self.path(name), body(values)).expect("written");
    }

    fn look(&mut self) -> Looked {
        let Self { folder, told, .. } = self;
        folder.look(&mut |namespace, instances| {
            let values = instances.iter().map(|it| it.endpoint.value().to_owned()).collect();
            told.insert(namespace.to_string(), values);
        })
    }

    #[track_caller]
    fn check(&mut self, want: &[(&str, &[&str])]) {
        while self.look().is_unsettled {}
        let told: Vec<_> = self.told.iter().filter(|(_, values)| !values.is_empty()).collect();
        let told: Vec<_> =
            told.iter().map(|(name, values)| (&***name, values.iter().map(|it| &**it).collect())).collect();
        let want: Vec<(&str, Vec<&str>)> =
            want.iter().map(|(name, values)| (*name, values.to_vec())).collect();
        assert_eq!(told, want);
    }

    /// As if the file had been written long ago.
    fn settle(&self, name: &str) {
        let file = File::options().write(true).open(self.path(name)).expect("opened");
        file.set_modified(SystemTime::now() - 2 * SETTLED).expect("set");
    }
}

fn body(values: &[&str]) -> String {
    let entry =
        |value: &&str| format!(r#"{{"service_name":"s","endpoint":{{"type":"tcp","value":"{value}"}}}}"#);
    format!(r#"{{"instances":[{}]}}"#, values.iter().map(entry).collect::<Vec<_>>().join(","))
}

#[test]
fn each_plain_file_is_a_namespace() {
    let mut case = Case::new();
    case.check(&[]);
    case.write("a.json", &["x"]);
    case.write("b.conf", &["y", "z"]);
    case.write("c.txt", &["no"]);
    case.write(".hidden.json", &["no"]);
    case.write(".json", &["no"]);
    case.write("json", &["no"]);
    fs::create_dir(case.path("dir.json")).expect("created");
    symlink(case.path("nothing"), case.path("dangling.json")).expect("linked");
    symlink(case.path("c.txt"), case.path("link.json")).expect("linked");
    case.check(&[("a", &["x"]), ("b", &["y", "z"]), ("link", &["no"])]);
}

#[test]
fn json_wins_over_conf() {
    let mut case = Case::new();
    case.write("a.conf", &["conf"]);
    case.check(&[("a", &["conf"])]);
    case.write("a.json", &["json"]);
    case.check(&[("a", &["json"])]);
    // What was passed over is not shown because the other is gone, but because it changed.
    fs::remove_file(case.path("a.json")).expect("removed");
    case.check(&[]);
    case.check(&[]);
    case.write("a.conf", &["new"]);
    case.check(&[("a", &["new"])]);
    fs::create_dir(case.path("a.json")).expect("created");
    case.check(&[("a", &["new"])]);
    fs::remove_dir(case.path("a.json")).expect("removed");
    case.write("a.json", &["json"]);
    case.check(&[("a", &["json"])]);
    fs::rename(case.path("a.json"), case.path("a.conf")).expect("renamed");
    case.check(&[("a", &["json"])]);
}

#[test]
fn what_is_gone_is_gone_at_the_second_look() {
    let mut case = Case::new();
    case.write("a.json", &["x"]);
    case.check(&[("a", &["x"])]);
    fs::rename(case.path("a.json"), case.path("a.bak")).expect("renamed");
    let looked = case.look();
    assert!(looked.is_unsettled && looked.told == 0, "{looked:?}");
    fs::rename(case.path("a.bak"), case.path("a.json")).expect("renamed");
    case.check(&[("a", &["x"])]);
    fs::remove_dir_all(case.path("")).expect("removed");
    case.check(&[]);
    fs::create_dir(case.path("")).expect("created");
    case.write("a.json", &["y"]);
    case.check(&[("a", &["y"])]);
}

#[test]
fn a_broken_file_keeps_the_last_good_content() {
    let mut case = Case::new();
    for broken in ["", "{", "[]", "{\"instances\":7}"] {
        fs::write(case.path("a.json"), broken).expect("written");
        case.check(&[]);
        assert_eq!(case.look().faults, 1, "{broken}");
    }
    case.write("a.json", &["x"]);
    case.check(&[("a", &["x"])]);
    assert_eq!(case.look().faults, 0);
    let whole = body(&["x", "y"]);
    fs::write(case.path("a.json"), &whole[..whole.len() - 3]).expect("written");
    case.check(&[("a", &["x"])]);
    assert_eq!(case.look().faults, 1);
    // Back to what it was before: all is well again.
    case.write("a.json", &["x"]);
    case.check(&[("a", &["x"])]);
    assert_eq!(case.look().faults, 0);
    fs::write(case.path("a.json"), whole).expect("written");
    case.check(&[("a", &["x", "y"])]);
}

#[test]
fn a_file_that_is_just_being_written_is_no_fault_yet() {
    let mut case = Case::new();
    case.write("a.json", &["x"]);
    case.check(&[("a", &["x"])]);
    fs::write(case.path("a.json"), "{").expect("written");
    let looked = case.look();
    assert!(looked.is_unsettled && looked.faults == 0, "{looked:?}");
    case.write("a.json", &["y"]);
    assert_eq!(case.look().faults, 0);
    case.check(&[("a", &["y"])]);
}

#[test]
fn changes_that_times_do_not_show_are_seen() {
    let mut case = Case::new();
    case.write("a.json", &["x"]);
    case.check(&[("a", &["x"])]);
    for value in ["y", "z", "x"] {
        // As long, as soon as can be.
        case.write("a.json", &[value]);
        case.check(&[("a", &[value])]);
    }
    case.settle("a.json");
    case.check(&[("a", &["x"])]);
    let modified = fs::metadata(case.path("a.json")).and_then(|it| it.modified()).expect("a time");
    case.write("a.json", &["w"]);
    File::options()
        .write(true)
        .open(case.path("a.json"))
        .and_then(|file| file.set_modified(modified))
        .expect("set");
    case.check(&[("a", &["w"])]);
}

#[test]
fn what_did_not_change_is_not_told_again() {
    let mut case = Case::new();
    case.write("a.json", &["x"]);
    case.check(&[("a", &["x"])]);
    case.settle("a.json");
    assert_eq!(case.look().told, 0);
    case.write("a.json", &["x"]);
    assert_eq!(case.look().told, 0);
}

#[test]
fn a_volume_is_swapped_as_a_whole() {
    let mut case = Case::new();
    let version = |case: &Case, name: &str, value: &str| {
        fs::create_dir(case.path(name)).expect("created");
        case.write(&format!("{name}/a.json"), &[value]);
        symlink(name, case.path("..tmp")).expect("linked");
        fs::rename(case.path("..tmp"), case.path("..data")).expect("renamed");
    };
    version(&case, "..1", "x");
    symlink("..data/a.json", case.path("a.json")).expect("linked");
    case.check(&[("a", &["x"])]);
    version(&case, "..2", "y");
    fs::remove_dir_all(case.path("..1")).expect("removed");
    case.check(&[("a", &["y"])]);
}

#[test]
fn a_file_that_is_too_long_or_a_folder_that_is_none_is_a_fault() {
    let mut case = Case::new();
    case.write("a.json", &["x"]);
    case.check(&[("a", &["x"])]);
    File::options()
        .write(true)
        .open(case.path("a.json"))
        .and_then(|file| file.set_len(FILE_MAX + 1))
        .expect("set");
    case.check(&[("a", &["x"])]);
    assert_eq!(case.look().faults, 1);
    fs::remove_dir_all(case.path("")).expect("removed");
    fs::write(case.dir.path().join("cat"), "").expect("written");
    case.check(&[("a", &["x"])]);
    assert_eq!(case.look().faults, 2);
}
