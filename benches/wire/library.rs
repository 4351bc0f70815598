//! A library of many sessions, in SQLite or in PostgreSQL: pages, a title, words, a tree of forks; and what ten times as
//! much makes of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sessiond::pb::client as pb;
use sessiond::pb::client::fork_session_request::Point;

use crate::Plan;
use crate::child::Child;
use crate::client::{self, Sessions};
use crate::fork::thousands;
use crate::load::{Lane, Latencies, one_by_one};
use crate::postgres::cluster::Cluster;
use crate::report::{Table, ms};

/// Sessions of each size.
const COUNTS: [usize; 2] = [10_000, 100_000];

/// Messages of a session.
const MESSAGES: usize = 20;

/// Sessions that there are for each fork of the tree.
const SESSIONS_A_FORK: usize = 100;

/// Words that messages are made of: of rank n, one in n is said.
const VOCABULARY: usize = 5_000;

/// Words of a message.
const WORDS: usize = 30;

/// Calls in flight while the library is written.
const IN_FLIGHT: usize = 128;

/// How long the index may take to catch up.
const INDEXED_WITHIN: Duration = Duration::from_secs(1_800);

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// A word, low ranks more often than high ones.
    fn word(&mut self) -> String {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let fraction = self.next() as f64 / (1_u64 << 31) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a small positive number"
        )]
        let rank = (VOCABULARY as f64).powf(fraction) as usize;
        word(rank)
    }

    fn text(&mut self) -> String {
        let words: Vec<String> = (0..WORDS).map(|_| self.word()).collect();
        words.join(" ")
    }
}

/// The word of a rank.
fn word(rank: usize) -> String {
    format!("w{rank}")
}

fn entry(number: usize, text: String) -> pb::Entry {
    let role = if number.is_multiple_of(2) {
        pb::Role::User
    } else {
        pb::Role::Assistant
    };
    let block = pb::content_block::Block::Text(pb::TextBlock { text });
    let message = pb::Message {
        role: role.into(),
        content: vec![pb::ContentBlock {
            block: Some(block),
            ..Default::default()
        }],
        ..Default::default()
    };
    pb::Entry {
        payload: Some(pb::entry::Payload::Message(message)),
        ..Default::default()
    }
}

/// Makes one session of the library. One of a thousand has a rare title.
async fn write(mut client: Sessions, namespace: String, number: usize) -> Result<String> {
    let mut dice = Dice(number as u64 + 1);
    let rare = if number.is_multiple_of(1_000) {
        "Quetzal"
    } else {
        "Sparrow"
    };
    let request = pb::CreateSessionRequest {
        namespace: namespace.clone(),
        session: Some(pb::Session {
            title: format!("{rare} {} {}", dice.word(), dice.word()),
            workspace: format!("/projects/{}", number % 100),
            ..Default::default()
        }),
        ..Default::default()
    };
    let made = client.create_session(request).await?.into_inner().session;
    let session_id = made.context("a session")?.session_id;
    let request = pb::AppendEntriesRequest {
        namespace,
        session_id: session_id.clone(),
        entries: (0..MESSAGES).map(|number| entry(number, dice.text())).collect(),
        ..Default::default()
    };
    client.append_entries(request).await?;
    Ok(session_id)
}

/// Forks one session again and again: half of the forks hang below the fork before them.
async fn plant(client: &mut Sessions, namespace: &str, session_id: &str, forks: usize) -> Result<()> {
    let mut source = session_id.to_owned();
    for number in 0..forks {
        let request = pb::ForkSessionRequest {
            namespace: namespace.to_owned(),
            session_id: source.clone(),
            point: Some(Point::TurnsFromEnd(0)),
            ..Default::default()
        };
        let fork = client.fork_session(request).await?.into_inner().session;
        source = if number % 4 == 0 {
            fork.context("a fork")?.session_id
        } else {
            session_id.to_owned()
        };
    }
    Ok(())
}

/// Waits until everything that was written by now is indexed.
async fn indexed(client: &mut Sessions, namespace: &str, last: prost_types::Timestamp) -> Result<Duration> {
    let start = Instant::now();
    loop {
        let request = searching(namespace, "quetzal");
        let answer = client.search_messages(request).await?.into_inner();
        let through = answer.indexed_through.unwrap_or_default();
        if (through.seconds, through.nanos) >= (last.seconds, last.nanos) {
            return Ok(start.elapsed());
        }
        ensure!(
            start.elapsed() < INDEXED_WITHIN,
            "the index does not catch up: {through:?}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn searching(namespace: &str, query: &str) -> pb::SearchMessagesRequest {
    pb::SearchMessagesRequest {
        namespace: namespace.to_owned(),
        query: query.to_owned(),
        page_size: 50,
        ..Default::default()
    }
}

/// A call of a library.
enum Call {
    List(pb::ListSessionsRequest),
    Search(pb::SearchMessagesRequest),
    Tree(pb::GetSessionTreeRequest, usize),
}

struct Caller {
    client: Sessions,
    call: Call,
}

impl Lane for Caller {
    async fn call(&mut self) -> Result<()> {
        match &self.call {
            Call::List(request) => {
                self.client.list_sessions(request.clone()).await?;
            }
            Call::Search(request) => {
                self.client.search_messages(request.clone()).await?;
            }
            Call::Tree(request, nodes) => {
                let (mut request, mut seen) = (request.clone(), 0);
                loop {
                    let page = self.client.get_session_tree(request.clone()).await?.into_inner();
                    seen += page.nodes.len();
                    if page.next_page_token.is_empty() {
                        break;
                    }
                    request.page_token = page.next_page_token;
                }
                ensure!(seen == *nodes, "a tree of {seen}");
            }
        }
        Ok(())
    }
}

/// The calls that are compared.
async fn calls(
    client: &mut Sessions,
    namespace: &str,
    (count, tree, forks): (usize, &str, usize),
) -> Result<Vec<(String, Call)>> {
    let list = pb::ListSessionsRequest {
        namespace: namespace.to_owned(),
        page_size: 50,
        ..Default::default()
    };
    let titled = pb::ListSessionsRequest {
        title_contains: Some("quetzal".to_owned()),
        ..list.clone()
    };
    let middle = crate::list::middle(client, &list, count).await?;
    let search = |ranks: [usize; 3]| {
        let words = ranks.map(word).join(" ");
        Call::Search(searching(namespace, &words))
    };
    let best = pb::SearchMessagesRequest {
        order: pb::SearchOrder::Relevance.into(),
        ..searching(namespace, &[2, 30, 400].map(word).join(" "))
    };
    let whole = pb::GetSessionTreeRequest {
        namespace: namespace.to_owned(),
        session_id: tree.to_owned(),
        page_size: 500,
        ..Default::default()
    };
    Ok(vec![
        ("ListSessions, first page".to_owned(), Call::List(list)),
        (
            "ListSessions, a page in the middle".to_owned(),
            Call::List(middle),
        ),
        (
            "ListSessions, a part of the title that one in a thousand has".to_owned(),
            Call::List(titled),
        ),
        ("SearchMessages, three common words".to_owned(), search([1, 2, 3])),
        (
            "SearchMessages, a common word and two rarer ones".to_owned(),
            search([2, 30, 400]),
        ),
        (
            "SearchMessages, three rare words".to_owned(),
            search([3_000, 4_000, 4_500]),
        ),
        ("SearchMessages, best first".to_owned(), Call::Search(best)),
        (
            "GetSessionTree, one fork for each hundred sessions".to_owned(),
            Call::Tree(whole, forks + 1),
        ),
    ])
}

/// A library that is written and indexed, and what is asked of it.
async fn asked(plan: Plan, server: &Child, sessions: usize) -> Result<Vec<(String, Vec<Latencies>)>> {
    let mut client = client::sessions(server.address()).await?;
    let namespace = "library".to_owned();
    eprintln!("library: writing {sessions} sessions of {MESSAGES} messages");
    let start = Instant::now();
    let written = stream::iter(0..sessions).map(|number| write(client.clone(), namespace.clone(), number));
    let ids: Vec<String> = written.buffered(IN_FLIGHT).try_collect().await?;
    let (tree, forks) = (ids[sessions / 2].clone(), (sessions / SESSIONS_A_FORK).max(1));
    plant(&mut client, &namespace, &tree, forks).await?;
    let request = pb::GetSessionRequest {
        namespace: namespace.clone(),
        session_id: ids[sessions - 1].clone(),
        ..Default::default()
    };
    let last = client.get_session(request).await?.into_inner().session;
    let last = last.and_then(|session| session.update_time).context("a time")?;
    let written = start.elapsed();
    let behind = indexed(&mut client, &namespace, last).await?;
    eprintln!("library: written in {written:.1?}, indexed {behind:.1?} later");
    let mut taken = Vec::new();
    for (name, call) in calls(&mut client, &namespace, (sessions, &tree, forks)).await? {
        let mut caller = Caller {
            client: client.clone(),
            call,
        };
        let mut latencies = Vec::new();
        for _ in 0..plan.repetitions() {
            latencies.push(Latencies::new(one_by_one(&mut caller, plan.calls()).await?)?);
        }
        taken.push((name, latencies));
    }
    Ok(taken)
}

/// Over the embedded store.
pub(crate) async fn measure(plan: Plan) -> Result<Vec<Table>> {
    let mut measured = Vec::new();
    for sessions in counts(plan) {
        let server = Child::sessiond(plan.workers)?;
        measured.push(asked(plan, &server, sessions).await?);
        eprintln!(
            "library: {} bytes",
            server.stored_bytes()? + server.index_bytes()?
        );
    }
    Ok(vec![table(plan, "A library, one call after another", &measured)])
}

/// Over one replica on PostgreSQL.
pub(crate) async fn measure_postgres(plan: Plan) -> Result<Vec<Table>> {
    let cluster = Cluster::start()?;
    let mut measured = Vec::new();
    for sessions in counts(plan) {
        let url = cluster.create(&format!("library_{sessions}")).await?;
        let server = Child::sessiond_with(plan.workers, &[("SESSIOND_STORE", url.as_str())])?;
        measured.push(asked(plan, &server, sessions).await?);
        eprintln!("library: {} bytes", Cluster::stored_bytes(&url).await?);
    }
    let title = "A library on PostgreSQL (fsync on), one replica, one call after another";
    Ok(vec![table(plan, title, &measured)])
}

/// How many sessions there are at first and then.
fn counts(plan: Plan) -> [usize; 2] {
    if plan.quick { [100, 1_000] } else { COUNTS }
}

fn table(plan: Plan, title: &str, measured: &[Vec<(String, Vec<Latencies>)>]) -> Table {
    let heads = counts(plan).map(|count| {
        format!(
            "{} sessions, {} messages",
            thousands(count),
            thousands(count * MESSAGES)
        )
    });
    let [few, many] = heads;
    let mut table = Table::new(
        title,
        &[
            "call",
            &format!("{few}: median"),
            "p99",
            &format!("{many}: median"),
            "p99",
        ],
    );
    for (few, many) in measured[0].iter().zip(&measured[1]) {
        let mut row = vec![few.0.clone()];
        for latencies in [&few.1, &many.1] {
            row.push(ms(Latencies::median_of(latencies, 0.5)));
            row.push(ms(Latencies::median_of(latencies, 0.99)));
        }
        table.row(row);
    }
    table
}
