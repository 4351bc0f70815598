//! The one writer that everything is printed through, and text that is fit for a terminal.
//!
//! Content is whatever a model, a tool or a stranger wrote: control characters and bidi overrides in it are shown, never
//! obeyed. Colours appear only where they are seen: not in a pipe, and not under NO_COLOR.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};

use console::{Style, Term};

/// Standard output, and how it wants to be written to.
#[derive(Debug)]
pub(crate) struct Screen {
    out: BufWriter<Stdout>,
    /// How it wants to be written to.
    pub(crate) look: Look,
}

/// How text is laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Whether colours are seen.
    pub(crate) colors: bool,
    /// Columns of the terminal; `None` when it is a pipe or a file, where nothing is cut.
    pub(crate) width: Option<usize>,
}

impl Screen {
    /// Standard output as it is.
    pub(crate) fn stdout() -> Self {
        let term = Term::stdout();
        let width = term.is_term().then(|| usize::from(term.size().1).max(40));
        Self {
            out: BufWriter::new(io::stdout()),
            look: Look {
                colors: console::colors_enabled(),
                width,
            },
        }
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Look {
    /// Neither colours nor a width: what tests print with.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self {
        colors: false,
        width: None,
    };

    /// `style`, or no style where colours are not seen.
    pub(crate) fn style(self, style: Style) -> Style {
        style.force_styling(self.colors)
    }

    /// `text` in bold.
    pub(crate) fn bold(self, text: &str) -> String {
        self.style(Style::new().bold()).apply_to(text).to_string()
    }

    /// `text` in the background.
    pub(crate) fn dim(self, text: &str) -> String {
        self.style(Style::new().dim()).apply_to(text).to_string()
    }

    /// `text` cut to the width that is left after `used` columns.
    pub(crate) fn fit(self, text: &str, used: usize) -> String {
        match self.width {
            Some(width) => cut(text, width.saturating_sub(used).max(8)),
            None => text.to_owned(),
        }
    }
}

/// Whether a person sits at both ends, so that a question can be asked and answered.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// `text` cut to so many columns, the last one an ellipsis if something was cut.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    console::truncate_str(text, columns, "…").into_owned()
}

/// Text of several lines, with everything that could steer a terminal made visible. Line ends and tabs stay.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\n' | '\t' => clean.push(char),
            // The line end of other systems.
            '\r' if chars.peek() == Some(&'\n') => {}
            char => push_visible(&mut clean, char),
        }
    }
    clean
}

/// Text in one line: every run of blanks is one blank.
pub(crate) fn line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text
        .split(|char: char| char.is_whitespace())
        .filter(|word| !word.is_empty())
    {
        if !line.is_empty() {
            line.push(' ');
        }
        word.chars().for_each(|char| push_visible(&mut line, char));
    }
    line
}

fn push_visible(text: &mut String, char: char) {
    match char {
        // The pictures of the control characters stand in their order.
        '\0'..='\x1f' => text.extend(char::from_u32(0x2400 + u32::from(char))),
        '\x7f' => text.push('␡'),
        char if char.is_control() || is_bidi(char) || matches!(char, '\u{2028}' | '\u{2029}') => {
            text.extend(char.escape_unicode());
        }
        char => text.push(char),
    }
}

/// Whether a character changes the direction of what stands around it.
pub(crate) fn is_bidi(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(
            clean("a\x1b]0;PWNED\x07\r\nb\tc\u{9b}31m\u{202e}"),
            "a␛]0;PWNED␇\nb\tc\\u{9b}31m\\u{202e}"
        );
        assert_eq!(clean("over\rwritten\0"), "over␍written␀");
        assert_eq!(line(" a \n\n b\x1bc\u{2028}d "), "a b␛c d");
    }

    #[test]
    fn text_is_cut_by_what_it_takes_on_the_screen() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "long…");
        assert_eq!(cut("日本語の題", 6), "日本…");
        assert_eq!(console::measure_text_width(&cut("日本語の題", 6)), 5);
    }

    #[test]
    fn a_pipe_is_not_cut() {
        assert_eq!(Look::PLAIN.fit(&"x".repeat(500), 10).len(), 500);
        assert_eq!(
            Look {
                colors: false,
                width: Some(20)
            }
            .fit(&"x".repeat(500), 10)
            .chars()
            .count(),
            10
        );
    }
}
