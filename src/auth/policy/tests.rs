//! Rules against requests: each row says which verbs a user may use at a path, and is checked for
//! all eleven of them.

use fanal_actors::{Identity, Path, Verb, View};
use proptest::prelude::*;

use super::*;

const NAMES: [(&str, Verb); 11] = [
    ("GET", Verb::Get),
    ("PUT", Verb::Put),
    ("POST", Verb::Post),
    ("CREATE", Verb::Create),
    ("MKDIR", Verb::Mkdir),
    ("DELETE", Verb::Delete),
    ("LIST", Verb::List),
    ("STREAM", Verb::Stream),
    ("STOP", Verb::Stop),
    ("LINK", Verb::Link),
    ("UNLINK", Verb::Unlink),
];

const ALL: &str = "GET PUT POST CREATE MKDIR DELETE LIST STREAM STOP LINK UNLINK";

fn path(text: &str) -> Path {
    Path::new(text.split('/').filter(|name| !name.is_empty()))
}

/// `ann`, `ann:student,tutor`, or `:anonymous` for who gave no credentials.
fn identity(text: &str) -> Identity {
    let (user, roles) = text.split_once(':').unwrap_or((text, ""));
    let roles = roles.split(',').filter(|role| !role.is_empty()).map(str::to_owned).collect();
    Identity { user: user.into(), roles, ..Identity::default() }
}

/// A rule as `allow READ,WRITE to role:student user:ann at a/** b`.
fn block(text: &str) -> RuleBlock {
    let mut block = RuleBlock { name: text.into(), ..RuleBlock::default() };
    let mut words = text.split(' ');
    let effect = words.next().unwrap();
    let rights = words.next().unwrap().split(',').map(str::to_owned).collect();
    match effect {
        "allow" => block.allow = rights,
        "deny" => block.deny = rights,
        other => panic!("{other}"),
    }
    let mut at = false;
    for word in words {
        match word {
            "to" => {}
            "at" => at = true,
            word if at => block.paths.push(word.into()),
            word => match word.split_once(':').unwrap() {
                ("role", role) => block.roles.push(role.into()),
                ("user", user) => block.users.push(user.into()),
                (other, _) => panic!("{other}"),
            },
        }
    }
    block
}

fn policy(preset: AuthPreset, rules: &[&str]) -> Policy {
    let rules = rules.iter().map(|text| block(text)).collect();
    from_config(&Auth { mode: AuthMode::Users, preset, rules, ..Auth::default() })
}

/// Each row: who, where, and the verbs that are allowed.
#[track_caller]
fn check(policy: &Policy, rows: &[(&str, &str, &str)]) {
    for (who, at, expected) in rows {
        let identity = identity(who);
        for (name, verb) in NAMES {
            let allowed = expected.split(' ').any(|verb| verb == name);
            let seen = policy.allows(&identity, verb, &path(at));
            assert_eq!(seen, allowed, "{who} {name} {at}");
            let explanation = policy.explain(&identity, verb, &path(at));
            assert_eq!(explanation.is_allowed(), allowed, "{who} {name} {at}: {explanation}");
        }
    }
}

#[test]
fn the_preset_is_the_original_in_production() {
    let policy = policy(AuthPreset::Lighthouse, &[]);
    check(
        &policy,
        &[
            ("ann", "", "LIST"),
            ("ann", "live", "GET STREAM STOP LIST"),
            ("ann", "live/x", "LIST"),
            ("ann", "user", "LIST"),
            ("ann", "user/ann", "LIST"),
            ("ann", "user/ann/model", "GET PUT STREAM STOP LIST"),
            ("ann", "user/ann/input", "GET PUT STREAM STOP LIST"),
            ("ann", "user/ann/other", "LIST"),
            ("ann", "user/ann/model/x", "LIST"),
            ("ann", "user/bob/model", "GET STREAM STOP LIST"),
            ("ann", "user/bob/input", "GET STREAM STOP LIST"),
            ("ann", "user/bob/other", "LIST"),
            ("ann", "metrics", "LIST"),
            ("ann", "metrics/laser", "LIST"),
            ("ann", "$fanal", ""),
            ("ann", "$fanal/auth/users/ann", ""),
            ("ann:deploy", "metrics", ALL),
            ("ann:deploy", "metrics/laser", ALL),
            ("ann:deploy", "metrics/a/b/c", ALL),
            ("ann:deploy", "live", "GET STREAM STOP LIST"),
            ("ann:deploy", "user/bob/model", "GET STREAM STOP LIST"),
            ("ann:deploy", "", "LIST"),
            ("ann:deploy", "$fanal", ""),
            ("ann:admin", "", ALL),
            ("ann:admin", "live", ALL),
            ("ann:admin", "user/bob/model", ALL),
            ("ann:admin", "$fanal", ALL),
            ("ann:admin", "$fanal/auth/users/bob", ALL),
            (":anonymous", "live", ""),
            (":anonymous", "user//model", ""),
            (":anonymous", "", ""),
            ("*", "user/*/model", "GET PUT STREAM STOP LIST"),
            ("*", "user/ann/model", "GET STREAM STOP LIST"),
            ("{user}", "user/ann/model", "GET STREAM STOP LIST"),
            ("a/b", "user/a/b/model", "LIST"),
        ],
    );
    let admin = identity("root:admin");
    assert!(policy.may_hear_of_verbs(&admin) && !policy.may_hear_of_verbs(&identity("ann")));
}

#[test]
fn each_group_gives_its_verbs() {
    for (group, verbs) in [
        ("READ", "GET STREAM STOP"),
        ("WRITE", "PUT"),
        ("CREATE", "CREATE MKDIR"),
        ("WRITE,CREATE", "PUT POST CREATE MKDIR"),
        ("DELETE", "DELETE"),
        ("LIST", "LIST"),
        ("LINK", ""),
        ("LINK,WRITE", "PUT LINK UNLINK"),
        ("LINK,PUT", "PUT LINK UNLINK"),
        ("ADMIN", ALL),
        ("GET", "GET"),
        ("PUT", "PUT"),
        ("POST", "PUT POST CREATE"),
        ("MKDIR", "MKDIR"),
        ("STREAM", "STREAM"),
        ("STOP", "STOP"),
        ("UNLINK", ""),
        ("UNLINK,PUT", "PUT UNLINK"),
    ] {
        let policy = policy(AuthPreset::None, &[&format!("allow {group} at a")]);
        check(&policy, &[("ann", "a", verbs), ("ann", "b", ""), ("ann", "", ""), (":x", "a", "")]);
    }
}

#[test]
fn what_is_denied_is_denied_whatever_others_allow() {
    for group in ["READ", "WRITE", "CREATE", "DELETE", "LIST", "ADMIN", "POST", "STREAM"] {
        let deny = format!("deny {group} at a/b");
        let taken = Rights::from_name(group).unwrap();
        let left: Vec<&str> = NAMES
            .iter()
            .filter(|(_, verb)| !taken.touch(Rights::needed(*verb)))
            .map(|(name, _)| *name)
            .collect();
        let left = left.join(" ");
        let without_delete = ALL.replace("DELETE ", "");
        let above = if taken.touch(Rights::DELETE) { without_delete.as_str() } else { ALL };
        for rules in [["allow ADMIN at **", deny.as_str()], [deny.as_str(), "allow ADMIN at **"]] {
            let policy = policy(AuthPreset::None, &rules);
            check(
                &policy,
                &[
                    ("ann", "a/b", &left),
                    ("ann", "a/c", ALL),
                    ("ann", "a/b/c", ALL),
                    // What is denied below cannot go with what is above it.
                    ("ann", "a", above),
                    ("ann", "", above),
                    ("ann:admin", "a/b", ALL),
                ],
            );
        }
    }
}

#[test]
fn rules_are_for_roles_and_users() {
    let policy = policy(
        AuthPreset::None,
        &[
            "allow READ to role:student role:tutor at open",
            "allow WRITE to user:ann at open",
            "allow LIST at open",
            "allow GET to role:anonymous at open",
            "deny READ to user:mallory at **",
        ],
    );
    check(
        &policy,
        &[
            ("ann", "open", "PUT LIST"),
            ("ann:student", "open", "GET PUT LIST STREAM STOP"),
            ("bob:student", "open", "GET LIST STREAM STOP"),
            ("bob:tutor", "open", "GET LIST STREAM STOP"),
            ("bob:student,tutor", "open", "GET LIST STREAM STOP"),
            ("bob:Student", "open", "LIST"),
            ("bob:stud", "open", "LIST"),
            ("bob", "open", "LIST"),
            ("mallory:student", "open", "LIST"),
            (":anonymous", "open", "GET"),
            (":", "open", ""),
            (":student", "open", "GET STREAM STOP"),
        ],
    );
}

#[test]
fn patterns_say_where() {
    let policy = policy(
        AuthPreset::None,
        &[
            "allow READ at room/*/temperature **/public",
            "allow WRITE at user/{user}/** user/{user}",
            "allow LIST at a/**",
            "deny WRITE at user/{user}/secret/**",
            "allow READ to role:stats at $fanal/stats/**",
        ],
    );
    check(
        &policy,
        &[
            ("ann", "room/1/temperature", "GET STREAM STOP"),
            ("ann", "room/1/2/temperature", ""),
            ("ann", "room/temperature", ""),
            ("ann", "public", "GET STREAM STOP"),
            ("ann", "x/y/public", "GET STREAM STOP"),
            ("ann", "public/x", ""),
            ("ann", "$fanal/public", ""),
            ("ann", "user/ann", "PUT"),
            ("ann", "user/ann/a", "PUT"),
            ("ann", "user/ann/a/b", "PUT"),
            ("ann", "user/ann/secret", ""),
            ("ann", "user/ann/secret/b", ""),
            ("ann", "user/bob/a", ""),
            ("bob", "user/bob/a", "PUT"),
            ("ann", "a", "LIST"),
            ("ann", "a/b/c", "LIST"),
            ("ann", "b", ""),
            ("ann", "$fanal/stats/rate", ""),
            ("ann:stats", "$fanal/stats/rate", "GET STREAM STOP"),
            ("ann:stats", "$fanal/auth/users/ann", ""),
        ],
    );
}

#[test]
fn modes_without_rules_are_for_everybody_but_what_belongs_to_the_broker() {
    let mode = |mode| from_config(&Auth { mode, ..Auth::default() });
    let (all, none) = (mode(AuthMode::AllowAll), mode(AuthMode::AllowNone));
    for who in ["ann", ":", "root:admin"] {
        check(&all, &[(who, "a/b", ALL), (who, "", ALL), (who, "$fanal/auth/users/x", "")]);
        check(&all, &[(who, "$other", ALL)]);
        check(&none, &[(who, "a/b", ""), (who, "", ""), (who, "$fanal", "")]);
    }
}

#[test]
fn a_listing_shows_what_may_be_read_or_listed() {
    let rules = ["allow LIST at room/** open", "allow GET at user/*/model", "deny ADMIN at room/9"];
    let mut auth = Auth {
        mode: AuthMode::Users,
        preset: AuthPreset::None,
        rules: rules.iter().map(|text| block(text)).collect(),
        list_all: false,
        ..Auth::default()
    };
    let policy = from_config(&auth);
    let view = View { policy: policy.into(), identity: identity("ann").into() };
    for (at, shown, all_below) in [
        ("room/1", true, true),
        ("room", true, false),
        ("room/9", false, true),
        ("open", true, false),
        ("open/x", false, false),
        ("user", false, false),
        ("user/bob", false, false),
        ("user/bob/model", true, false),
        ("user/bob/input", false, false),
        ("$fanal", false, false),
        ("", false, false),
    ] {
        assert_eq!(view.shows(&path(at)), shown, "{at}");
        assert_eq!(view.shows_all_below(&path(at)), all_below, "{at}");
    }
    auth.list_all = true;
    let view = View { policy: from_config(&auth).into(), identity: identity("ann").into() };
    for (at, shown) in [("user", true), ("x/y", true), ("$fanal", false), ("$fanal/auth", false)] {
        assert_eq!(view.shows(&path(at)), shown, "{at}");
        assert_eq!(view.shows_all_below(&path(at)), shown, "{at}");
    }
}

fn any_rule() -> impl Strategy<Value = String> {
    let names = || prop::sample::select(vec!["a", "b", "*", "**", "{user}", "$fanal"]);
    let paths = prop::collection::vec(names(), 1..4).prop_map(|names| names.join("/"));
    let rights = prop::sample::select(vec![
        "READ", "WRITE", "CREATE", "DELETE", "LIST", "LINK", "ADMIN", "POST", "GET", "STOP",
    ]);
    let effect = prop::sample::select(vec!["allow", "deny"]);
    let to = prop::sample::select(vec!["", "to role:r ", "to user:a "]);
    (effect, rights, to, paths).prop_map(|(effect, rights, to, paths)| {
        format!("{effect} {rights} {to}at {paths}").replace("  ", " ")
    })
}

fn any_path() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec!["a", "b", "c", "$fanal"]);
    prop::collection::vec(names, 0..4).prop_map(|names| names.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn less_permission_never_allows_more(
        rules in prop::collection::vec(any_rule(), 1..6),
        removed in any::<prop::sample::Index>(),
        at in any_path(),
        who in prop::sample::select(vec!["a", "b:r", "c:x", ":r"]),
    ) {
        let texts: Vec<&str> = rules.iter().map(String::as_str).collect();
        let full = policy(AuthPreset::None, &texts);
        let index = removed.index(texts.len());
        let mut fewer = texts.clone();
        let taken = fewer.remove(index);
        let reduced = policy(AuthPreset::None, &fewer);
        let identity = identity(who);
        let at = path(&at);
        for verb in Verb::ALL {
            let (before, after) =
                (full.allows(&identity, verb, &at), reduced.allows(&identity, verb, &at));
            if taken.starts_with("allow") {
                prop_assert!(before || !after, "{verb:?} without {taken}");
            } else {
                prop_assert!(!before || after, "{verb:?} without {taken}");
            }
            // Nothing is allowed that nobody allows, and the order has no meaning.
            let mut turned = texts.clone();
            turned.reverse();
            let turned = policy(AuthPreset::None, &turned).allows(&identity, verb, &at);
            prop_assert_eq!(turned, before);
            prop_assert_eq!(full.explain(&identity, verb, &at).is_allowed(), before);
        }
    }

    #[test]
    fn a_user_without_a_role_has_no_more_than_one_with_it(
        rules in prop::collection::vec(any_rule(), 1..6),
        at in any_path(),
    ) {
        let allowing: Vec<&str> =
            rules.iter().map(String::as_str).filter(|text| text.starts_with("allow")).collect();
        let policy = policy(AuthPreset::None, &allowing);
        let at = path(&at);
        for verb in Verb::ALL {
            let without = policy.allows(&identity("b"), verb, &at);
            prop_assert!(!without || policy.allows(&identity("b:r"), verb, &at));
        }
    }
}
