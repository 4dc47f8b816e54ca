//! Who may use the API: whoever can open the socket in the data directory, and on the port whoever
//! has the token of the configuration.

use std::rc::Rc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};
use subtle::ConstantTimeEq;

use super::api::Failure;
use crate::config::Secret;

/// What a request has to bring along.
#[derive(Clone)]
pub enum Gate {
    /// Nothing: who got here may do everything.
    Open,
    /// This token, if it is not empty, and nobody may do anything if it is.
    Token(Secret),
}

impl Gate {
    /// Whether a request with this header may pass; else why not.
    fn judge(&self, header: Option<&[u8]>) -> Result<(), &'static str> {
        let Gate::Token(token) = self else { return Ok(()) };
        if token.reveal().is_empty() {
            return Err("admin.token is not set; without it the API is at the socket in \
                        store.directory only, which the commands of fanal use");
        }
        let shown = header.and_then(|header| {
            let (scheme, rest) = header.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
        });
        let is_good = shown.is_some_and(|shown| shown.ct_eq(token.reveal().as_bytes()).into());
        if is_good { Ok(()) } else { Err("expected Authorization: Bearer and admin.token") }
    }
}

/// Lets good requests through and answers the others 401.
pub async fn check<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let header = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
    let gate = request.app_data::<web::Data<Gate>>().map(|gate| Rc::new(gate.as_ref().clone()));
    let verdict = match gate {
        Some(gate) => gate.judge(header),
        None => Err("the API is not set up"),
    };
    match verdict {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(text) => {
            let answer = HttpResponse::Unauthorized()
                .insert_header((WWW_AUTHENTICATE, "Bearer"))
                .json(Failure::new(text));
            Ok(request.into_response(answer).map_into_right_body())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_if_it_is_the_one() {
        let check = |token: &str, header: Option<&str>, good: bool| {
            let gate = Gate::Token(Secret::from(token.to_owned()));
            let verdict = gate.judge(header.map(str::as_bytes));
            assert_eq!(verdict.is_ok(), good, "{token:?} {header:?}");
        };
        check("secret", Some("Bearer secret"), true);
        check("secret", Some("bearer  secret "), true);
        check("secret", Some("Bearer secreT"), false);
        check("secret", Some("Bearer secre"), false);
        check("secret", Some("Bearer "), false);
        check("secret", Some("Basic secret"), false);
        check("secret", Some("secret"), false);
        check("secret", None, false);
        check("", None, false);
        check("", Some("Bearer "), false);
        assert!(Gate::Open.judge(None).is_ok());
    }
}
