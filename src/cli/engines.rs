//! `engines`: who is attached.

use std::io::Write as _;

use clap::Args;

use super::error::Error;
use super::remote::Remote;
use super::table::{self, Column};
use super::term::Screen;
use super::{json, when};
use crate::pb::client as pb;

/// Pages asked for at most.
const PAGES_MAX: usize = 10_000;

/// List the attached engines.
#[derive(Args, Debug)]
pub(crate) struct Engines {
    #[command(flatten)]
    remote: Remote,
}

impl Engines {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let (mut engines, mut token) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let request = pb::ListEnginesRequest {
                namespace: client.namespace(),
                page_size: 500,
                page_token: token,
            };
            let page = client.engines().list_engines(request).await?.into_inner();
            engines.extend(page.engines);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        if self.remote.json {
            return Ok(json::print(screen, &json::values(&engines)?)?);
        }
        if engines.is_empty() {
            writeln!(screen, "no engines")?;
            return Ok(());
        }
        let (now, look) = (when::now(), screen.look);
        let rows: Vec<Vec<String>> = engines
            .iter()
            .map(|engine| {
                let labels = engine.labels.iter().map(|(key, value)| format!("{key}={value}"));
                vec![
                    engine.engine_id.clone(),
                    engine.threads.to_string(),
                    engine.seeds.to_string(),
                    if engine.accepts_resume { "yes" } else { "no" }.to_owned(),
                    when::ago(now, engine.attach_time.as_ref()),
                    labels.collect::<Vec<_>>().join(" "),
                ]
            })
            .collect();
        let columns = [
            Column::Text("ID"),
            Column::Number("THREADS"),
            Column::Number("SEEDS"),
            Column::Text("RESUMES"),
            Column::Text("ATTACHED"),
            Column::Text("LABELS"),
        ];
        Ok(table::print(screen, look, &columns, &rows)?)
    }
}
