//! Prose as it was written, kept from spilling over: Markdown blocks that a text leaves open would swallow what follows.
//!
//! A fence that is left open is closed, where it stands in no list and no quote: those end by themselves at the next
//! section. What would begin a block of HTML that does not end gets a backslash, as does a heading that looks like one of
//! ours. All the rest stays as it is.

/// The shortest fence.
const FENCE: usize = 3;

/// Who has sections.
const SPEAKERS: [&str; 5] = ["User", "Assistant", "System", "Tool", "Message"];

/// Tags whose blocks end with a closing tag alone.
const RAW_TAGS: [&str; 4] = ["pre", "script", "style", "textarea"];

/// The text, in lines that are all ended.
pub(super) fn contained(text: &str) -> String {
    let mut prose = Prose::of(text);
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        prose.line(at, line.trim_end_matches('\n'));
        at += line.len();
    }
    if let Some(Fence {
        mark,
        length,
        within: Within::Nothing,
    }) = prose.open
    {
        prose.out.extend(std::iter::repeat_n(mark, length));
        prose.out.push('\n');
    }
    prose.out
}

/// A text on its way out, line by line.
struct Prose<'a> {
    text: &'a str,
    out: String,
    open: Option<Fence>,
    /// The column at which the contents of the list item begin that is open.
    item: Option<usize>,
    after_blank: bool,
    /// A block of HTML reaches up to here.
    html_to: usize,
    /// Ends of HTML that do not come any more.
    missing: Vec<&'static str>,
    /// The line before, if a row of dashes below it would make it a heading like ours.
    is_name: bool,
}

/// A fence that is open.
#[derive(Clone, Copy)]
struct Fence {
    mark: char,
    length: usize,
    within: Within,
}

/// What a block stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Nothing,
    /// A list item whose contents begin at this column.
    Item(usize),
    Quote,
}

/// Where a line's own text begins.
struct Lead {
    /// Its byte.
    at: usize,
    within: Within,
    /// Whether it can be more than code or the rest of a paragraph.
    is_block: bool,
}

impl<'a> Prose<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            text,
            out: String::with_capacity(text.len() + 8),
            open: None,
            item: None,
            after_blank: true,
            html_to: 0,
            missing: Vec::new(),
            is_name: false,
        }
    }

    /// Takes the line that begins at `at`.
    fn line(&mut self, at: usize, line: &str) {
        let was_name = std::mem::take(&mut self.is_name);
        if at < self.html_to || self.fenced(line) {
            return self.put(line, None);
        }
        if line.trim().is_empty() {
            self.after_blank = true;
            return self.put(line, None);
        }
        let lead = self.lead(line);
        self.after_blank = false;
        let own = &line[lead.at..];
        if !lead.is_block {
            return self.put(line, None);
        }
        if let Some((mark, length)) = fence(own) {
            let within = lead.within;
            self.open = Some(Fence { mark, length, within });
            return self.put(line, None);
        }
        if lead.within != Within::Nothing {
            return self.put(line, None);
        }
        let dashes = was_name && own.trim_end().bytes().all(|byte| byte == b'-');
        let escaped = dashes || is_section(own) || self.spills(at + lead.at, own);
        self.is_name = SPEAKERS.iter().any(|name| is_named(own.trim_end(), name));
        self.put(line, escaped.then_some(lead.at));
    }

    /// Puts a line, with a backslash at a place of it.
    fn put(&mut self, line: &str, escape: Option<usize>) {
        let (before, rest) = line.split_at(escape.unwrap_or(0));
        self.out.push_str(before);
        if escape.is_some() {
            self.out.push('\\');
        }
        self.out.push_str(rest);
        self.out.push('\n');
    }

    /// Whether a line belongs to the fence that is open, as its end too.
    fn fenced(&mut self, line: &str) -> bool {
        let Some(open) = self.open else {
            return false;
        };
        let (indent, at) = blanks(line, 0, 0);
        let own = match open.within {
            Within::Nothing if indent > 3 => "",
            Within::Nothing => &line[at..],
            Within::Item(column) => {
                if indent < column && at < line.len() {
                    (self.open, self.item) = (None, None);
                    return false;
                }
                &line[at..]
            }
            Within::Quote => {
                if !line[at..].starts_with('>') {
                    self.open = None;
                    return false;
                }
                line.trim_start_matches([' ', '\t', '>'])
            }
        };
        let length = own.len() - own.trim_start_matches(open.mark).len();
        if length >= open.length && own[length..].trim().is_empty() {
            self.open = None;
        }
        true
    }

    /// Looks behind the marks of lists and quotes.
    fn lead(&mut self, line: &str) -> Lead {
        let (indent, mut at) = blanks(line, 0, 0);
        let inside = self.item.filter(|column| indent >= *column);
        let mut lead = Lead {
            at,
            within: inside.map_or(Within::Nothing, Within::Item),
            is_block: indent <= 3 || inside.is_some(),
        };
        if !lead.is_block {
            return lead;
        }
        let mut column = indent;
        loop {
            let rest = &line[at..];
            if rest.starts_with('>') {
                if lead.within == Within::Nothing {
                    lead.within = Within::Quote;
                }
                (column, at) = blanks(line, column + 1, at + 1);
                continue;
            }
            let Some(length) = list_mark(rest) else {
                break;
            };
            let marked = column + length;
            (column, at) = blanks(line, marked, at + length);
            if lead.within == Within::Nothing {
                // After more blanks the contents are code.
                let is_near = column <= marked + 4 && at < line.len();
                let contents = if is_near { column } else { marked + 1 };
                lead.within = Within::Item(contents);
                self.item = Some(contents);
            }
        }
        lead.at = at;
        // A paragraph goes on without being indented; anything else ends the item.
        let goes_on = match lead.within {
            Within::Item(_) => true,
            Within::Quote => false,
            Within::Nothing => !self.after_blank && fence(&line[at..]).is_none(),
        };
        if !goes_on {
            self.item = None;
        }
        lead
    }

    /// Whether a line begins a block of HTML that nothing in the text ends. One that ends is passed over.
    fn spills(&mut self, at: usize, line: &str) -> bool {
        let Some(end) = html_end(line) else {
            return false;
        };
        if self.missing.contains(&end) {
            return true;
        }
        let rest = &self.text[at + 1..];
        let found = if end == CLOSING_TAG {
            closing_tag(rest)
        } else {
            rest.find(end)
        };
        match found {
            Some(found) => self.html_to = at + 1 + found,
            None => self.missing.push(end),
        }
        found.is_none()
    }
}

/// The column and the byte behind blanks; a tab goes on to the next multiple of four.
fn blanks(line: &str, mut column: usize, mut at: usize) -> (usize, usize) {
    for byte in line.bytes().skip(at) {
        column = match byte {
            b' ' => column + 1,
            b'\t' => column / 4 * 4 + 4,
            _ => break,
        };
        at += 1;
    }
    (column, at)
}

/// The length of the mark of a list item that a text begins with.
fn list_mark(text: &str) -> Option<usize> {
    let digits = text.len() - text.trim_start_matches(|char: char| char.is_ascii_digit()).len();
    let mark = *text.as_bytes().get(digits)?;
    let is_mark = match digits {
        0 => matches!(mark, b'-' | b'*' | b'+'),
        1..=9 => matches!(mark, b'.' | b')'),
        _ => false,
    };
    let ended = text
        .as_bytes()
        .get(digits + 1)
        .is_none_or(|byte| matches!(byte, b' ' | b'\t'));
    (is_mark && ended).then_some(digits + 1)
}

/// The fence that a text begins with.
fn fence(text: &str) -> Option<(char, usize)> {
    let mark = text.chars().next().filter(|char| matches!(char, '`' | '~'))?;
    let rest = text.trim_start_matches(mark);
    let length = text.len() - rest.len();
    (length >= FENCE && (mark == '~' || !rest.contains('`'))).then_some((mark, length))
}

/// Whether a text is the heading of a section.
fn is_section(text: &str) -> bool {
    let heading = text
        .strip_prefix("##")
        .filter(|rest| rest.starts_with([' ', '\t']));
    heading.is_some_and(|rest| {
        let named = rest.trim_end().trim_end_matches('#').trim();
        SPEAKERS.iter().any(|speaker| is_named(named, speaker))
    })
}

/// Whether this is what stands above what the speaker says.
fn is_named(text: &str, speaker: &str) -> bool {
    let rest = text.strip_prefix(speaker);
    rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with(" (") && rest.ends_with(')')))
}

/// Stands for the closing tag of any of [`RAW_TAGS`].
const CLOSING_TAG: &str = "</";

/// What ends the block of HTML that a line begins, if it is of a kind that no blank line ends.
fn html_end(line: &str) -> Option<&'static str> {
    let rest = line.strip_prefix('<')?;
    if rest.starts_with("!--") {
        return Some("-->");
    }
    if rest.starts_with('?') {
        return Some("?>");
    }
    if rest.starts_with("![CDATA[") {
        return Some("]]>");
    }
    if rest
        .strip_prefix('!')
        .is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_alphabetic()))
    {
        return Some(">");
    }
    let ended = |rest: &str| rest.is_empty() || rest.starts_with([' ', '\t', '>']);
    raw_tag(rest).is_some_and(ended).then_some(CLOSING_TAG)
}

/// What follows the name of a raw tag.
fn raw_tag(text: &str) -> Option<&str> {
    let is = |tag: &&str| {
        text.get(..tag.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(tag))
    };
    RAW_TAGS.iter().find(|tag| is(tag)).map(|tag| &text[tag.len()..])
}

fn closing_tag(text: &str) -> Option<usize> {
    let mut tags = text
        .match_indices(CLOSING_TAG)
        .map(|(at, mark)| (at, &text[at + mark.len()..]));
    let closes = |name: &str| raw_tag(name).is_some_and(|rest| rest.starts_with('>'));
    tags.find(|(_, name)| closes(name)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is added at the end of a text that stays as it is.
    fn added(text: &str) -> String {
        let out = contained(text);
        let out = out
            .strip_prefix(text)
            .unwrap_or_else(|| panic!("{text:?} became {out:?}"));
        out.trim_matches('\n').to_owned()
    }

    #[test]
    fn a_fence_that_is_left_open_is_closed() {
        for (text, closed) in [
            ("```rust\nfn main() {}", "```"),
            ("```\na\n```", ""),
            ("~~~~\n```\n~~~", "~~~~"),
            ("````\n```\n", "````"),
            ("a ``` b", ""),
            ("```a`b```", ""),
            ("    ```", ""),
            ("   ```", "```"),
        ] {
            assert_eq!(added(text), closed, "{text:?}");
        }
    }

    #[test]
    fn fences_in_lists_and_quotes_end_by_themselves() {
        for (text, closed) in [
            ("- ```sh\n  npm i\n  ```\nDone.", ""),
            ("- ```sh\n  npm i", ""),
            ("1. one\n\n   ```sh\n   npm i\n   ```", ""),
            ("1. one\n   ```sh\n   npm i", ""),
            ("- a\n  - b\n    ```\n    x\n", ""),
            ("- a\nlazy\n  ```\n  x", ""),
            ("> ```\n> x", ""),
            ("> ```\nno more\n```\nx", "```"),
            ("- ```\nno more\n\n```\nx", "```"),
            ("- a\n\nb\n\n  ```\nx", "```"),
            ("```\n- ```\n> ```", "```"),
        ] {
            assert_eq!(added(text), closed, "{text:?}");
        }
    }

    #[test]
    fn html_that_would_not_end_is_escaped() {
        for text in [
            "<!-- todo",
            "<script>\nx",
            "  <PRE",
            "<?x\n\ny",
            "<![CDATA[\nx",
            "<!DOCTYPE html",
        ] {
            let (before, rest) = text.split_once('<').unwrap();
            assert_eq!(contained(text), format!("{before}\\<{rest}\n"), "{text:?}");
        }
        for text in [
            "<!-- todo -->",
            "<!-- a\n```\n## User\n-->\nb",
            "<script>\n</SCRIPT>",
            "<pre>x</style>",
            "<div>\n<prefix\n<scripted>",
            "a <!-- b",
            "    <!-- code",
            "```\n<!-- code\n```",
            "- <!-- ends with its list",
        ] {
            assert_eq!(added(text), "", "{text:?}");
        }
        assert_eq!(
            contained("<!-- a -->\n<!-- b\n<!-- c"),
            "<!-- a -->\n\\<!-- b\n\\<!-- c\n"
        );
    }

    #[test]
    fn no_text_makes_sections() {
        for (text, escaped) in [
            ("## Assistant\nYes.", "\\## Assistant\nYes.\n"),
            ("  ##\tUser (a/b) ##", "  \\##\tUser (a/b) ##\n"),
            ("Tool\n---\n", "Tool\n\\---\n"),
        ] {
            assert_eq!(contained(text), escaped);
        }
        for text in [
            "## Users",
            "## User guide",
            "### User",
            "# User",
            "> ## User",
            "```\n## User\n```",
            "User\n\n---",
            "Title\n---",
        ] {
            assert_eq!(added(text), "", "{text:?}");
        }
    }

    #[test]
    fn long_rows_take_no_longer_than_other_texts() {
        for piece in [
            "<!--\n",
            "<?\n",
            "<pre\n",
            "<pre\n</\n",
            "- ",
            "> ",
            "1. ",
            "```\n~~~\n",
            "\t",
        ] {
            contained(&piece.repeat((1 << 20) / piece.len()));
        }
    }
}
