//! Secrets in places that do not look like it: coloured, torn, behind a type, in a URL.

use super::*;

#[test]
fn colours_are_not_seen() {
    let secret = "abcdefgh1234";
    vectors(&[
        (
            "\u{1b}[32msk-proj-abcdefgh1234\u{1b}[0m now",
            "\u{1b}[32msk-[redacted]\u{1b}[0m now",
        ),
        ("a\u{1b}[Ksk-abcdefgh1234", "a\u{1b}[Ksk-[redacted]"),
        // What grep found is coloured, not what follows.
        (
            "\u{1b}[01;31m\u{1b}[Ksk-\u{1b}[m\u{1b}[Kabcdefgh1234 x",
            "\u{1b}[01;31m\u{1b}[Ksk-\u{1b}[m\u{1b}[K[redacted] x",
        ),
        (
            r#"{"out":"\u001b[32msk-abcdefgh1234\u001b[0m"}"#,
            r#"{"out":"\u001b[32msk-[redacted]\u001b[0m"}"#,
        ),
        (
            "PASSWORD\u{1b}[0m=\u{1b}[33mhunter2\u{1b}[0m",
            "PASSWORD\u{1b}[0m=\u{1b}[33m[redacted]\u{1b}[0m",
        ),
        (
            r"pass\x1b[1mword\x1b[0m: \x1b[31mhunter2",
            r"pass\x1b[1mword\x1b[0m: \x1b[31m[redacted]",
        ),
        (
            "xeyJ\u{1b}[0meyJhbGci.a.b xAKIA\u{1b}(BAKIAIOSFODNN7EXAMPLE",
            "xeyJ\u{1b}[0meyJ[redacted] xAKIA\u{1b}(BAKIA[redacted]",
        ),
        ("Bearer \u{1b}[1mabc\u{1b}[0mdef", "Bearer \u{1b}[1m[redacted]"),
    ]);
    let text = format!("\u{1b}[1mfine\u{1b}[0m {secret}");
    assert!(matches!(masked(&text), Cow::Borrowed(same) if same == text));
}

#[test]
fn what_is_left_of_private_keys() {
    let line = "MIIEowIBAAKCAQEAx0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJK";
    let end = "-----END RSA PRIVATE KEY-----";
    let begin = "-----BEGIN RSA PRIVATE KEY-----";
    for (text, hidden) in [
        // The second part of a key.
        (
            format!("it says\n\n{line}\n{line}\nMII==\n{end}\nbye"),
            "it says\n\n[redacted]\nbye".to_owned(),
        ),
        (format!("MII\n{end}"), "[redacted]".to_owned()),
        (format!("that is {line}{end}"), "that is [redacted]".to_owned()),
        (
            format!("-----\n--{begin}\nMII\n{end}"),
            "-----\n--[redacted]".to_owned(),
        ),
        (
            format!("> {line}\r\n> {line}\r\n> MII\r\n> {end}"),
            "> [redacted]".to_owned(),
        ),
        (
            format!("+{line}\n 13| {line}\n 14| {end} ok"),
            "[redacted] ok".to_owned(),
        ),
        (
            format!(r#"{{"a":"{line}\n{line}\r\n{end}\n"}}"#),
            r#"{"a":"[redacted]\n"}"#.to_owned(),
        ),
        (
            format!(r#"{{"a":"{{\"b\":\"1| {line}\\n2| {line}\\n3| {end}\"}}"}}"#),
            r#"{"a":"{\"b\":\"1| [redacted]\"}"}"#.to_owned(),
        ),
        (
            format!(r#"{{"a":"  1\t{line}\n  2\t{line}\n  3\tMII\n  4\t{end}\n"}}"#),
            r#"{"a":"  1\t[redacted]\n"}"#.to_owned(),
        ),
        // The first part, with something before each line.
        (
            format!(r#"{{"a":"  1\t{begin}\n  2\t{line}\n  3\t{line}\n  4\tMII"}}"#),
            r#"{"a":"  1\t[redacted]"}"#.to_owned(),
        ),
        (
            format!("> {begin}\n> {line}\n> {line}\n\nso."),
            "> [redacted].".to_owned(),
        ),
        (
            format!("1| {begin}\n2| {line}\n3| {line}\n4| MII"),
            "1| [redacted]".to_owned(),
        ),
        (
            format!(r#"["1| {begin}\n2| {line}\n3| {line}","b"]"#),
            r#"["1| [redacted]","b"]"#.to_owned(),
        ),
    ] {
        assert_eq!(masked(&text), hidden, "{text:?}");
        assert_eq!(masked(&hidden), hidden, "masked again: {hidden:?}");
    }
    for text in [
        format!("no key\nis here:\n{end}"),
        end.to_owned(),
        format!("a b. \n\n{end}"),
    ] {
        assert!(matches!(masked(&text), Cow::Borrowed(_)), "{text:?}");
    }
}

#[test]
fn values_of_places_and_of_typed_names() {
    vectors(&[
        (
            r#"os.environ["DB_PASSWORD"] = "hunter2""#,
            r#"os.environ["DB_PASSWORD"] = "[redacted]""#,
        ),
        ("user[password]=hunter2&a=b", "user[password]=[redacted]&a=b"),
        ("env['API_KEY']='x'", "env['API_KEY']='[redacted]'"),
        (
            r#"const apiKey: string = "abc""#,
            r#"const apiKey: string = "[redacted]""#,
        ),
        (r#"password: &str = "x";"#, r#"password: &str = "[redacted]";"#),
        (
            r#"static SECRET: &'static str = "x y";"#,
            r#"static SECRET: &'static str = "[redacted]";"#,
        ),
        ("token: Optional[str]='x'", "token: Optional[str]='[redacted]'"),
        (
            "password: std::string::String = hunter2",
            "password: std::string::String = [redacted]",
        ),
        ("api_key: YWJjZGVmZ2g== x", "api_key: [redacted] x"),
        ("password: hunter2 = x", "password: [redacted] = x"),
        (
            "password: eyJabc.def.ghi = 'x'",
            "password: eyJ[redacted] = '[redacted]'",
        ),
    ]);
    let call = "login(user: string, password): Promise<void>";
    assert_eq!(masked(call), call);
}

#[test]
fn passwords_in_urls() {
    vectors(&[
        ("https://user:hunter2@host/a", "https://user:[redacted]@host/a"),
        ("redis://:p@ss@host:6379", "redis://:[redacted]@host:6379"),
        (
            r#"{"url":"https:\/\/u:pw@host\/"}"#,
            r#"{"url":"https:\/\/u:[redacted]@host\/"}"#,
        ),
        (
            "postgresql+psycopg2://u:a%40b@h/db?sslmode=x",
            "postgresql+psycopg2://u:[redacted]@h/db?sslmode=x",
        ),
        (
            "https://ghp_0123456789abcdef:x-oauth-basic@github.com",
            "https://ghp_[redacted]:[redacted]@github.com",
        ),
    ]);
    for text in [
        "ssh://git@github.com/a",
        "http://host:80/a@b",
        "http://host:80 me@b",
        "https://u:@host",
    ] {
        assert_eq!(masked(text), text);
    }
}
