use super::*;

#[test]
fn reads_timeouts() {
    for (value, read) in [
        ("1H", Some(Duration::from_secs(3_600))),
        ("2M", Some(Duration::from_secs(120))),
        ("3S", Some(Duration::from_secs(3))),
        ("99999999m", Some(Duration::from_millis(99_999_999))),
        ("5u", Some(Duration::from_micros(5))),
        ("6n", Some(Duration::from_nanos(6))),
        ("", None),
        ("S", None),
        ("1", None),
        ("-1S", None),
        ("1 S", None),
        ("123456789S", None),
    ] {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-timeout"),
            value.parse().expect("a value"),
        )]);
        assert_eq!(timeout(&headers), read, "{value:?}");
    }
}

#[test]
fn knows_what_only_a_shutdown_ends() {
    for (path, ends) in [
        ("/sessiond.v1.SessionService/WatchSession", true),
        ("/sessiond.v1.SessionService/Resume", true),
        ("/grpc.health.v1.Health/Watch", true),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", true),
        ("/sessiond.v1.SessionService/ReadMessages", false),
        ("/sessiond.v1.ThreadService/AppendItems", false),
    ] {
        assert_eq!(ends_at_drain(path), ends, "{path}");
    }
}
