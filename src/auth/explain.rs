//! Explanations: which provider knows a user, and which rule decides what it may do.

use fanal_actors::{Identity, Path, Policy, Verb};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Authority;

/// What is to be explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The name of the user; empty for who gives no credentials.
    pub user: String,
    /// Roles to take instead of those that the providers know.
    #[serde(default)]
    pub roles: Option<Vec<String>>,
    /// The verb.
    pub verb: String,
    /// Names separated by slashes.
    pub path: String,
    /// For LINK the path of the source.
    #[serde(default)]
    pub source: Option<String>,
}

/// What decided, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The user.
    pub user: String,
    /// The provider that knows the user; `None` if none does by name alone.
    pub provider: Option<String>,
    /// The roles of the user.
    pub roles: Vec<String>,
    /// What decided, for people.
    pub reason: String,
}

/// Answers a question by what is in force now.
///
/// # Errors
/// If the question makes no sense.
pub fn explain(
    question: &Question,
    authority: &Authority,
    policy: &Policy,
) -> Result<Answer, String> {
    let verb = Verb::from_name(question.verb.as_bytes())
        .ok_or_else(|| format!("{} is no verb", question.verb.escape_debug()))?;
    let path = to_path(&question.path);
    let (provider, roles) = match (&question.roles, authority.roles_of(&question.user)) {
        (Some(roles), _) => (None, roles.clone()),
        (None, Some((provider, roles))) => (Some(provider), roles),
        (None, None) if question.user.is_empty() => {
            (Some("anonymous"), authority.config().auth.anonymous_roles)
        }
        (None, None) => (None, Vec::new()),
    };
    let identity = Identity {
        user: question.user.clone(),
        roles: roles.clone(),
        provider: provider.unwrap_or("question"),
        allowance: None,
    };
    let mut explanation = policy.explain(&identity, verb, &path);
    let mut reason = explanation.to_string();
    if verb == Verb::Link
        && explanation.is_allowed()
        && let Some(source) = &question.source
    {
        explanation = policy.explain(&identity, Verb::Get, &to_path(source));
        reason = format!("{reason}; reading the source {source}: {explanation}");
    }
    Ok(Answer {
        allowed: explanation.is_allowed(),
        user: question.user.clone(),
        provider: provider.map(str::to_owned),
        roles,
        reason,
    })
}

fn to_path(text: &str) -> Path {
    Path::new(text.split('/').filter(|name| !name.is_empty()))
}
