//! The policy: what an identity may do where.

use super::identity::Identity;
use crate::protocol::{Path, Verb};

/// Rules for every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Everybody may do everything.
    AllowAll,
    /// Nobody may do anything.
    AllowNone,
    /// The original server's rules. Admins may do everything. Every user may read and stream
    /// `live` and each user's `model` and `input`, write the own two, and list everything
    /// (recorded scenarios `auth-*`; production's rules in the conformance README).
    OwnModel,
}

impl Policy {
    /// Whether this identity is told that a verb is unknown (405), instead of 403 as for all that
    /// it may not do.
    pub fn may_hear_of_verbs(self, identity: &Identity) -> bool {
        match self {
            Policy::AllowAll => true,
            Policy::AllowNone => false,
            Policy::OwnModel => identity.admin,
        }
    }

    /// Whether this identity may do this here.
    pub fn allows(self, identity: &Identity, verb: Verb, path: &Path) -> bool {
        match self {
            Policy::AllowAll => true,
            Policy::AllowNone => false,
            Policy::OwnModel => identity.admin || own_model_allows(identity, verb, path),
        }
    }
}

fn own_model_allows(identity: &Identity, verb: Verb, path: &Path) -> bool {
    let names = path.names();
    let owner = match names {
        [user, owner, leaf] if &**user == "user" && matches!(&**leaf, "model" | "input") => {
            Some(&**owner)
        }
        _ => None,
    };
    match verb {
        Verb::List => true,
        Verb::Get | Verb::Stream | Verb::Stop => {
            owner.is_some() || matches!(names, [live] if &**live == "live")
        }
        Verb::Put => owner == Some(identity.user.as_str()),
        Verb::Post | Verb::Create | Verb::Mkdir | Verb::Delete | Verb::Link | Verb::Unlink => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(verb: Verb, path: &str, expected: bool) {
        let ann = Identity { user: "ann".into(), admin: false };
        let names = path.split('/').filter(|name| !name.is_empty());
        let path = Path::new(names);
        assert_eq!(Policy::OwnModel.allows(&ann, verb, &path), expected, "{verb:?} {path}");
        let admin = Identity { user: "ann".into(), admin: true };
        assert!(Policy::OwnModel.allows(&admin, verb, &path));
        assert!(Policy::AllowAll.allows(&ann, verb, &path));
        assert!(!Policy::AllowNone.allows(&admin, verb, &path));
    }

    #[test]
    fn a_user_reads_everybodys_model_and_input_and_live() {
        for verb in [Verb::Get, Verb::Stream, Verb::Stop] {
            for path in ["user/ann/model", "user/bob/model", "user/bob/input", "live"] {
                check(verb, path, true);
            }
            for path in ["", "user", "user/ann", "user/ann/other", "user/ann/model/x", "live/x"] {
                check(verb, path, false);
            }
        }
    }

    #[test]
    fn a_user_writes_only_the_own_model_and_input() {
        check(Verb::Put, "user/ann/model", true);
        check(Verb::Put, "user/ann/input", true);
        for path in ["user/bob/model", "user/bob/input", "live", "", "user", "user/ann", "x"] {
            check(Verb::Put, path, false);
        }
    }

    #[test]
    fn a_user_lists_everything_and_changes_no_structure() {
        for path in ["", "user", "user/ann", "metrics/laser", "live"] {
            check(Verb::List, path, true);
        }
        for verb in [Verb::Post, Verb::Create, Verb::Mkdir, Verb::Delete, Verb::Link, Verb::Unlink]
        {
            check(verb, "user/ann/model", false);
        }
    }
}
