//! What is hidden, what is left, and that hiding is done once.

use proptest::prelude::*;

use super::*;

mod places;

const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";

fn vectors(cases: &[(&str, &str)]) {
    for (text, hidden) in cases {
        assert_eq!(masked(text), *hidden, "{text:?}");
        assert_eq!(masked(hidden), *hidden, "masked again: {hidden:?}");
    }
}

#[test]
fn keys_show_by_their_beginning() {
    vectors(&[
        ("use sk-abcdefghijklmnop now", "use sk-[redacted] now"),
        (
            "sk-proj-Ab_1-xyz90 and sk-ant-api03-AAAA",
            "sk-[redacted] and sk-[redacted]",
        ),
        ("(ghp_0123456789abcdefghijABCDEFGHIJ012345)", "(ghp_[redacted])"),
        ("github_pat_11ABCDEFG0_abcdefgh", "github_pat_[redacted]"),
        ("id AKIAIOSFODNN7EXAMPLE.", "id AKIA[redacted]."),
        ("xoxb-123456789012-abcdefghij", "xoxb-[redacted]"),
        ("AIzaSyA-1234567890abcdefghijklmnopqrstu", "AIza[redacted]"),
        ("https://sk-abcdefgh1234@host/", "https://sk-[redacted]@host/"),
        (
            r#"{"text":"a\nsk-abcdefgh1234\n"}"#,
            r#"{"text":"a\nsk-[redacted]\n"}"#,
        ),
        (r"a\u000ask-abcdefgh1234", r"a\u000ask-[redacted]"),
        ("日本sk-abcdefgh1234語", "日本sk-[redacted]語"),
    ]);
}

#[test]
fn bearer_tokens_and_jwts() {
    vectors(&[
        (
            "Authorization: Bearer abc.def-123",
            "Authorization: Bearer [redacted]",
        ),
        (
            "authorization: bearer   s3cr3t==",
            "authorization: bearer   [redacted]",
        ),
        (
            r#"curl -H "Authorization: Bearer abcdefgh""#,
            r#"curl -H "Authorization: Bearer [redacted]""#,
        ),
        (r#""key"=Basic 0"#, r#""key"=Basic [redacted]"#),
        (
            r#""Authorization": "Basic dXNlcjpwYXNz""#,
            r#""Authorization": "Basic [redacted]""#,
        ),
        (
            "Authorization: Basic dXNlcjpwYXNz",
            "Authorization: Basic [redacted]",
        ),
        ("Authorization: token 0123abcd", "Authorization: token [redacted]"),
        ("access_token: Bearer abcdefg", "access_token: Bearer [redacted]"),
        (&format!("see {JWT}."), "see eyJ[redacted]."),
        (&format!("a={JWT}"), "a=eyJ[redacted]"),
        (&format!("Bearer {JWT}"), "Bearer [redacted]"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "eyJ[redacted]"),
    ]);
}

#[test]
fn private_keys_on_many_lines() {
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow==\nabc/+\n-----END RSA PRIVATE KEY-----";
    let other = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb\n-----END OPENSSH PRIVATE KEY-----";
    vectors(&[
        (&format!("a\n{pem}\nb {other} c"), "a\n[redacted]\nb [redacted] c"),
        (&pem.replace('\n', "\\n"), "[redacted]"),
        (&pem.replace('\n', "\r\n> "), "[redacted]"),
        (&format!("KEY=\"{pem}\"\nPORT=80"), "KEY=\"[redacted]\"\nPORT=80"),
        (
            r#"{"private_key":"-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n","x":1}"#,
            r#"{"private_key":"[redacted]","x":1}"#,
        ),
        (
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\nx\n-----END PGP PRIVATE KEY BLOCK-----",
            "[redacted]",
        ),
        // One that was cut off.
        ("-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\nAbC+/=", "[redacted]"),
        (
            r#"["-----BEGIN PRIVATE KEY-----\nMII","b"]"#,
            r#"["[redacted]","b"]"#,
        ),
    ]);
}

#[test]
fn values_of_secret_names() {
    vectors(&[
        ("password=hunter2", "password=[redacted]"),
        (
            "export OPENAI_API_KEY=abc def",
            "export OPENAI_API_KEY=[redacted] def",
        ),
        ("monkey=banana", "monkey=[redacted]"),
        ("?token=abc&user=bob", "?token=[redacted]&user=bob"),
        ("(client_secret=a,b).", "(client_secret=[redacted])."),
        ("MY_TOKEN=日本語 x", "MY_TOKEN=[redacted] x"),
        ("Password: hunter2, please", "Password: [redacted], please"),
        ("api-key: abc", "api-key: [redacted]"),
        ("api_key = abc", "api_key = [redacted]"),
        (r#"secret = "two words" # why"#, r#"secret = "[redacted]" # why"#),
        ("db_password: 'it is'", "db_password: '[redacted]'"),
        (r#"{"key": "value", "n": 1}"#, r#"{"key": "[redacted]", "n": 1}"#),
        (
            r#"{"api_key":"a\"b\\","n":1}"#,
            r#"{"api_key":"[redacted]","n":1}"#,
        ),
        (r#"{"password":1234}"#, r#"{"password":"[redacted]"}"#),
        (
            r#"{"a":"{\"token\": \"x\\\"y\", \"password\": 12}"}"#,
            r#"{"a":"{\"token\": \"[redacted]\", \"password\": \"[redacted]\"}"}"#,
        ),
        ("token: ab12cd34ef", "token: [redacted]"),
        ("key='open\nnext", "key='[redacted]\nnext"),
    ]);
}

#[test]
fn what_hides_nothing_stays() {
    for text in [
        "",
        "the task-force is at risk-level 3, sk-learn works",
        "The key: you turn it. A token: it expires.",
        "max_tokens: 4096 and \"input_tokens\": 12345678",
        r#"{"token": null, "tokens": [1, 2], "secret": true, "key": {"a": 1}}"#,
        "bearer of bad news; Bearer authentication",
        "let token = next_token(input);",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "eyJ is how it begins, eyJhbGciOi.x too",
        "key=",
        "key = ",
        "password: ",
        "AKIA is a beginning",
    ] {
        assert!(
            matches!(masked(text), Cow::Borrowed(same) if same == text),
            "{text:?}"
        );
    }
}

#[test]
fn json_of_which_too_much_would_be_hidden_is_hidden_whole() {
    assert_eq!(
        masked_json(r#"{"password":"x","n":1e400}"#),
        r#"{"password":"[redacted]","n":1e400}"#
    );
    assert_eq!(masked_json(r#"{"a":"token ="}"#), r#""[redacted]""#);
    assert_eq!(masked_json("no json, token ="), "no json, token =");
    assert_eq!(masked_json(""), "");
}

/// Pieces that matter to the scan, in any order.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "sk-",
            "ghp_",
            "AKIA",
            "eyJ",
            "Bearer ",
            "bearer",
            "Basic ",
            "Token ",
            "key",
            "Token",
            "password",
            "authorization",
            "apiKey",
            "secret",
            "=",
            ":",
            ": ",
            " = ",
            "=>",
            "\"",
            "'",
            "`",
            "\\",
            "\\\"",
            "\\\\\"",
            "\\n",
            "\n",
            " ",
            ".",
            ",",
            "-",
            "_",
            "]",
            "}",
            ")",
            "&",
            "[redacted]",
            "[",
            "null",
            "true",
            "12345678",
            "abcdefgh1",
            "ABCDEFGH1234",
            "-----BEGIN ",
            "-----END ",
            "PRIVATE KEY",
            "-----",
            "é",
            "語",
            "\u{a0}",
            "\\u000a",
            "n",
            "u",
            "<",
            "a.b.c",
            "eyJa.b.c",
            "\u{1b}[32m",
            "\u{1b}",
            "\\u001b[K",
            "\u{1b}(B",
            "m",
            "://",
            "a:",
            "@",
            "/",
            "|",
            "> ",
            "?",
            ": string = ",
            "MIIEowIBAAKCAQEAx0123456789abcdefghijklmnopqrst",
            "-----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z0-9]{1,12}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn masking_twice_is_masking_once(text in soup()) {
        let once = masked(&text).into_owned();
        prop_assert_eq!(masked(&once), once.as_str());
    }

    #[test]
    fn any_text_is_fine(text in any::<String>()) {
        let once = masked(&text).into_owned();
        prop_assert_eq!(masked(&once), once.as_str());
    }

    #[test]
    fn a_secret_is_gone_wherever_it_stands(before in "[ \\n(\",;]{0,3}", after in "[ \\n)\",;]", which in 0_usize..8) {
        let secret = "Zx9Zx9Zx9Zx9Zx9Zx9";
        let said = match which {
            0 => format!("sk-{secret}"),
            1 => format!("ghp_{secret}"),
            2 => format!("Bearer {secret}"),
            3 => format!("password={secret}"),
            4 => format!("\"api_token\": \"{secret}\""),
            5 => format!("my-key: {secret}"),
            6 => format!("eyJ{secret}.{secret}.{secret}"),
            _ => format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----"),
        };
        let text = format!("{before}{said}{after}");
        prop_assert!(!masked(&text).contains("Zx9"), "{}", text);
    }

    #[test]
    fn json_stays_json(pairs in prop::collection::vec(("(key|token|my_password|plain)", soup()), 1..4)) {
        let pairs: serde_json::Map<_, _> = pairs.into_iter().map(|(name, text)| (name, text.into())).collect();
        let json = serde_json::to_string(&pairs).unwrap();
        let hidden = masked_json(&json);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&hidden).is_ok(), "{} -> {}", json, hidden);
        prop_assert_eq!(masked_json(&hidden), hidden.as_ref());
    }
}

#[test]
fn long_rows_of_beginnings_take_no_longer_than_other_texts() {
    for piece in [
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN ",
        "eyJ-",
        "eyJ.",
        "key:",
        "key: ",
        "password:[",
        "key=\"",
        "key=\\\"",
        "sk-",
        "AKIA",
        "Bearer ",
        "a-",
        "\\",
        "password: Basic ",
        "password: string = ",
        "\\u001b[",
        "\u{1b}[0",
        "eyJ\u{1b}[m",
        "AKIA\u{1b}[m",
        "sk-\u{1b}[m",
        "a://",
        "a://b:",
        "a://b:c@",
        "-----END PRIVATE KEY-----",
        "a -----END PRIVATE KEY-----",
        "aaaaaaaa\n-----END PRIVATE KEY-----",
        "\\\\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----| ",
        "-----BEGIN PRIVATE KEY-----|        ",
        "-----",
        "-",
        "key]",
    ] {
        let text = piece.repeat((1 << 19) / piece.len());
        // Were one of these quadratic, this would not end within a test's patience.
        let once = masked(&text).into_owned();
        assert!(masked(&once) == once, "{piece:?}");
    }
}
