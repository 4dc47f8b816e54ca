//! What is known of the users and rules in the tree, by what was read last.
//!
//! An entry that is wrong counts for nothing and is complained of once, for a value is looked at
//! when it has changed only. Nothing that is wrong opens anything, though: a denying rule that is
//! broken stays as it was the last time it was good; if it never was, it denies everything to whom
//! it names, or to everybody but admins if that cannot be read either.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fanal_actors::{Effect, Name, Pattern, Rights, Rule, Value};

use super::super::policy;
use super::super::users::{Record, Users};
use super::entry::{self, Broken, Entry};

/// Where everything is that a broken rule denies. A wildcard alone does not stand for what belongs
/// to the broker.
const EVERYWHERE: [&str; 2] = ["**", "$fanal/**"];

/// What is there now: names below the directory, and values.
pub struct Read {
    pub users: Vec<(Vec<Name>, Value)>,
    pub rules: Vec<(Vec<Name>, Value)>,
}

/// What is not as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub users: bool,
    pub rules: bool,
}

/// See the module's text.
pub struct Known {
    admin_role: String,
    /// `None` until it was read.
    users: Option<Arc<Users>>,
    user_entries: HashMap<String, UserEntry>,
    rule_entries: BTreeMap<String, RuleEntry>,
}

struct UserEntry {
    value: Value,
    record: Option<Record>,
}

struct RuleEntry {
    value: Value,
    /// What counts.
    rule: Option<Rule>,
    /// The last one that was not broken.
    good: Option<Rule>,
}

impl Known {
    /// Nothing yet. Users with `admin = true` have `admin_role`.
    pub fn new(admin_role: &str) -> Self {
        Known {
            admin_role: admin_role.to_owned(),
            users: None,
            user_entries: HashMap::new(),
            rule_entries: BTreeMap::new(),
        }
    }

    /// The users, if they were read.
    pub fn users(&self) -> Option<Arc<Users>> {
        self.users.clone()
    }

    /// The rules that count.
    pub fn rules(&self) -> Vec<Rule> {
        self.rule_entries.values().filter_map(|entry| entry.rule.clone()).collect()
    }

    /// How many users and rules count.
    pub fn counts(&self) -> (usize, usize) {
        let users = self.user_entries.values().filter(|entry| entry.record.is_some()).count();
        let rules = self.rule_entries.values().filter(|entry| entry.rule.is_some()).count();
        (users, rules)
    }

    /// Takes what was read in the place of what is known.
    pub fn take(&mut self, read: Read) -> Changes {
        Changes { users: self.take_users(read.users), rules: self.take_rules(read.rules) }
    }

    fn take_users(&mut self, read: Vec<(Vec<Name>, Value)>) -> bool {
        let mut before = std::mem::take(&mut self.user_entries);
        let mut changed = self.users.is_none();
        for (names, value) in read {
            let name = names.join("/");
            let entry = match before.remove(&name) {
                Some(entry) if entry.value == value => entry,
                old => {
                    let record = self.user(&names, &name, &value);
                    changed |= record != old.and_then(|old| old.record);
                    UserEntry { value, record }
                }
            };
            self.user_entries.insert(name, entry);
        }
        changed |= before.values().any(|gone| gone.record.is_some());
        if changed {
            let records = self.user_entries.iter().filter_map(|(name, entry)| {
                entry.record.clone().map(|record| (name.clone(), record))
            });
            self.users = Some(Arc::new(Users::from_records(records)));
        }
        changed
    }

    fn user(&self, names: &[Name], name: &str, value: &Value) -> Option<Record> {
        let place = format!("$fanal/auth/users/{}", name.escape_debug());
        let outcome = if names.len() == 1 {
            entry::user(value.as_bytes(), &self.admin_role)
        } else {
            Err("expected each user in the directory itself".to_owned())
        };
        match outcome {
            Ok(record) => record,
            Err(reason) => {
                log::warn!("{place} is left out: {reason}");
                None
            }
        }
    }

    fn take_rules(&mut self, read: Vec<(Vec<Name>, Value)>) -> bool {
        let mut before = std::mem::take(&mut self.rule_entries);
        let mut changed = false;
        for (names, value) in read {
            let name = names.join("/");
            let entry = match before.remove(&name) {
                Some(entry) if entry.value == value => entry,
                old => {
                    let (rule, good) = old.map_or((None, None), |old| (old.rule, old.good));
                    let entry = rule_entry(&name, value, rule.clone(), good);
                    changed |= entry.rule != rule;
                    entry
                }
            };
            self.rule_entries.insert(name, entry);
        }
        changed | before.values().any(|gone| gone.rule.is_some())
    }
}

/// What a value makes of a rule of which `before` counted, and that was `good` at some time.
fn rule_entry(name: &str, value: Value, before: Option<Rule>, good: Option<Rule>) -> RuleEntry {
    let place = format!("$fanal/auth/rules/{}", name.escape_debug());
    let denies =
        |rule: &Option<Rule>| rule.as_ref().is_some_and(|rule| rule.effect == Effect::Deny);
    let denied = denies(&good);
    let rule = match entry::rule(value.as_bytes()) {
        Entry::Good(block) => {
            let rule = policy::rule(&block, &place);
            return RuleEntry { value, rule: Some(rule.clone()), good: Some(rule) };
        }
        Entry::Nothing if denies(&before) => {
            log::warn!("{place} has no value: it stays as it was, for it denies something");
            before
        }
        Entry::Nothing => {
            log::info!("{place} has no value yet and is left out");
            None
        }
        Entry::BrokenAllow(reason) if !denied => {
            log::warn!("{place} is left out: {reason}");
            None
        }
        Entry::BrokenAllow(reason) => {
            log::warn!("{place} stays as it was, for it denied something: {reason}");
            good.clone()
        }
        Entry::BrokenDeny(reason, _) if denied => {
            log::warn!("{place} stays as it was, for it denies something: {reason}");
            good.clone()
        }
        Entry::BrokenDeny(reason, broken) => {
            let whom = if broken == Broken::default() {
                "everybody but admins"
            } else {
                "the users and roles that it names"
            };
            log::error!(
                "{place} is broken and may be meant to deny something, so it denies everything to \
                 {whom} until it is mended or deleted: {reason}"
            );
            Some(closed(place, broken))
        }
    };
    RuleEntry { value, rule, good }
}

/// The rule that denies everything to those who are named.
fn closed(place: String, broken: Broken) -> Rule {
    Rule {
        name: format!("{place}, which is broken"),
        effect: Effect::Deny,
        rights: Rights::ALL,
        roles: broken.roles,
        users: broken.users,
        paths: EVERYWHERE.iter().map(|text| Pattern::new(text)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::secrets;
    use super::*;

    fn value(json: &str) -> Value {
        let json = json.replace("HASH", &secrets::to_hex(&secrets::sha256("t")));
        let value: serde_json::Value = serde_json::from_str(&json.replace('\'', "\"")).unwrap();
        Value::copy_from(&rmp_serde::to_vec(&value).unwrap())
    }

    fn entries(entries: &[(&str, &str)]) -> Vec<(Vec<Name>, Value)> {
        let names = |path: &str| path.split('/').map(Name::from).collect();
        entries.iter().map(|(path, json)| (names(path), value(json))).collect()
    }

    /// Reads one state of the users after the other, and whether each is a change.
    #[track_caller]
    fn check_users(states: &[(&[(&str, &str)], bool)]) -> Known {
        let mut known = Known::new("admin");
        for (place, (state, expected)) in states.iter().enumerate() {
            let changes = known.take(Read { users: entries(state), rules: Vec::new() });
            assert_eq!(changes, Changes { users: *expected, rules: false }, "state {place}");
        }
        known
    }

    const ANN: &str = "{'token_sha256': 'HASH'}";
    const TUTOR: &str = "{'token_sha256': 'HASH', 'roles': ['tutor']}";

    #[test]
    fn users_change_when_what_they_say_does() {
        let known = check_users(&[
            (&[], true),
            (&[], false),
            (&[("ann", "null")], false),
            (&[("ann", ANN)], true),
            (&[("ann", ANN)], false),
            (&[("ann", TUTOR)], true),
            (&[("ann", "7")], true),
            (&[("ann", "8")], false),
            (&[("ann", ANN), ("bob", ANN)], true),
            (&[("ann", ANN), ("bob", ANN), ("a/b", ANN)], false),
            (&[("bob", TUTOR)], true),
        ]);
        let users = known.users().unwrap();
        assert_eq!(users.roles_of("bob"), Some(vec!["tutor".to_owned()]));
        assert_eq!((users.roles_of("ann"), users.roles_of("a/b")), (None, None));
    }

    /// Writes one value after the other to a rule; what counts in the end, as its effect, rights
    /// and whom it is for.
    #[track_caller]
    fn check_rule(values: &[&str], expected: &str) {
        let mut known = Known::new("admin");
        for json in values {
            known.take(Read { users: Vec::new(), rules: entries(&[("r", json)]) });
        }
        let rules = known.rules();
        let shown: Vec<String> = rules
            .iter()
            .map(|rule| {
                let Rule { effect, rights, roles, users, .. } = rule;
                format!("{effect:?} {rights:?} {} {}", roles.join(" "), users.join(" "))
            })
            .collect();
        assert_eq!(shown.join(", ").trim(), expected);
    }

    const ALLOW: &str = "{'allow': ['GET'], 'paths': ['a']}";
    const DENY: &str = "{'deny': ['GET'], 'paths': ['a'], 'users': ['ann']}";
    const ALL: &str = "Deny GET PUT CREATE MKDIR DELETE LIST STREAM STOP LINK UNLINK ADMIN";

    #[test]
    fn a_broken_rule_never_opens_anything() {
        let named = format!("{ALL} x ann");
        let broken_allow = "{'allow': ['FLY'], 'paths': ['a']}";
        let broken_deny = "{'deny': ['FLY'], 'roles': ['x'], 'users': ['ann']}";
        for (values, expected) in [
            (&[ALLOW][..], "Allow GET"),
            (&["null"], ""),
            (&["null", DENY], "Deny GET  ann"),
            (&[ALLOW, "null"], ""),
            (&[ALLOW, broken_allow], ""),
            (&[broken_allow], ""),
            (&[DENY, "null"], "Deny GET  ann"),
            (&[DENY, "7"], "Deny GET  ann"),
            (&[DENY, "7", broken_deny, broken_allow], "Deny GET  ann"),
            (&[DENY, "7", ALLOW], "Allow GET"),
            (&[broken_deny], &named),
            (&[ALLOW, broken_deny], &named),
            (&[broken_deny, DENY], "Deny GET  ann"),
            (&[broken_deny, "7"], ALL),
            (&["7"], ALL),
            (&["{'deny': ['GET'], 'paths': ['a'], 'users': 'ann'}"], ALL),
            (&["7", "null"], ALL),
        ] {
            check_rule(values, expected);
        }
    }

    #[test]
    fn rules_change_when_what_counts_does() {
        let mut known = Known::new("admin");
        for (rules, expected) in [
            (&[][..], false),
            (&[("r", "null")], false),
            (&[("r", ALLOW)], true),
            (&[("r", ALLOW)], false),
            (&[("r", ALLOW), ("group/s", DENY)], true),
            (&[("r", ALLOW), ("group/s", "7")], false),
            (&[("group/s", "7")], true),
            (&[], true),
            (&[], false),
        ] {
            let changes = known.take(Read { users: Vec::new(), rules: entries(rules) });
            assert_eq!(changes.rules, expected, "{rules:?}");
        }
    }

    #[test]
    fn what_is_closed_is_closed_to_all_but_admins() {
        use fanal_actors::{Identity, Path, Policy, Verb};

        let mut known = Known::new("admin");
        let rules = entries(&[("broken", "7"), ("open", "{'allow': ['ADMIN'], 'paths': ['**']}")]);
        known.take(Read { users: Vec::new(), rules });
        let policy =
            Policy::Rules { admin_role: "admin".to_owned(), rules: known.rules(), list_all: false };
        let identity = |user: &str, role: &str| Identity {
            user: user.to_owned(),
            roles: vec![role.to_owned()],
            ..Identity::default()
        };
        for path in ["a", "a/b", "$fanal", "$fanal/auth/rules/broken"] {
            let path = Path::new(path.split('/'));
            assert!(!policy.allows(&identity("ann", "tutor"), Verb::Get, &path));
            assert!(policy.allows(&identity("root", "admin"), Verb::Put, &path));
        }
    }
}
