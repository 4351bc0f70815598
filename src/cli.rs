//! The command line: every command, what it prints, and what the program exits with.
//!
//! A command is a clap struct with a `run`; it speaks to a server through [`crate::client`] alone, as any other program
//! would. Answers go to standard output through one writer, errors and questions to standard error. Exit codes: 0 it was
//! done, 1 the service, a rule or the world said no, 2 the command line is wrong.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

mod append;
mod check;
mod copy;
mod demo;
mod diff;
mod engines;
mod entry;
mod error;
mod fork;
mod history;
mod json;
mod keep;
mod message;
mod migrate;
mod pick;
mod progress;
mod prune;
mod reindex;
mod remote;
mod remove;
mod resume;
mod save;
mod search;
pub mod serve;
mod sessions;
mod show;
mod snapshot;
mod stores;
mod table;
mod tail;
mod term;
mod threads;
mod transcript;
mod transfer;
mod tree;
mod when;

use error::{EXIT_USAGE, Error};
use term::Screen;

const AFTER_HELP: &str = "\
An ID is a session's id, the beginning of it that no other has, or -1 for the newest, -2 for the one before.

--json prints one JSON object or array in the form of the protos: fields in snake_case, enums by name, times in
RFC 3339, 64-bit numbers as numbers, bytes in base64, content JSON such as input_json as text.

Exit codes: 0 it was done, 1 the server or a rule said no, 2 the command line is wrong.";

/// Save, fork and resume the conversations of AI agents.
#[derive(Debug, Parser)]
#[command(name = "sessiond", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Check(check::Check),
    #[command(visible_alias = "list")]
    Ls(sessions::Ls),
    Show(show::Show),
    Tail(tail::Tail),
    Tree(tree::Tree),
    Diff(diff::Diff),
    Log(history::Log),
    Rewind(history::Rewind),
    Search(search::Search),
    Append(append::Append),
    Fork(fork::Fork),
    Save(save::Save),
    Snapshot(snapshot::Snapshot),
    Resume(resume::Resume),
    Watch(resume::Watch),
    Resumes(resume::Resumes),
    Cancel(resume::Cancel),
    Export(transfer::Export),
    Import(transfer::Import),
    Rm(remove::Rm),
    Restore(remove::Restore),
    Prune(prune::Prune),
    Threads(threads::Threads),
    Thread(threads::Thread),
    Engines(engines::Engines),
    Backup(keep::Backup),
    Verify(keep::Verify),
    Reindex(reindex::Reindex),
    Copy(copy::Copy),
    Migrate(migrate::Migrate),
    Demo(demo::Demo),
    /// Print a completion script: `sessiond completions bash > /etc/bash_completion.d/sessiond`
    Completions {
        /// The shell to print it for.
        shell: Shell,
    },
}

/// Reads the command line, does what it says, and tells what to exit with.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            // Help goes to standard output, errors elsewhere; a reader that has left is no error.
            let _ = answer.print();
            return if answer.use_stderr() {
                EXIT_USAGE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let mut screen = Screen::stdout();
    let done = execute(cli.command, &mut screen).and_then(|()| Ok(screen.flush()?));
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    let Some(code) = error.exit_code() else {
        return ExitCode::SUCCESS;
    };
    // What was said before the error comes before it.
    let _ = screen.flush();
    let _ = writeln!(std::io::stderr(), "{}", error.report());
    code.into()
}

fn execute(command: Command, screen: &mut Screen) -> Result<(), Error> {
    let runtime = match command {
        Command::Serve(_) => tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
        _ => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?,
    };
    runtime.block_on(async {
        match command {
            Command::Serve(serve) => Ok(serve.run().await?),
            Command::Check(check) => check.run(screen).await,
            Command::Ls(ls) => ls.run(screen).await,
            Command::Show(show) => show.run(screen).await,
            Command::Tail(tail) => tail.run(screen).await,
            Command::Tree(tree) => tree.run(screen).await,
            Command::Diff(diff) => diff.run(screen).await,
            Command::Log(log) => log.run(screen).await,
            Command::Rewind(rewind) => rewind.run(screen).await,
            Command::Search(search) => search.run(screen).await,
            Command::Append(append) => append.run(screen).await,
            Command::Fork(fork) => fork.run(screen).await,
            Command::Save(save) => save.run(screen).await,
            Command::Snapshot(snapshot) => snapshot.run(screen).await,
            Command::Resume(resume) => resume.run(screen).await,
            Command::Watch(watch) => watch.run(screen).await,
            Command::Resumes(resumes) => resumes.run(screen).await,
            Command::Cancel(cancel) => cancel.run(screen).await,
            Command::Export(export) => export.run(screen).await,
            Command::Import(import) => import.run(screen).await,
            Command::Rm(rm) => rm.run(screen).await,
            Command::Restore(restore) => restore.run(screen).await,
            Command::Prune(prune) => prune.run(screen).await,
            Command::Threads(threads) => threads.run(screen).await,
            Command::Thread(thread) => thread.run(screen).await,
            Command::Engines(engines) => engines.run(screen).await,
            Command::Backup(backup) => backup.run(screen),
            Command::Verify(verify) => verify.run(screen),
            Command::Reindex(reindex) => reindex.run(screen).await,
            Command::Copy(copy) => copy.run(screen).await,
            Command::Migrate(migrate) => migrate.run(screen).await,
            Command::Demo(demo) => demo.run(screen).await,
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "sessiond", &mut script);
                Ok(screen.write_all(&script)?)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn numbers_that_count_back_are_ids() {
        for line in [
            "sessiond show -1",
            "sessiond show -2 -n 3",
            "sessiond rm -1 --force --yes",
            "sessiond append -1 -",
            "sessiond append -1 --json-lines",
            "sessiond fork -1 --before 0",
            "sessiond fork -1 --before -1",
            "sessiond thread -1",
            "sessiond save -1 --title t",
            "sessiond snapshot -1 --now",
            "sessiond resume -1 --engine e --label k=v",
            "sessiond watch -1",
            "sessiond cancel -1",
            "sessiond tail -1 --since 3 --no-follow",
            "sessiond tree -1",
            "sessiond diff -1 -2",
            "sessiond log -1",
            "sessiond rewind -1 --drop 2",
            "sessiond show -1 --revision 2",
            "sessiond ls --roots",
            "sessiond search two words --session -1 --role tool -n 3",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn a_wrong_command_line_is_refused() {
        for line in [
            "sessiond show",
            "sessiond show -0",
            "sessiond search",
            "sessiond search x --role nobody",
            "sessiond fork -1",
            "sessiond fork -1 --before 0 --turns-from-end 0",
            "sessiond ls --label k",
            "sessiond ls --all --deleted",
            "sessiond ls --addr host:port",
            "sessiond append s hi --title t",
            "sessiond backup",
            "sessiond copy --from sqlite:a",
            "sessiond prune",
            "sessiond prune --older-than soon",
            "sessiond prune --keep -1",
            "sessiond prune --keep 1 --archive --delete",
            "sessiond completions csh",
            "sessiond rewind -1",
            "sessiond rewind -1 --drop 1 --to 2",
            "sessiond ls --roots --parent p",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
