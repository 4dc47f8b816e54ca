//! Which of the two text formats is wanted.

use actix_web::HttpMessage;
use actix_web::http::header::{Accept, Header};

/// A form in which metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// That of Prometheus, version 0.0.4, which everything reads.
    Prometheus,
    /// OpenMetrics, version 1.0.
    OpenMetrics,
}

impl Format {
    /// The one that a request wants the most; that of Prometheus if it says nothing of either.
    pub fn wanted(request: &impl HttpMessage) -> Self {
        let Ok(accept) = Accept::parse(request) else { return Format::Prometheus };
        let wanted = accept.ranked().into_iter().find_map(|kind| {
            match (kind.type_().as_str(), kind.subtype().as_str()) {
                ("application", "openmetrics-text") => Some(Format::OpenMetrics),
                ("text", "plain" | "*") | ("*", "*") => Some(Format::Prometheus),
                _ => None,
            }
        });
        wanted.unwrap_or(Format::Prometheus)
    }

    /// What the answer says of itself.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => prometheus_client::encoding::prometheus_text::CONTENT_TYPE,
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[track_caller]
    fn check(accept: &str, expected: Format) {
        let request = TestRequest::get().insert_header(("accept", accept)).to_request();
        assert_eq!(Format::wanted(&request), expected, "{accept}");
    }

    #[test]
    fn what_is_wanted_the_most_is_given() {
        let nothing = TestRequest::get().to_request();
        assert_eq!(Format::wanted(&nothing), Format::Prometheus);
        check("application/openmetrics-text", Format::OpenMetrics);
        check("application/openmetrics-text; version=1.0.0; charset=utf-8", Format::OpenMetrics);
        // What Prometheus sends.
        check(
            "application/openmetrics-text;version=1.0.0,\
             application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::OpenMetrics,
        );
        check("application/openmetrics-text;q=0.4, text/plain;q=0.5", Format::Prometheus);
        check("text/plain;q=0.4, application/openmetrics-text;q=0.5", Format::OpenMetrics);
        check("text/html, */*;q=0.8", Format::Prometheus);
        check("*/*", Format::Prometheus);
        check("image/png", Format::Prometheus);
        check("no such thing ;;q=x", Format::Prometheus);
    }
}
