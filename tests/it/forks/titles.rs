//! What forks are called: the parent's base title, and the next free number.

use futures_util::future::join_all;

use crate::support::build::{assistant, entries, user};
use crate::support::pb::Session;
use crate::support::pb::fork_session_request::Point;
use crate::support::{Client, shared};

async fn titled(client: &Client, title: &str) -> String {
    let id = client
        .create(Session {
            title: title.into(),
            ..Default::default()
        })
        .await
        .session_id;
    client.append(&id, entries([user("a")])).await;
    id
}

async fn forked(client: &Client, id: &str) -> Session {
    client.fork(id, Point::MessageIndex(0)).await.session.unwrap()
}

#[tokio::test]
async fn the_number_follows_the_title() {
    let longest = "é".repeat(200);
    let shortened = format!("{} (fork 1)", "é".repeat(191));
    for (title, fork) in [
        ("My Session", "My Session (fork 1)"),
        ("My Session (fork 1)", "My Session (fork 2)"),
        ("My Session (fork 99)", "My Session (fork 100)"),
        ("My Session (branched)", "My Session (branched) (fork 1)"),
        ("Part (fork 3) of it", "Part (fork 3) of it (fork 1)"),
        ("My Session\u{20}\u{20}(fork 4)", "My Session (fork 5)"),
        ("(fork 1)", "(fork 2)"),
        ("A (fork 1) (fork 2)", "A (fork 1) (fork 3)"),
        ("A (fork )", "A (fork ) (fork 1)"),
        (longest.as_str(), shortened.as_str()),
    ] {
        let client = shared().await;
        let id = titled(&client, title).await;
        let made = forked(&client, &id).await;
        assert_eq!(made.title, fork, "of {title:?}");
        assert!(made.title.chars().count() <= 200);
    }
}

#[tokio::test]
async fn siblings_count() {
    let client = shared().await;
    let parent = titled(&client, "My Session").await;
    titled(&client, "My Session (fork 1)").await;
    titled(&client, "My Session (fork 5)").await;
    assert_eq!(forked(&client, &parent).await.title, "My Session (fork 6)");

    let client = shared().await;
    let parent = titled(&client, "My Session").await;
    let mut forks = Vec::new();
    for _ in 0..3 {
        forks.push(forked(&client, &parent).await.session_id);
    }
    client.append(&forks[1], entries([user("b")])).await;
    assert_eq!(forked(&client, &forks[1]).await.title, "My Session (fork 4)");
    assert_eq!(forked(&client, &parent).await.title, "My Session (fork 5)");
}

#[tokio::test]
async fn a_deleted_sibling_keeps_its_number() {
    let client = shared().await;
    let parent = titled(&client, "My Session").await;
    let first = forked(&client, &parent).await;
    client.delete(&first.session_id).await;
    assert_eq!(forked(&client, &parent).await.title, "My Session (fork 2)");
}

#[tokio::test]
async fn a_renamed_sibling_counts_by_its_new_title() {
    let client = shared().await;
    let parent = titled(&client, "My Session").await;
    let other = titled(&client, "Something else").await;
    let renamed = Session {
        session_id: other,
        title: "My Session (fork 7)".into(),
        ..Default::default()
    };
    client.update_or(renamed, &["title"]).await.unwrap();
    assert_eq!(forked(&client, &parent).await.title, "My Session (fork 8)");
}

#[tokio::test]
async fn namespaces_count_apart() {
    let (one, other) = (shared().await, shared().await);
    titled(&one, "My Session (fork 9)").await;
    let parent = titled(&other, "My Session").await;
    assert_eq!(forked(&other, &parent).await.title, "My Session (fork 1)");
}

#[tokio::test]
async fn no_title_forks_to_no_title() {
    let client = shared().await;
    let id = client.blank().await;
    client.append(&id, entries([assistant("a")])).await;
    let derived = client.session(&id).await.title;
    assert_eq!(derived, "New Session");
    client.append(&id, entries([user("Now a question")])).await;
    assert_eq!(client.session(&id).await.title, "Now a question");
    assert_eq!(
        client
            .fork(&id, Point::TurnsFromEnd(0))
            .await
            .session
            .unwrap()
            .title,
        "Now a question (fork 1)"
    );
}

#[tokio::test]
async fn concurrent_forks_never_share_a_number() {
    let client = shared().await;
    let parent = titled(&client, "My Session").await;
    let forks = join_all((0..40).map(|_| forked(&client, &parent))).await;
    let mut numbers: Vec<_> = forks
        .iter()
        .map(|fork| {
            let number = fork
                .title
                .strip_prefix("My Session (fork ")
                .and_then(|rest| rest.strip_suffix(')'));
            number.unwrap().parse::<u64>().unwrap()
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn forks_of_forks_made_at_once_share_their_count() {
    let client = shared().await;
    let parent = titled(&client, "My Session").await;
    let mut sources = vec![parent.clone()];
    for _ in 0..3 {
        let fork = forked(&client, &parent).await.session_id;
        client.append(&fork, entries([user("b")])).await;
        sources.push(fork);
    }
    let made = join_all((0..24).map(|n| forked(&client, &sources[n % sources.len()]))).await;
    let titles: std::collections::BTreeSet<_> = made.into_iter().map(|fork| fork.title).collect();
    assert_eq!(titles.len(), 24);
    assert!(titles.contains("My Session (fork 27)"), "{titles:?}");
}
