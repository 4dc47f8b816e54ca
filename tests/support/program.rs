//! Where the server's binary is.
//!
//! Cargo tells the tests of the package that the binary belongs to. Tests of another package find
//! it beside themselves, and have it built if it is not there or is older than what it is made of:
//! a test of an old server says nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The binary of the server, of the same build profile as the test.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match option_env!("CARGO_BIN_EXE_fanal") {
        Some(path) => PathBuf::from(path),
        None => beside_the_test(),
    })
}

fn beside_the_test() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it lies");
    // <target>/<profile>/deps/<test>
    let folder = test.ancestors().nth(2).expect("a test lies in the folder `deps` of its profile");
    let program = folder.join(format!("fanal{}", std::env::consts::EXE_SUFFIX));
    if !is_current(&program) {
        build(folder);
        assert!(program.exists(), "`cargo build` has not made {}", program.display());
    }
    program
}

/// Whether the binary is younger than all of its sources, which cargo lists in a file beside it.
fn is_current(program: &Path) -> bool {
    let Some(built) = changed(program) else { return false };
    let Ok(list) = fs::read_to_string(program.with_extension("d")) else { return false };
    // In the list a space inside a name has a backslash in front of it.
    let list = list.replace("\\ ", "\0");
    let mut sources = list.split_whitespace().skip(1).map(|source| source.replace('\0', " "));
    sources.all(|source| changed(Path::new(&source)).is_some_and(|time| time <= built))
}

fn changed(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).ok()?.modified().ok()
}

/// Builds the server into this folder. Cargo lets only one do so at a time, and for the next there
/// is nothing left to do.
fn build(folder: &Path) {
    let profile = folder.file_name().and_then(|name| name.to_str()).expect("profiles have names");
    let target = folder.parent().expect("the folder of a profile lies in that of the target");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--package", "fanal", "--bin", "fanal", "--profile"])
        .arg(if profile == "debug" { "dev" } else { profile })
        .arg("--target-dir")
        .arg(target)
        .status()
        .expect("cargo, which has built this test, can be started");
    assert!(status.success(), "the server could not be built; see `cargo build`");
}
