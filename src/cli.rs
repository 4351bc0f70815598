//! The command line.

use std::process::ExitCode;

use clap::Parser;

pub mod serve;

#[derive(Parser)]
#[command(version, about)]
enum Command {
    /// Serve.
    Serve(serve::Serve),
}

/// Runs the command line of the process.
pub fn run() -> ExitCode {
    let Command::Serve(serve) = Command::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(serve.run()));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sessiond: {error:#}");
            ExitCode::FAILURE
        }
    }
}
