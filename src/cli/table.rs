//! Tables for people: no borders, numbers to the right, and the last column cut to the terminal's width.

use std::io::{self, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use super::term::{Look, line};

/// Blank columns between two columns.
const GAP: u16 = 2;

/// A column: its title, and to which side its cells go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Text, to the left.
    Text(&'static str),
    /// A number, to the right.
    Number(&'static str),
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Text(title) | Self::Number(title) => title,
        }
    }
}

/// Prints rows under their titles. A column that is empty in every row is left out.
pub(crate) fn print(
    out: &mut dyn Write,
    look: Look,
    columns: &[Column],
    rows: &[Vec<String>],
) -> io::Result<()> {
    let used: Vec<usize> = (0..columns.len())
        .filter(|&index| {
            rows.iter()
                .any(|row| row.get(index).is_some_and(|cell| !cell.is_empty()))
        })
        .collect();
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .force_no_tty();
    table.set_header(used.iter().map(|&index| columns[index].title()));
    for row in rows {
        table.add_row(
            used.iter()
                .map(|&index| Cell::new(row.get(index).map(|cell| line(cell)).unwrap_or_default())),
        );
    }
    for (&index, column) in used.iter().zip(table.column_iter_mut()) {
        column.set_padding((0, GAP));
        if matches!(columns[index], Column::Number(_)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for (index, text) in table.lines().enumerate() {
        let text = look.fit(text.trim_end(), 0);
        match index {
            0 => writeln!(out, "{}", look.dim(&text))?,
            _ => writeln!(out, "{text}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column::Text("ID"),
        Column::Number("MESSAGES"),
        Column::Text("TITLE"),
    ];

    fn printed(look: Look, rows: &[[&str; 3]]) -> String {
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| cell.to_string()).collect())
            .collect();
        let mut out = Vec::new();
        print(&mut out, look, &COLUMNS, &rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_stand_under_their_titles() {
        let text = printed(Look::PLAIN, &[["a", "7", "A title"], ["bcd", "1000", "日本\nx"]]);
        assert_eq!(
            text,
            "ID   MESSAGES  TITLE\na           7  A title\nbcd      1000  日本 x\n"
        );
    }

    #[test]
    fn lines_are_cut_to_the_terminal() {
        let look = Look {
            colors: false,
            width: Some(20),
        };
        let text = printed(
            look,
            &[["a", "7", "A title that is long"], ["b", "8", "日本語の題"]],
        );
        assert_eq!(
            text,
            "ID  MESSAGES  TITLE\na          7  A tit…\nb          8  日本…\n"
        );
    }

    #[test]
    fn a_column_with_nothing_in_it_is_left_out() {
        assert_eq!(printed(Look::PLAIN, &[["a", "", "T"]]), "ID  TITLE\na   T\n");
    }
}
