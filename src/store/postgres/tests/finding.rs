//! What a search finds is what has its words, by whatever way it is found.

use uuid::Uuid;

use super::{InSchema, told};
use crate::domain::fixture as f;
use crate::domain::search::Query;
use crate::domain::{LogId, Namespace, Role, words};
use crate::store::Store as _;
use crate::store::postgres::columns::Columns;
use crate::store::postgres::conn::Conn;
use crate::store::postgres::index::finding::{Finding, Sizes};
use crate::store::postgres::index::terms;
use crate::store::postgres::pool::Plans;
use crate::store::postgres::{Options, Postgres};

/// Messages at every third place, with these words.
const MESSAGES: i64 = 1_000;

const WORDS: [&str; 3] = ["all", "seventh", "rare"];

fn has(word: &str, n: i64) -> bool {
    match word {
        "all" => true,
        "seventh" => n % 7 == 0,
        "rare" => [5, 6, 400].contains(&n),
        _ => false,
    }
}

/// What puts them in, and those of another namespace between them.
fn messages(schema: &InSchema) -> String {
    let row = |ns: &str, n: i64| {
        let words: Vec<&str> = WORDS.into_iter().filter(|word| has(word, n)).collect();
        let namespace = Namespace::parse(ns).expect("valid");
        let terms = terms::of_row(&namespace, LogId(Uuid::nil()), Role::User, &words.join(" "));
        format!(
            "('{ns}', {}, 'log', {n}, {n}, '', array_to_tsvector(string_to_array('{terms}', ' ')))",
            3 * n
        )
    };
    let own = (1..=MESSAGES).map(|n| row(f::namespace().as_str(), n));
    let rows: Vec<String> = own.chain((1..100).map(|n| row("other", n))).collect();
    format!(
        "INSERT INTO {}.search_messages VALUES {}",
        schema.0,
        rows.join(", ")
    )
}

fn of(word: &str) -> Query {
    Query {
        namespace: f::namespace(),
        words: words::Query::parse(word).expect("valid"),
        session: None,
        workspace: None,
        roles: Vec::new(),
        after: None,
        before: None,
    }
}

/// The places of all that is found, and on how many pages.
async fn found(conn: &Conn, query: &Query, (oldest, newest): (i64, i64), sizes: Sizes) -> (Vec<i64>, usize) {
    let expression = terms::expression(query).expect("it has words");
    let (mut places, mut pages, mut newest) = (Vec::new(), 0, Some(newest));
    while let Some(before) = newest {
        let mut finding = Finding::new(conn, (query, &expression), (oldest, before), sizes);
        pages += 1;
        loop {
            let rows = finding.next(50).await.expect("searched");
            if rows.is_empty() {
                break;
            }
            let found = rows.iter().map(|row| Columns(row).integer(0).expect("a place"));
            places.extend(found);
        }
        newest = finding.rest();
    }
    (places, pages)
}

#[tokio::test]
async fn every_way_finds_the_same() {
    let schema = InSchema::new().await;
    let store = Postgres::open(&schema.url(), &Options::default())
        .await
        .expect("opened");
    told(&messages(&schema)).await;
    let reading = store
        .pool
        .state("searching", Plans::Own)
        .await
        .expect("there is one");
    let sizes = |first, further, stretches, named| Sizes {
        first,
        further,
        stretches,
        named,
    };
    for (sizes, seventh_on) in [
        // All in one stretch; then what is named; then a stretch after another, on one page and on several.
        (sizes(2_000, 10, 1, 0), 1),
        (sizes(10, 10, 1, 1_000), 1),
        (sizes(10, 70, 100, 0), 1),
        (sizes(10, 50, 3, 0), 7),
        (sizes(1, 1_000, 1, 3), 1),
    ] {
        for word in ["all", "seventh", "rare", "none"] {
            for (oldest, newest) in [
                (i64::MIN, i64::MAX),
                (15, 1_200),
                (16, 1_201),
                (2_999, 3_000),
                (5_000, 9_000),
            ] {
                let expected: Vec<i64> = (1..=MESSAGES)
                    .rev()
                    .filter(|n| has(word, *n))
                    .map(|n| 3 * n)
                    .filter(|place| oldest < *place && *place < newest)
                    .collect();
                let (places, pages) = found(&reading, &of(word), (oldest, newest), sizes).await;
                assert_eq!(
                    places, expected,
                    "{word} between {oldest} and {newest} by {sizes:?}"
                );
                if word == "seventh" && newest == i64::MAX {
                    assert_eq!(pages, seventh_on, "{sizes:?}");
                }
            }
        }
    }
    reading
        .end(Ok::<_, crate::store::Error>(()))
        .await
        .expect("given back");
    store.close().await;
}
