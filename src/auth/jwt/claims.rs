//! Claims: from what a good token says to the user, its roles and the time at which it ends.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::auth::provider::Proof;
use crate::config::AuthJwt;

/// The object in a token.
pub type Claims = Map<String, Value>;

/// Who is meant; the library has judged times, issuer and audience already.
///
/// # Errors
/// What is wrong, without what the token says.
pub fn proof(claims: &Claims, settings: &AuthJwt) -> Result<Proof, &'static str> {
    // The library takes a list with the issuer in it, and an audience that is neither text nor list
    // where none is asked for.
    let issuer = claims.get("iss").and_then(Value::as_str);
    if !settings.issuer.is_empty() && issuer != Some(&settings.issuer) {
        return Err("it is of another issuer");
    }
    if settings.audience.is_empty() && claims.get("aud").is_some_and(|found| !found.is_null()) {
        return Err("it is for an audience, and auth_jwt.audience is empty");
    }
    let user = find(claims, &settings.user_claim).and_then(Value::as_str);
    let user = user.filter(|user| !user.is_empty()).ok_or("its user is missing or no text")?;
    let roles = roles(claims, &settings.roles_claim)?;
    let expires = expiry(claims, settings.leeway).ok_or("it does not say when it expires")?;
    Ok(Proof { user: user.to_owned(), roles, expires: Some(expires) })
}

/// The claim with this name; or, where there is none, what dots in it lead to.
fn find<'c>(claims: &'c Claims, name: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (path, last) = name.rsplit_once('.')?;
    let mut inner = claims;
    for step in path.split('.') {
        inner = inner.get(step)?.as_object()?;
    }
    inner.get(last)
}

fn roles(claims: &Claims, name: &str) -> Result<Vec<String>, &'static str> {
    const WRONG: &str = "its roles are no list of texts";
    let owned = |text: &str| text.to_owned();
    match find(claims, name).filter(|_| !name.is_empty()) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(text.split_whitespace().map(owned).collect()),
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map(owned).ok_or(WRONG)).collect()
        }
        Some(_) => Err(WRONG),
    }
}

fn expiry(claims: &Claims, leeway: Duration) -> Option<SystemTime> {
    let expires = claims.get("exp")?;
    let since = match expires.as_u64() {
        Some(seconds) => Duration::from_secs(seconds),
        None => Duration::try_from_secs_f64(expires.as_f64()?).ok()?,
    };
    UNIX_EPOCH.checked_add(since)?.checked_add(leeway)
}
