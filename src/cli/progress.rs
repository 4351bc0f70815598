//! How far a resume is: a bar with rate and time left on a terminal, plain lines elsewhere.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::term::{Look, Screen};
use crate::pb::client::{self as pb, ResumeState};

const BAR: &str = "{prefix} [{wide_bar}] {pos}/{len} messages, {per_sec}, {eta} left";

/// What has been shown of a resume.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    shown: Option<(String, u32, u64)>,
}

impl Progress {
    /// Nothing yet; a bar if a person looks.
    pub(crate) fn new(look: Look) -> Self {
        let bar = look.width.map(|_| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style.progress_chars("=> "));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, shown: None }
    }

    /// Shows what stands now. A line that would say nothing new is left out.
    pub(crate) fn show(&mut self, screen: &mut Screen, progress: &pb::ResumeProgress) -> io::Result<()> {
        if let Some(bar) = &self.bar {
            bar.set_prefix(state(progress));
            bar.set_length(progress.items_total);
            bar.set_position(progress.items_written);
            return Ok(());
        }
        let news = (
            state(progress).to_owned(),
            progress.attempt,
            progress.items_written,
        );
        if self.shown.as_ref() == Some(&news) {
            return Ok(());
        }
        self.shown = Some(news);
        writeln!(screen, "{}", line(progress))?;
        screen.flush()
    }

    /// Takes the bar away.
    pub(crate) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

fn line(progress: &pb::ResumeProgress) -> String {
    let mut line = format!(
        "{} {} {} of {} messages",
        progress.resume_id,
        state(progress),
        progress.items_written,
        progress.items_total
    );
    if progress.attempt > 1 {
        line.push_str(&format!(", attempt {}", progress.attempt));
    }
    line
}

/// The state in a word.
pub(crate) fn state(progress: &pb::ResumeProgress) -> &'static str {
    match progress.state() {
        ResumeState::Unspecified => "unknown",
        ResumeState::Queued => "queued",
        ResumeState::Seeding => "seeding",
        ResumeState::Ready => "ready",
        ResumeState::Failed => "failed",
        ResumeState::Canceled => "canceled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let progress = pb::ResumeProgress {
            resume_id: "r".into(),
            state: ResumeState::Seeding.into(),
            items_written: 100,
            items_total: 250,
            attempt: 1,
            ..Default::default()
        };
        assert_eq!(line(&progress), "r seeding 100 of 250 messages");
        let again = pb::ResumeProgress {
            attempt: 2,
            ..progress
        };
        assert_eq!(line(&again), "r seeding 100 of 250 messages, attempt 2");
    }
}
