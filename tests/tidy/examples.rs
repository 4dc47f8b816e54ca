//! The house rules themselves, each on bad examples that it must find and good ones that it must
//! not.

use super::*;

/// The lines at which a rule finds something.
fn check(rule: impl Fn(&Source) -> Vec<Finding>, path: &str, text: &str, lines: &[usize]) {
    let source = Source::new(path, text.to_owned());
    let places: Vec<String> = rule(&source).into_iter().map(|finding| finding.place).collect();
    let expected: Vec<String> = lines.iter().map(|line| format!("{path}:{line}")).collect();
    assert_eq!(places, expected, "\n{text}");
}

#[test]
fn a_use_of_a_forbidden_room_is_found_however_it_is_written() {
    let state = "actors/src/state/tree.rs";
    check(imports, state, "use crate::protocol::Path;\nuse super::link::Ring;\n", &[]);
    check(imports, state, "use crate::verbs::put;", &[1]);
    check(
        imports,
        state,
        "use crate::{\n    protocol::{Path, Verb},\n    session::Turn,\n};",
        &[3],
    );
    check(imports, state, "fn f() { crate::resource::g(); }", &[1]);
    check(imports, state, "use super::super::verbs;\nuse super::super::protocol;", &[1]);
    check(imports, "actors/src/state/mod.rs", "use super::verbs::put;", &[1]);
    check(imports, "actors/src/ports.rs", "use super::{access::A, verbs::B};", &[1]);
    check(imports, state, "// use crate::verbs;\nconst S: &str = \"crate::verbs\";", &[]);
    check(imports, state, "#[cfg(test)]\nmod tests {\n    use crate::verbs::put;\n}", &[]);
    check(imports, state, "pub(crate) struct S;\npub(in crate::state) struct T;", &[]);
}

#[test]
fn adapters_know_the_configuration_and_no_other_adapter() {
    check(
        imports,
        "src/doors/ws.rs",
        "use crate::config::Config;\nuse fanal_actors::Session;",
        &[],
    );
    check(imports, "src/doors/ws.rs", "use crate::auth::Users;", &[1]);
    check(imports, "src/config/mod.rs", "use crate::app;", &[1]);
    check(imports, "src/cli/serve.rs", "use crate::app::run;\nuse crate::store::File;", &[2]);
    check(imports, "src/app.rs", "use crate::{auth, doors, store};", &[]);
    check(imports, "src/somewhere.rs", "", &[1]);
}

#[test]
fn the_world_and_the_runtime_are_found_where_they_do_not_belong() {
    let pure = "actors/src/state/tree.rs";
    check(world, pure, "use std::{\n    fs::File,\n    sync::Arc,\n};", &[2, 2]);
    check(world, pure, "fn f() { std::env::var(); }", &[1, 1]);
    check(world, pure, "use std::time::{Duration, SystemTime};", &[1]);
    check(world, pure, "use actix::Actor;", &[1, 1]);
    check(world, "actors/src/session/mod.rs", "use actix::Actor;", &[]);
    check(world, pure, "mod environment;\nuse std::fmt;", &[]);
}

#[test]
fn a_panic_is_found_unless_it_is_in_a_test() {
    let path = "src/doors/ws.rs";
    check(panics, path, "fn f() { x.unwrap(); }\nfn g() { x.expect(\"y\"); }", &[1, 2]);
    check(panics, path, "fn f() { panic!(\"x\") }\nfn g() { unreachable!() }", &[1, 2]);
    check(panics, path, "fn f() { x.unwrap_or(1); no_panic!(); } // panic!", &[]);
    check(panics, path, "#[expect(unused)]\nfn f() -> &'static str { \"panic!\" }", &[]);
    check(panics, path, "fn f() { if c == '\"' {} x.unwrap(); let s = \"\"; }", &[1]);
    check(
        panics,
        path,
        "#[cfg(test)]\nmod t {\n    fn f() { x.unwrap() }\n}\nfn g() { todo!() }",
        &[5],
    );
    check(panics, path, "#[cfg(not(test))]\nfn f() { x.unwrap() }", &[2]);
    check(panics, path, "#[cfg(test)]\nfn f(a: [u8; 2]) { a.get(0).unwrap(); }", &[]);
    check(panics, path, "#![cfg(test)]\nfn f() { x.unwrap() }", &[]);
    check(panics, path, "fn f() { r#\"\"panic!\"\"#; b'\"'; x.unwrap(); }", &[1]);
    check(panics, path, "/* a /* panic!() */ todo!() */ fn f() { todo!() }", &[1]);
}

#[test]
fn a_test_module_in_a_file_of_its_own_is_known() {
    let text = "#[cfg(test)]\nmod cases;\nmod other;";
    let modules = |path| Source::new(path, text.to_owned()).test_modules;
    assert_eq!(modules("src/doors/ws.rs"), ["src/doors/ws/cases"]);
    assert_eq!(modules("src/doors/mod.rs"), ["src/doors/cases"]);
    assert_eq!(modules("src/main.rs"), ["src/cases"]);
}

#[test]
fn a_long_file_is_found_and_its_tests_are_not_counted() {
    let lines = |count: usize| "//! x\n".repeat(count);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(50));
    check(length, "src/app.rs", &lines(FILE_LINES_MAX), &[]);
    check(length, "src/app.rs", &lines(FILE_LINES_MAX + 1), &[FILE_LINES_MAX]);
    check(length, "src/app.rs", &(lines(FILE_LINES_MAX) + &tests), &[]);
}

#[test]
fn a_wide_line_is_found_unless_it_cannot_be_broken() {
    check(width, "src/app.rs", &format!("a\n// {} b", "ä".repeat(95)), &[]);
    check(width, "src/app.rs", &format!("a\n// {} b", "ä".repeat(96)), &[2]);
    check(width, "src/app.rs", &format!("//! https://{}", "a".repeat(100)), &[]);
}

#[test]
fn a_file_that_does_not_say_what_it_is_is_found() {
    check(module_doc, "src/app.rs", "//! The story.\n", &[]);
    check(module_doc, "src/app.rs", "// The story.\n", &[1]);
    check(module_doc, "src/app.rs", "\nuse x;\n//! late", &[1]);
}

#[test]
fn a_mark_of_unfinished_work_is_found() {
    check(unfinished, "src/app.rs", &format!("a\n// {}: b", UNFINISHED[0]), &[2]);
    check(unfinished, "src/app.rs", "// todos los dias", &[]);
}

#[test]
fn a_path_of_a_machine_is_found_and_a_relative_one_is_not() {
    let places = ["/here/".to_owned()];
    let count = |text| machine_paths("README.md", text, &places).len();
    assert_eq!(count("see /here/it is"), 1);
    assert_eq!(count("see \"/here/it\""), 1);
    assert_eq!(count("see ../here/it or ~/here/ or there/here/it or $X/here/it"), 0);
}

#[test]
fn a_name_in_a_document_that_leads_nowhere_is_found() {
    let dead = |path: &str, text: &str| -> Vec<String> {
        dead_names(path, text).into_iter().map(|finding| finding.place).collect()
    };
    assert_eq!(dead("README.md", "`tests/tidy.rs`, [it](tests/tidy.rs), tests/prose.rs"), [""; 0]);
    assert_eq!(dead("README.md", "a\n`tests/no_such.rs`"), ["README.md:2"]);
    assert_eq!(dead("README.md", "```\nscripts/no-such --now\n```"), ["README.md:2"]);
    assert_eq!(dead("tests/a.md", "[it](../tests/tidy.rs#top) [web](https://x.org/y)"), [""; 0]);
    assert_eq!(dead("tests/a.md", "[it](tests/tidy.rs)"), ["tests/a.md:1"]);
    assert_eq!(dead("README.md", "`actors/src/*/mod.rs`"), [""; 0]);
}

#[test]
fn a_command_in_a_document_that_the_binary_does_not_know_is_found() {
    let unknown = |text: &str| -> Vec<String> {
        let findings = unknown_commands("README.md", text, &|command| command == "demo");
        findings.into_iter().map(|finding| finding.place).collect()
    };
    assert_eq!(unknown("`fanal demo` and fanal is `fanal --config x`"), [""; 0]);
    assert_eq!(
        unknown("```\n$ fanal dance\ncargo run --release -- sing\n```"),
        [2, 3].map(|n| format!("README.md:{n}"))
    );
}
