//! From the configuration to the policy.

use fanal_actors::{Effect, Pattern, Policy, Rights, Rule};

use crate::config::{Auth, AuthMode, AuthPreset, RuleBlock};

/// The policy that the configuration asks for.
pub fn from_config(auth: &Auth) -> Policy {
    match auth.mode {
        AuthMode::AllowAll => Policy::AllowAll,
        AuthMode::AllowNone => Policy::AllowNone,
        AuthMode::Users => {
            let mut rules = match auth.preset {
                AuthPreset::Lighthouse => lighthouse(),
                AuthPreset::None => Vec::new(),
            };
            let own = auth.rules.iter().enumerate();
            rules.extend(own.map(|(index, block)| rule(block, &format!("rule {}", index + 1))));
            Policy::Rules { admin_role: auth.admin_role.clone(), rules, list_all: auth.list_all }
        }
    }
}

/// The rule that a block describes, and its name if it has none of its own.
pub fn rule(block: &RuleBlock, name: &str) -> Rule {
    let deny = !block.deny.is_empty();
    let names = if deny { &block.deny } else { &block.allow };
    let rights = names.iter().filter_map(|name| Rights::from_name(name));
    Rule {
        name: if block.name.is_empty() {
            name.to_owned()
        } else {
            format!("\"{}\"", block.name.escape_debug())
        },
        effect: if deny { Effect::Deny } else { Effect::Allow },
        rights: rights.fold(Rights::NONE, Rights::and),
        roles: block.roles.clone(),
        users: block.users.clone(),
        paths: block.paths.iter().map(|text| Pattern::new(text)).collect(),
    }
}

/// The rules of the original server in production, for all users but admins (the conformance
/// README, mode heimdall): read `live` and each user's `model` and `input`, write the own two, list
/// everything; the role `deploy` does everything below `metrics`.
fn lighthouse() -> Vec<Rule> {
    let rule = |name: &str, roles: &[&str], rights: &[&str], paths: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let block = RuleBlock {
            name: format!("lighthouse: {name}"),
            allow: owned(rights),
            roles: owned(roles),
            paths: owned(paths),
            ..RuleBlock::default()
        };
        self::rule(&block, "")
    };
    vec![
        rule("read", &[], &["READ"], &["live", "user/*/model", "user/*/input"]),
        rule("write the own", &[], &["WRITE"], &["user/{user}/model", "user/{user}/input"]),
        rule("list", &[], &["LIST"], &["**"]),
        rule("deploy", &["deploy"], &["ADMIN"], &["metrics/**"]),
    ]
}

#[cfg(test)]
mod tests;
