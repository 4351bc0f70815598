//! An import that takes long beside a sweep.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use prost::Message as _;

use super::*;
use crate::domain::Limits;
use crate::service::transfer::Import;
use crate::service::{Error as Failed, Service};

const MINUTE: Duration = Duration::from_secs(60);

/// A session of so many events.
fn section(id: &str, events: usize) -> Bytes {
    let mut text =
        format!("{{\"format\":\"sessiond\",\"version\":1,\"session\":{{\"session_id\":\"{id}\"}}}}\n");
    let event = crate::pb::client::Event {
        r#type: "tick".into(),
        ..Default::default()
    };
    let body = STANDARD.encode(event.encode_to_vec());
    for _ in 0..events {
        text.push_str(&format!("{{\"kind\":\"event\",\"body\":\"{body}\"}}\n"));
    }
    text.into()
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_import_has_staged_is_not_swept() {
    let bench = Arc::new(Bench::new());
    let ids = Arc::new(TimeOrderedIds);
    let service = Service::new(bench.store.clone(), bench.clock.clone(), ids, Limits::default());
    // The second section stays away for two hours, in the middle of which upkeep looks round.
    let pieces = stream::unfold(0, {
        let bench = bench.clone();
        move |at| {
            let bench = bench.clone();
            async move {
                match at {
                    0 => Some((Ok::<_, Failed>(section("first", 2_500)), 1)),
                    1 => {
                        for _ in 0..120 {
                            tokio::time::sleep(MINUTE).await;
                            bench.clock.forward(MINUTE);
                            assert_eq!(bench.round().await.failures, 0);
                        }
                        Some((Ok(section("second", 3)), 2))
                    }
                    _ => None,
                }
            }
        }
    });
    let import = Import {
        session: None,
        workspace: None,
        source: None,
    };
    let done = service
        .import_session(bench.ns.clone(), None, import, Box::pin(pieces))
        .await
        .expect("it is kept");
    assert_eq!((done.added, done.problems), (2_503, vec![]));
    let first = bench.session(&session_id("first")).await.expect("there");
    assert_eq!(first.tip.seq().0, 2_500);
}
