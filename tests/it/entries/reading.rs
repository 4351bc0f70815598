//! Lists and views: bounds, pages, and what a model is sent.

use crate::support::build::{
    assistant, at, by, checkpoint, entries, entry, event, message, named, pointer, system, talk, user,
};
use crate::support::failure::invalid;
use crate::support::pb::{Entry, ListEntriesRequest, MessageView, ReadMessagesRequest, Role};
use crate::support::{Client, Code, refused, shared};

/// No page and no stream message holds more, unless it holds one record.
const PAGE_BYTES_MAX: usize = 2 << 20;

fn seqs(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq).collect()
}

async fn counting(client: &Client, count: usize) -> String {
    client.holding((1..=count).map(|n| user(&n.to_string()))).await
}

/// The seqs of every page.
async fn pages(client: &Client, mut request: ListEntriesRequest) -> Vec<Vec<u64>> {
    let mut pages = Vec::new();
    loop {
        let page = client.list_entries(request.clone()).await.unwrap();
        pages.push(seqs(&page.entries));
        if page.next_page_token.is_empty() {
            return pages;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn entries_are_listed_between_bounds_from_either_end() {
    let client = shared().await;
    let id = counting(&client, 7).await;
    let request = |after_seq, before_seq, newest, page_size| ListEntriesRequest {
        session_id: id.clone(),
        after_seq,
        before_seq,
        newest,
        page_size,
        ..Default::default()
    };
    let none: Vec<Vec<u64>> = vec![vec![]];
    for (asked, expected) in [
        (
            request(None, None, false, 3),
            vec![vec![1, 2, 3], vec![4, 5, 6], vec![7]],
        ),
        (
            request(None, None, true, 3),
            vec![vec![5, 6, 7], vec![2, 3, 4], vec![1]],
        ),
        (request(Some(2), None, false, 3), vec![vec![3, 4, 5], vec![6, 7]]),
        (request(Some(2), Some(6), false, 2), vec![vec![3, 4], vec![5]]),
        (request(Some(2), Some(7), true, 3), vec![vec![4, 5, 6], vec![3]]),
        (request(None, Some(3), false, 0), vec![vec![1, 2]]),
        (
            request(None, Some(u64::MAX), true, 1),
            (1..=7).rev().map(|seq| vec![seq]).collect(),
        ),
        (request(Some(7), None, false, 0), none.clone()),
        (request(Some(u64::MAX), None, false, 0), none.clone()),
        (request(Some(3), Some(4), false, 0), none.clone()),
        (request(Some(5), Some(2), true, 0), none.clone()),
        (request(None, Some(1), false, 0), none.clone()),
        (request(None, Some(0), true, 0), none),
    ] {
        assert_eq!(pages(&client, asked.clone()).await, expected, "{asked:?}");
    }
}

#[tokio::test]
async fn an_empty_log_has_one_empty_page() {
    let client = shared().await;
    let id = client.blank().await;
    for newest in [false, true] {
        let request = ListEntriesRequest {
            session_id: id.clone(),
            newest,
            ..Default::default()
        };
        assert_eq!(pages(&client, request).await, [Vec::<u64>::new()]);
    }
    assert_eq!(client.context(&id).await, []);
    assert_eq!(client.messages(&id).await, []);
}

#[tokio::test]
async fn pages_of_entries_are_as_large_as_asked_within_bounds() {
    let client = shared().await;
    let id = counting(&client, 501).await;
    let request = |page_size| ListEntriesRequest {
        session_id: id.clone(),
        page_size,
        ..Default::default()
    };
    for (page_size, rows) in [(0, 50), (500, 500), (10_000, 500)] {
        assert_eq!(
            client
                .list_entries(request(page_size))
                .await
                .unwrap()
                .entries
                .len(),
            rows
        );
    }
    invalid(client.list_entries(request(-1)).await, "page_size");
}

#[tokio::test]
async fn a_token_of_entries_belongs_to_its_filters() {
    let client = shared().await;
    let id = counting(&client, 5).await;
    let other = counting(&client, 5).await;
    let first = ListEntriesRequest {
        session_id: id,
        page_size: 2,
        ..Default::default()
    };
    let page_token = client.list_entries(first.clone()).await.unwrap().next_page_token;
    let next = ListEntriesRequest { page_token, ..first };
    for changed in [
        ListEntriesRequest {
            session_id: other,
            ..next.clone()
        },
        ListEntriesRequest {
            newest: true,
            ..next.clone()
        },
        ListEntriesRequest {
            after_seq: Some(1),
            ..next.clone()
        },
        ListEntriesRequest {
            before_seq: Some(4),
            ..next.clone()
        },
        ListEntriesRequest {
            page_token: "garbage".into(),
            ..next.clone()
        },
    ] {
        refused(
            client.list_entries(changed).await,
            Code::InvalidArgument,
            "PAGE_TOKEN_INVALID",
        );
    }
    assert_eq!(seqs(&client.list_entries(next).await.unwrap().entries), [3, 4]);
}

#[tokio::test]
async fn pages_and_stream_messages_hold_two_mebibytes() {
    let client = shared().await;
    let id = client.blank().await;
    let mebibyte = "m".repeat((1 << 20) - 200);
    for n in 0..2 {
        let three = (0..3).map(|m| named(&format!("{n}-{m}"), user(&mebibyte)));
        client.append(&id, entries(three)).await;
    }
    client
        .append(&id, entries([user(&"o".repeat(3 << 20)), user("small")]))
        .await;
    for newest in [false, true] {
        let mut request = ListEntriesRequest {
            session_id: id.clone(),
            newest,
            page_size: 500,
            ..Default::default()
        };
        let mut listed = Vec::new();
        loop {
            let page = client.list_entries(request.clone()).await.unwrap();
            assert!(
                fits(&page, page.entries.len()),
                "{:?} of {} bytes",
                seqs(&page.entries),
                size(&page)
            );
            assert!(!page.entries.is_empty());
            listed.extend(seqs(&page.entries));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        listed.sort_unstable();
        assert_eq!(listed, (1..=8).collect::<Vec<_>>());
    }
    for view in [MessageView::Visible, MessageView::Context] {
        let request = ReadMessagesRequest {
            session_id: id.clone(),
            view: view.into(),
            ..Default::default()
        };
        let chunks = client.read_chunks(request).await.unwrap();
        assert_eq!(chunks.iter().map(Vec::len).sum::<usize>(), 8);
        assert!(
            chunks.len() <= 6,
            "messages that fit together come together: {} chunks",
            chunks.len()
        );
        for messages in chunks {
            let answer = crate::support::pb::ReadMessagesResponse { messages };
            assert!(fits(&answer, answer.messages.len()), "{} bytes", size(&answer));
        }
    }
}

fn size(message: &impl prost::Message) -> usize {
    message.encoded_len()
}

/// At most 2 MiB of records, and what a page adds of its own; or one record.
fn fits(message: &impl prost::Message, records: usize) -> bool {
    records == 1 || size(message) <= PAGE_BYTES_MAX + 1024
}

#[tokio::test]
async fn the_visible_list_is_read_from_an_index() {
    let client = shared().await;
    let id = client
        .holding([
            system("s"),
            user("0"),
            assistant("1"),
            by("reviewer", assistant("2")),
            system("s"),
            user("3"),
        ])
        .await;
    let read = |from_index, limit| ReadMessagesRequest {
        session_id: id.clone(),
        from_index,
        limit,
        ..Default::default()
    };
    let all = ["user: 0", "assistant: 1", "assistant: 2", "user: 3"];
    for (from, limit, expected) in [
        (None, None, &all[..]),
        (Some(0), None, &all),
        (Some(1), None, &all[1..]),
        (Some(1), Some(2), &all[1..3]),
        (Some(3), Some(100), &all[3..]),
        (Some(0), Some(0), &[]),
        (Some(4), None, &[]),
        (None, Some(i64::MAX), &all),
    ] {
        let messages = client.read_messages(read(from, limit)).await.unwrap();
        assert_eq!(talk(&messages), expected, "from {from:?}, {limit:?} of them");
    }
    for from in [5, i64::MAX] {
        refused(
            client.read_messages(read(Some(from), None)).await,
            Code::OutOfRange,
            "INDEX_OUT_OF_RANGE",
        );
    }
    invalid(client.read_messages(read(None, Some(-1))).await, "limit");
    let negative = client.read_messages(read(Some(-1), None)).await.unwrap_err();
    assert!(
        [Code::OutOfRange, Code::InvalidArgument].contains(&negative.code()),
        "{negative:?}"
    );
    let unknown = ReadMessagesRequest {
        session_id: id.clone(),
        view: 99,
        ..Default::default()
    };
    invalid(client.read_messages(unknown).await, "view");
}

#[tokio::test]
async fn the_context_view_has_an_index_too() {
    let client = shared().await;
    let id = client.holding([user("gone")]).await;
    client
        .append(
            &id,
            vec![checkpoint(vec![user("0"), assistant("1")]), entry(user("2"))],
        )
        .await;
    for (from, limit, expected) in [
        (None, Some(1), &["user: 0"][..]),
        (Some(1), None, &["assistant: 1", "user: 2"]),
        (Some(2), Some(5), &["user: 2"]),
        (Some(3), None, &[]),
    ] {
        let request = ReadMessagesRequest {
            session_id: id.clone(),
            view: MessageView::Context.into(),
            from_index: from,
            limit,
            ..Default::default()
        };
        assert_eq!(
            talk(&client.read_messages(request).await.unwrap()),
            expected,
            "from {from:?}"
        );
    }
    let past = ReadMessagesRequest {
        session_id: id,
        view: MessageView::Context.into(),
        from_index: Some(4),
        ..Default::default()
    };
    refused(
        client.read_messages(past).await,
        Code::OutOfRange,
        "INDEX_OUT_OF_RANGE",
    );
}

#[tokio::test]
async fn the_context_view_is_what_a_model_is_sent() {
    let client = shared().await;
    let id = client
        .holding([
            system("rules"),
            user("a"),
            by("reviewer", assistant("sub")),
            assistant("b"),
            message(Role::Tool, vec![]),
        ])
        .await;
    assert_eq!(
        talk(&client.context(&id).await),
        ["system: rules", "user: a", "assistant: b", "tool: "]
    );
    assert_eq!(
        talk(&client.messages(&id).await),
        ["user: a", "assistant: sub", "assistant: b", "tool: "]
    );
}

#[tokio::test]
async fn the_newest_checkpoint_counts() {
    let client = shared().await;
    let id = client.holding([user("1"), assistant("2")]).await;
    let kept = vec![named("k", user("kept")), assistant("too")];
    client
        .append(
            &id,
            vec![checkpoint(kept.clone()), entry(user("3")), entry(assistant("4"))],
        )
        .await;
    let context = client.context(&id).await;
    assert_eq!(
        talk(&context),
        ["user: kept", "assistant: too", "user: 3", "assistant: 4"]
    );
    assert_eq!(context[..2], kept, "as it came");

    client
        .append(
            &id,
            vec![
                checkpoint(vec![system("all anew")]),
                event("{}"),
                entry(user("5")),
            ],
        )
        .await;
    assert_eq!(talk(&client.context(&id).await), ["system: all anew", "user: 5"]);
    client
        .append(&id, vec![checkpoint(vec![]), entry(user("6"))])
        .await;
    assert_eq!(talk(&client.context(&id).await), ["user: 6"]);
    let all = [
        "user: 1",
        "assistant: 2",
        "user: 3",
        "assistant: 4",
        "user: 5",
        "user: 6",
    ];
    assert_eq!(talk(&client.messages(&id).await), all, "the full log stays");
    assert_eq!(client.entries(&id).await.len(), 10);
}

#[tokio::test]
async fn a_checkpoint_may_point_at_a_summary() {
    let client = shared().await;
    let log = || ["a", "b", "c", "d"].map(|id| named(id, user(id)));
    let summed = |summary: &'static str| [named("sum", assistant(summary)), named("e", user("e"))];
    for (what, last, expected) in [
        (
            "after the last one covered",
            "c",
            &["assistant: in short", "user: d", "user: e", "user: f"][..],
        ),
        (
            "everything covered before the summary",
            "d",
            &["assistant: in short", "user: e", "user: f"],
        ),
        (
            "an unknown last one",
            "nobody",
            &["assistant: in short", "user: e", "user: f"],
        ),
        ("no last one", "", &["assistant: in short", "user: e", "user: f"]),
        (
            "the summary itself",
            "sum",
            &["assistant: in short", "user: e", "user: f"],
        ),
        ("after the summary", "e", &["assistant: in short", "user: f"]),
    ] {
        let id = client.holding(log()).await;
        client.append(&id, entries(summed("in short"))).await;
        client
            .append(&id, vec![pointer("sum", last), entry(named("f", user("f")))])
            .await;
        assert_eq!(talk(&client.context(&id).await), expected, "{what}");
        assert_eq!(client.messages(&id).await.len(), 7, "the full log stays");
    }
}

#[tokio::test]
async fn times_of_messages_are_kept_whatever_their_order() {
    let client = shared().await;
    let id = client.blank().await;
    let dated = |seconds| {
        let mut message = user("x");
        message.create_time = Some(at(seconds));
        Entry {
            create_time: Some(at(seconds + 1)),
            ..entry(message)
        }
    };
    client.append(&id, vec![dated(9), dated(-5), dated(0)]).await;
    let times: Vec<_> = client
        .entries(&id)
        .await
        .iter()
        .map(|entry| entry.create_time.unwrap().seconds)
        .collect();
    assert_eq!(times, [10, -4, 1]);
    let said: Vec<_> = client
        .messages(&id)
        .await
        .iter()
        .map(|message| message.create_time.unwrap().seconds)
        .collect();
    assert_eq!(said, [9, -5, 0]);
}
