//! The forms that values of flags may have, seen through whole command lines.
//!
//! Never: judges values together.

use super::*;

#[test]
fn booleans_are_those_of_go() {
    for yes in ["1", "t", "T", "TRUE", "true", "True"] {
        assert!(config(&[&format!("--require_https={yes}")], &[]).listen.require_https);
        assert!(config(&[], &[("A8_REQUIRE_HTTPS", yes)]).listen.require_https);
    }
    for no in ["0", "f", "F", "FALSE", "false", "False"] {
        assert!(!config(&[&format!("-require-https={no}")], &[]).listen.require_https);
        assert!(!config(&[], &[("A8_REQUIRE_HTTPS", no)]).listen.require_https);
    }
    let alone = config(&["--require_https", "--api_port=1"], &[("A8_REQUIRE_HTTPS", "false")]);
    assert!(alone.listen.require_https);
    assert!(!config(&["--require_https=false"], &[("A8_REQUIRE_HTTPS", "true")]).listen.require_https);
    for bad in ["yes", "no", "tRUE", "on", "2", " true"] {
        check_error(
            &[],
            &[("A8_REQUIRE_HTTPS", bad)],
            &format!("--require_https (variable A8_REQUIRE_HTTPS) is {bad:?}, want true or false"),
        );
    }
    check_error(
        &["--require_https", "false"],
        &[],
        "unexpected argument \"false\"; want flags, or one of the words help and healthcheck; \
         a boolean is written --flag=false",
    );
}

#[test]
fn numbers_have_ranges() {
    check_error(&["--api_port=65536"], &[], "--api_port is \"65536\", want a whole number from 0 to 65535");
    check_error(&["--namespace_capacity=many"], &[], "--namespace_capacity is \"many\", want a whole number");
    check_error(
        &["--max_header_bytes", "8191"],
        &[],
        "--max_header_bytes is \"8191\", want a whole number from 8192 to 1048576",
    );
    check_error(
        &["--max_connections=0"],
        &[],
        "--max_connections is \"0\", want a whole number from 1 to 10000000",
    );
    assert_eq!(config(&["--api_port=0x1F90"], &[]).listen.address.port(), 8080);
    for (text, want) in [("-9223372036854775808", None), ("-0x5", None), ("0", Some(0)), ("0x10", Some(16))] {
        assert_eq!(config(&["--namespace_capacity", text], &[]).capacity.instances, want, "{text}");
    }
}

#[test]
fn durations_need_units_and_sense() {
    assert_eq!(config(&["--drain_timeout=0"], &[]).timeouts.drain, Duration::ZERO);
    assert_eq!(config(&["--min_ttl=0"], &[]).ttl.min, Duration::ZERO);
    assert_eq!(config(&["--change_log_age=1.5h"], &[]).capacity.change_age, seconds(5400));
    check_error(
        &["--default_ttl", "soon"],
        &[],
        "--default_ttl is \"soon\", want a duration with units, such as 30s, 1m30s, 1.5h or 500ms",
    );
    check_error(
        &[],
        &[("A8_MAX_TTL", "10")],
        "--max_ttl (variable A8_MAX_TTL) is \"10\", want a duration with units, such as 30s, 1m30s, 1.5h or 500ms",
    );
    for zero in ["0", "0s", "0.1ns"] {
        check_error(
            &["--default_ttl", zero],
            &[],
            &format!("--default_ttl is {zero:?}, want a duration above 0"),
        );
    }
    check_error(&["--min_ttl=-1s"], &[], "--min_ttl is \"-1s\", want a duration of 0 or more");
    check_error(&["--max_ttl=9999999h"], &[], "--max_ttl is \"9999999h\", want a duration below 292 years");
}

#[test]
fn addresses() {
    check_error(
        &["--trusted_proxy=proxy"],
        &[],
        "--trusted_proxy is \"proxy\", want a network such as 10.0.0.0/8 or fd00::/8, or one IP address",
    );
    for (address, want) in [
        ("127.0.0.1", "127.0.0.1:8080"),
        ("0.0.0.0", "0.0.0.0:8080"),
        ("::1", "[::1]:8080"),
        ("[::1]", "[::1]:8080"),
    ] {
        assert_eq!(config(&["--api_address", address], &[]).listen.address.to_string(), want);
    }
    check_error(
        &["--api_address=localhost"],
        &[],
        "--api_address is \"localhost\", want an IP address such as 127.0.0.1, 0.0.0.0 or ::",
    );
    for (address, want) in [
        ("9090", "127.0.0.1:9090"),
        (":9090", "127.0.0.1:9090"),
        ("0.0.0.0:9090", "0.0.0.0:9090"),
        ("[::]:9090", "[::]:9090"),
        ("0", "127.0.0.1:0"),
    ] {
        assert_eq!(config(&["--ops_address", address], &[]).ops.address.unwrap().to_string(), want);
    }
    for bad in ["", ":", "host:1", "1.2.3.4", "::1:x"] {
        let want = "want a port, or an IP address and port such as 0.0.0.0:9090 or [::]:9090";
        check_error(&["--ops_address", bad], &[], &format!("--ops_address is {bad:?}, {want}"));
    }
    check_error(
        &["--ops_address=:8080"],
        &[],
        "--ops_address has the port of the API, 8080; want another one",
    );
    config(&["--ops_address=:8080", "--api_address=192.0.2.1"], &[]);
}

#[test]
fn words_of_closed_sets() {
    for (word, level) in [
        ("debug", LogLevel::Debug),
        ("info", LogLevel::Info),
        ("warn", LogLevel::Warn),
        ("warning", LogLevel::Warn),
        ("error", LogLevel::Error),
        ("fatal", LogLevel::Error),
        ("panic", LogLevel::Error),
    ] {
        assert_eq!(config(&["--log_level", word], &[]).log.level, level, "{word}");
    }
    for (word, format) in
        [("text", LogFormat::Text), ("json", LogFormat::Json), ("logstash", LogFormat::Logstash)]
    {
        assert_eq!(config(&[], &[("A8_LOG_FORMAT", word)]).log.format, format, "{word}");
    }
    check_error(
        &["--log_level", "loud"],
        &[],
        "--log_level is \"loud\", want one of debug, info, warn, warning, error, fatal, panic",
    );
    check_error(&["--log_format", "xml"], &[], "--log_format is \"xml\", want one of text, json, logstash");
    check_error(&["--store", "mysql"], &[], "--store is \"mysql\", want one of inmem, redis");
    check_error(
        &[],
        &[("A8_STORE", "Inmem")],
        "--store (variable A8_STORE) is \"Inmem\", want one of inmem, redis",
    );
}
