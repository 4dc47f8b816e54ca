//! What the kinds of keys accept.

use super::*;

#[test]
fn numbers_have_bounds() {
    check_accepted("server.port", &["0", "65535", "+1"]);
    check_refused("server.port", &["-1", "65536", "1.0", "x"], "a number from 0 to 65535");
    check_accepted("limits.message_bytes_max", &["1024", "67108864"]);
    check_refused(
        "limits.message_bytes_max",
        &["1023", "67108865", "64MiB", "9223372036854775807", "-9223372036854775808"],
        "a number of bytes from 1024 to 67108864",
    );
    check_accepted("limits.payload_depth_max", &["8", "512"]);
    check_refused("limits.payload_depth_max", &["7", "513"], "a number from 8 to 512");
    check_accepted("limits.path_depth_max", &["1", "512"]);
    check_refused("limits.path_depth_max", &["0", "513"], "a number from 1 to 512");
    check_accepted("mailbox.resource", &["16", "1048576"]);
    check_refused("mailbox.resource", &["15", "1048577"], "a number from 16 to 1048576");
    check_refused("server.workers", &["0", "65"], "a number from 1 to 64");
    check_refused("session.requests_max", &["0", "1025"], "a number from 1 to 1024");
    check_refused(
        "stream.buffer_bytes",
        &["0", "1023"],
        "a number of bytes from 1024 to 1073741824",
    );
}

#[test]
fn durations_have_units_and_bounds() {
    check_accepted("snapshot.interval", &["10ms", "1h", "\"1m 30s\"", "1500ms"]);
    check_refused(
        "snapshot.interval",
        &["9ms", "61m", "1", "1.5", "s", "-1s", "\"\"", "99999999999999999999s"],
        "a duration from 10ms to 1h, such as \"200ms\" or \"25s\"",
    );
    check_accepted("shutdown.drain", &["0s", "10m"]);
    let config = good("[snapshot]\ninterval = \"1m 30s\"");
    assert_eq!(config.snapshot.interval, Duration::from_secs(90));
}

#[test]
fn words_are_taken_exactly() {
    check_accepted("store.sync", &["structure", "all", "interval"]);
    check_refused(
        "store.sync",
        &["Structure", "none"],
        "one of \"structure\", \"all\", \"interval\"",
    );
    check_accepted("store.engine", &["embedded", "file", "memory"]);
    check_refused("store.engine", &["Redb"], "one of \"embedded\", \"file\", \"memory\"");
    check_accepted("auth.mode", &["allow_all", "allow_none"]);
    check_refused(
        "auth.mode",
        &["allow", "user", "true"],
        "one of \"allow_all\", \"allow_none\", \"users\"",
    );
    check_refused("log.format", &["xml", "\"\""], "one of \"text\", \"json\"");
    check_refused("auth.insecure", &["yes", "1", "\"true\""], "true or false");
}

#[test]
fn patterns_are_names_and_stars() {
    let expected = "a list of resource paths such as \"user/*/input\" or \"buttons/**\"";
    for key in ["resource.live_paths", "resource.event_paths"] {
        check_accepted(key, &["[\"a/*/b\", \"**\", \"x/**\"]", "[]", "a/*/b,**"]);
        for value in ["a*", "/a", "a//b", "***"] {
            let problems = resolve("", &[], &["--set", &format!("{key}={value}")]).unwrap_err();
            assert!(problems.to_string().contains(expected), "{value}: {problems}");
        }
    }
}

#[test]
fn log_levels_can_be_refined_but_not_misspelt() {
    check_accepted("log.level", &["off", "WARN", "info,fanal::doors=debug", "a=trace,info/x"]);
    check_refused(
        "log.level",
        &["inof", "verbose", "info,debgu", "a=loud", "=info", "\"\"", "3"],
        "a level (error, warn, info, debug, trace, off) or a list as in \
         \"info,fanal::doors=debug\"",
    );
}

#[test]
fn addresses_and_networks_are_told_apart() {
    check_accepted("server.bind", &["127.0.0.1", "::1", "127.1.2.3", "::ffff:127.0.0.1"]);
    check_refused(
        "server.bind",
        &["localhost", "127.0.0.1:80", "[::1]", "10.0.0.0/8", "\"\"", "1"],
        "an IP address such as 127.0.0.1, 0.0.0.0 or ::1",
    );
    check_accepted("server.trusted_proxies", &["10.0.0.1", "fd00::/8", "[]", "10.0.0.1,::1"]);
    check_refused(
        "server.trusted_proxies",
        &["10.0.0.0/33", "proxy", "[1]", "[[]]"],
        "a list of IP addresses or networks such as \"10.0.0.7\" or \"10.0.0.0/8\"",
    );
}

#[test]
fn routes_and_origins_are_such_as_requests_have_them() {
    check_accepted("server.routes", &["/", "*", "/a/b", "/a,*"]);
    check_refused(
        "server.routes",
        &["a", "[]", "/a?b", "/*", "\"/a b\"", "true"],
        "a list of one or more URL paths that start with \"/\", or \"*\" for every path",
    );
    check_accepted("server.allowed_origins", &["https://a.b", "http://[::1]:80", "null"]);
    check_refused(
        "server.allowed_origins",
        &["a.b", "https://a.b/", "https://A.b", "https://", "://a", "*"],
        "a list of origins such as \"https://example.org\", in lower case and without a path",
    );
}
