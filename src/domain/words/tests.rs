//! Words of many scripts, and what is found in them.

use proptest::prelude::*;

use super::*;

#[test]
fn terms() {
    for (text, terms) in [
        ("", ""),
        (" \t.,;", ""),
        ("Hello, World!", "hello world"),
        ("don't snake_case kebab-case", "don t snake case kebab case"),
        ("x86_64 1e400 v1.2", "x86 64 1e400 v1 2"),
        ("STRASSE Straße STRAẞE", "strasse strasse strasse"),
        ("ΟΔΟΣ οδος οδοσ", "οδοσ οδοσ οδοσ"),
        ("Crème brûlée, cre\u{300}me", "creme brulee creme"),
        ("İstanbul ISTANBUL", "istanbul istanbul"),
        ("Ёлка елка Й", "елка елка и"),
        ("ﬁle ＡＢＣ１２ ②", "file abc12 2"),
        ("日本語のtext", "日 本 語 の text"),
        (
            "か\u{3099} が ｶﾞ ガ",
            "か\u{3099} か\u{3099} カ\u{3099} カ\u{3099}",
        ),
        (
            "한국 \u{1112}\u{1161}\u{11ab}",
            "\u{1112}\u{1161}\u{11ab} \u{1100}\u{116e}\u{11a8} \u{1112}\u{1161}\u{11ab}",
        ),
        ("हिन्दी", "हिन\u{94d}दी"),
        ("co\u{ad}operate می\u{200c}خواهم", "cooperate میخواهم"),
        ("a\u{300}\u{301}b \u{300}", "ab"),
        ("👍 ok 👍🏽", "ok"),
    ] {
        assert_eq!(folded(text), terms, "{text:?}");
    }
}

#[test]
fn a_term_has_a_bound() {
    let long = "é".repeat(TERM_CHARS_MAX + 10);
    assert_eq!(folded(&long), "e".repeat(TERM_CHARS_MAX));
    let greek = "λ".repeat(TERM_CHARS_MAX + 1);
    assert_eq!(folded(&greek).chars().count(), TERM_CHARS_MAX);
    assert!(query(&long).accepts(&folded(&long)));
}

fn query(text: &str) -> Query {
    Query::parse(text).unwrap_or_else(|invalid| panic!("{text:?}: {invalid:?}"))
}

#[test]
fn what_is_typed() {
    for (text, phrases) in [
        ("Hello World", "hello|world"),
        ("hello HELLO \"hello\"", "hello"),
        ("\"two words\" three", "two words|three"),
        ("unbalanced \"two words", "unbalanced|two words"),
        ("wor* \"in quotes*\"", "wor*|in quotes"),
        ("foo-bar a*b (pre*) x* ,", "foo bar|a b|pre*|x*"),
        ("NOT a AND b OR c NEAR -d ^e f:g", "not|a|and|b|or|c|near|d|e|f g"),
        ("日本語 中*", "日 本 語|中*"),
        ("* \"\" \" \" x", "x"),
    ] {
        let query = query(text);
        let shown = query.phrases().iter().map(|phrase| {
            let star = if phrase.is_prefix { "*" } else { "" };
            phrase.terms.join(" ") + star
        });
        assert_eq!(shown.collect::<Vec<_>>().join("|"), phrases, "{text:?}");
    }
}

#[test]
fn nothing_to_look_for_is_refused() {
    for text in ["", "  ", "\"\"", "*", "?!", "👍"] {
        let invalid = Query::parse(text).expect_err(text);
        assert_eq!(invalid.field, "query");
    }
    assert!(Query::parse(&"é".repeat(1_024)).is_ok());
    assert_eq!(Query::parse(&"é".repeat(1_025)).expect_err("long").field, "query");
    let words: Vec<String> = (0..65).map(|at| format!("w{at}")).collect();
    assert_eq!(Query::parse(&words.join(" ")).expect_err("many").field, "query");
}

#[test]
fn what_is_found() {
    let text = "The quick brown Fox jumps; 日本語のテスト";
    for (asked, found) in [
        ("fox QUICK", true),
        ("foxes", false),
        ("fox*", true),
        ("jum*", true),
        ("umps", false),
        ("\"quick brown\"", true),
        ("\"brown quick\"", false),
        ("\"quick brown fox jumps\"", true),
        ("quick-brown", true),
        ("brown-quick", false),
        ("日本", true),
        ("本語の", true),
        ("日語", false),
        ("日 語", true),
        ("quick cat", false),
    ] {
        assert_eq!(query(asked).accepts(&folded(text)), found, "{asked}");
    }
}

/// The snippet with its marks as brackets.
fn shown(asked: &str, text: &str) -> String {
    let snippet = query(asked).matches(text).snippet(text);
    let mut shown = String::new();
    for (at, char) in snippet.text.chars().enumerate() {
        let at = u32::try_from(at).expect("short");
        shown.extend(snippet.marks.iter().filter(|(_, to)| *to == at).map(|_| ']'));
        shown.extend(snippet.marks.iter().filter(|(from, _)| *from == at).map(|_| '['));
        shown.push(char);
    }
    let end = u32::try_from(snippet.text.chars().count()).expect("short");
    shown.extend(snippet.marks.iter().filter(|(_, to)| *to == end).map(|_| ']'));
    shown
}

#[test]
fn snippets() {
    assert_eq!(shown("fox", "The Fox and the fox."), "The [Fox] and the [fox].");
    assert_eq!(shown("\"the fox\" f*", "The fox fled"), "[The fox] [fled]");
    assert_eq!(shown("本語", "日本語です"), "日[本語]です");
    assert_eq!(shown("creme", "Ma cre\u{300}me"), "Ma [cre\u{300}me]");
    assert_eq!(shown("absent", "  not here "), "not here");
    let filler = "lorem ipsum dolor ".repeat(40);
    let far = format!("{filler}needle {filler}pin needle {filler}");
    let both = shown("needle pin", &far);
    assert!(both.contains("[pin] [needle]"), "{both}");
    assert!(
        both.starts_with("ipsum") || both.starts_with("dolor") || both.starts_with("lorem"),
        "{both}"
    );
    let word = "x".repeat(500);
    assert_eq!(
        shown(&word, &word),
        format!("[{}]", "x".repeat(SNIPPET_CHARS_MAX))
    );
}

#[test]
fn more_often_and_in_less_fits_better() {
    let score = |text: &str| query("fox").matches(text).score();
    let filler = "and so on ".repeat(50);
    assert!(score("fox fox") > score("fox"));
    assert!(score("a fox") > score(&format!("a fox {filler}")));
    assert_eq!(score("nobody"), 0);
}

fn texts() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => "[a-z]{1,3}",
        1 => "[A-ZÀ-ž]{1,4}",
        1 => "[一-三あ-う가-갃]{1,4}",
        1 => "\\PC{1,4}",
        1 => Just("\"".to_owned()),
        1 => Just("*".to_owned()),
    ];
    prop::collection::vec(word, 0..120).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn every_word_of_a_text_finds_it(text in texts()) {
        let terms = folded(&text);
        for word in text.split_whitespace().filter(|word| !word.contains(['"', '*'])) {
            if let Ok(query) = Query::parse(word) {
                prop_assert!(query.accepts(&terms), "{word:?}");
                prop_assert!(!query.matches(&text).places.is_empty(), "{word:?}");
            }
        }
    }

    #[test]
    fn what_is_accepted_is_what_is_matched(text in texts(), asked in texts()) {
        let asked: Vec<&str> = asked.split_whitespace().take(2).collect();
        let Ok(query) = Query::parse(&asked.join(" ")) else { return Ok(()) };
        let matches = query.matches(&text);
        let all = (0..query.phrases().len()).all(|at| matches.places.iter().any(|place| place.phrase == at));
        prop_assert_eq!(query.accepts(&folded(&text)), all);
    }

    #[test]
    fn terms_are_letters_between_single_blanks(text in any::<String>()) {
        let folded = folded(&text);
        prop_assert!(folded.chars().all(|char| char == ' ' || stays(char)));
        prop_assert!(folded.is_empty() || folded.split(' ').all(|term| !term.is_empty()));
    }

    #[test]
    fn a_snippet_is_a_part_of_the_text(text in texts(), asked in texts()) {
        let Ok(query) = Query::parse(&asked.chars().take(20).collect::<String>()) else { return Ok(()) };
        let snippet = query.matches(&text).snippet(&text);
        let chars = u32::try_from(snippet.text.chars().count()).expect("short");
        prop_assert!(chars <= 200);
        prop_assert!(text.contains(&snippet.text));
        let mut end = 0;
        for (from, to) in snippet.marks {
            prop_assert!(end <= from && from < to && to <= chars);
            end = to;
        }
    }
}
