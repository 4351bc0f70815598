//! `reindex`: makes the search index anew, with the server stopped.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::keep::Data;
use super::term::Screen;
use crate::service::SystemClock;
use crate::store::Store as _;
use crate::store::sqlite::{OpenError, Sqlite};
use crate::upkeep::{Indexer, Pace};

const BAR: &str = "{spinner} {human_pos} messages indexed, {per_sec}";

/// Make the search index anew. The server must be stopped; it need not be done after a crash.
#[derive(Args, Debug)]
pub(crate) struct Reindex {
    #[command(flatten)]
    data: Data,
}

impl Reindex {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let folder = self.data.folder()?;
        if !Sqlite::is_in(&folder) {
            return Err(Error::Input(format!("there is no data in {}", folder.display())));
        }
        let opened = Sqlite::open_without_index(&folder, 1);
        let store = match opened {
            Ok(store) => Arc::new(store),
            Err(error @ OpenError::Locked { .. }) => {
                let error = anyhow::Error::new(error);
                return Err(error.context("the server must be stopped first").into());
            }
            Err(error) => {
                let error = anyhow::Error::new(error);
                return Err(error.context(format!("cannot open {}", folder.display())).into());
            }
        };
        let bar = screen.look.width.map(|_| bar());
        let began = Instant::now();
        let indexer = Indexer::new(store.clone(), Arc::new(SystemClock));
        let progress = |count| {
            if let Some(bar) = &bar {
                bar.set_position(count);
            }
        };
        let stop = CancellationToken::new();
        let count = indexer.catch_up(Pace::Full, &stop, progress).await;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        store.close().await;
        let count = count.context("the index could not be made")?;
        let took = began.elapsed().as_secs_f64();
        writeln!(screen, "{count} messages indexed in {took:.1} s")?;
        Ok(())
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
