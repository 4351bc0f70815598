//! `check`: everything that is wrong with a configuration, before it is used.

use std::io::Write as _;
use std::path::Path;

use clap::Args;
use serde_json::json;

use super::error::Error;
use super::json;
use super::serve::Serve;
use super::show::count;
use super::term::Screen;
use crate::config::{self, Config, Examined};
use crate::store::place::Place;
use crate::telemetry;

mod cluster;
mod database;
mod folder;
mod keeping;
mod network;
mod tls;

use keeping::Kept;

/// Say everything that is wrong with a configuration before it is served; nothing is changed.
///
/// Takes serve's options. Looks at the file, the environment and the options, and at what they name: the data folder,
/// or database, addresses, certificates, how long sessions are kept, what other replicas need. Exits with 1 if the server would not start or not serve well.
#[derive(Args, Debug)]
pub(crate) struct Check {
    #[command(flatten)]
    serve: Serve,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// It cannot be served.
    Error,
    /// It can, and somebody may come to regret it.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, PartialEq)]
struct Finding {
    level: Level,
    /// The key that it is about, if it is about one.
    key: String,
    text: String,
}

/// All that is wrong.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, key: &str, text: impl Into<String>) {
        self.add(Level::Error, key, text.into());
    }

    fn warning(&mut self, key: &str, text: impl Into<String>) {
        self.add(Level::Warning, key, text.into());
    }

    fn add(&mut self, level: Level, key: &str, text: String) {
        let key = key.to_owned();
        self.0.push(Finding { level, key, text });
    }

    fn count(&self, level: Level) -> u64 {
        self.0.iter().filter(|finding| finding.level == level).count() as u64
    }
}

impl Check {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let read = Config::examine(self.serve.file(), std::env::vars_os(), |config| {
            self.serve.set(config)
        });
        let found = findings(&read).await;
        let (errors, warnings) = (found.count(Level::Error), found.count(Level::Warning));
        if self.json {
            let all = found.0.iter().map(
                |finding| json!({ "level": finding.level.name(), "key": finding.key, "text": finding.text }),
            );
            let report = json!({
                "errors": errors,
                "warnings": warnings,
                "findings": all.collect::<Vec<_>>(),
            });
            json::print(screen, &report)?;
        } else {
            for Finding { level, key, text } in &found.0 {
                let key = if key.is_empty() {
                    String::new()
                } else {
                    format!("{key}: ")
                };
                writeln!(screen, "{}: {key}{text}", level.name())?;
            }
            let (errors, warnings) = (count(errors, "error"), count(warnings, "warning"));
            writeln!(screen, "{errors}, {warnings}")?;
        }
        match errors {
            0 => Ok(()),
            _ => Err(Error::Unfit),
        }
    }
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Everything that is wrong with a configuration, in itself and where it would be used.
async fn findings(read: &Examined) -> Findings {
    let (config, mut found) = (&read.config, Findings::default());
    for problem in &read.problems {
        let (key, text) = told(problem);
        found.error(&key, text);
    }
    for variable in config::unknown_variables(std::env::vars_os()) {
        found.warning(&variable, "means nothing to sessiond");
    }
    if let Err(error) = telemetry::filter(&config.log) {
        found.error("log.filter", with_causes(&error));
    }
    if config.limits.purge_after_days == 0 {
        found.warning(
            "limits.purge_after_days",
            "is 0: what is deleted cannot be restored",
        );
    }
    let engines = &config.engines;
    if engines.seeds_per_engine_max > engines.seeds_max {
        let text = format!(
            "is above engines.seeds_max, {}, and never reached",
            engines.seeds_max
        );
        found.warning("engines.seeds_per_engine_max", text);
    }
    network::look(config, &mut found);
    tls::look(&config.tls, &mut found);
    let kept = match config.place() {
        Ok(Place::Sqlite(folder)) => folder::look(&folder, &mut found).map(Kept::Folder),
        Ok(Place::Postgres(url)) => {
            cluster::look(config, &mut found);
            let look = database::look(&url, config, &mut found).await;
            look.map(Kept::Database)
        }
        // What is no URL was told of already.
        Err(_) if config.store.url.is_some() => None,
        Err(error) => {
            let (key, text) = told(&error);
            found.error(&key, text);
            None
        }
    };
    if let Some(kept) = kept {
        keeping::look(&kept, &config.retention, &mut found).await;
    }
    found
}

/// A problem of the configuration itself: its key, and what is wrong.
fn told(problem: &config::Error) -> (String, String) {
    match problem {
        config::Error::Value { key, rule } => ((*key).to_owned(), rule.clone()),
        config::Error::Key { key, rule, .. } => (key.clone(), rule.clone()),
        config::Error::Variable { variable, source } => (variable.clone(), source.message().to_owned()),
        config::Error::NotText { variable } => (variable.clone(), "is not UTF-8".to_owned()),
        config::Error::Unreadable { .. } | config::Error::File { .. } => {
            (String::new(), with_causes(problem))
        }
    }
}

/// An error with what it came from, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Whether this process may make files in a folder.
fn is_writable(folder: &Path) -> bool {
    use rustix::fs::Access;
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// The folder that a file lies in.
fn parent(file: &Path) -> &Path {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}
