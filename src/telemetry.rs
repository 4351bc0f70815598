//! The log: lines on standard error, as text or JSON, filtered by level and target.
//!
//! Nothing that a client sent is ever logged: ids and codes are, bodies, titles and tokens are not. A panic is logged
//! by its place, with its text only where that is a constant of the program.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{Log, LogFormat};

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter cannot be read.
    #[error("log.filter {filter:?} cannot be read")]
    Filter {
        /// As it was given.
        filter: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process has a log already.
    #[error("the process has a log already")]
    Taken(#[from] TryInitError),
}

/// Reads the filter.
pub fn filter(log: &Log) -> Result<EnvFilter, Error> {
    EnvFilter::try_new(&log.filter).map_err(|source| Error::Filter {
        filter: log.filter.clone(),
        source,
    })
}

/// Starts the log of the process, panics included. Once a process.
pub fn start(log: &Log) -> Result<(), Error> {
    let filter = filter(log)?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // The database's driver tells the values of statements at this level: what clients sent.
    let quiet = filter_fn(|metadata| {
        *metadata.level() <= Level::INFO || !metadata.target().starts_with("tokio_postgres")
    });
    let registry = tracing_subscriber::registry().with(filter).with(quiet);
    match log.format {
        LogFormat::Text => registry.with(lines).try_init()?,
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init()?,
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, text = constant_text(info), "panicked");
}

/// The text of a panic without arguments. One with arguments may quote what a client sent.
fn constant_text<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    info.payload()
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_filter_that_cannot_be_read() {
        let log = Log {
            filter: "info,=,".to_owned(),
            format: LogFormat::Text,
        };
        let error = start(&log).expect_err("refused");
        assert!(error.to_string().contains("log.filter"), "{error}");
    }
}
