//! Tables for people: columns that are aligned, sizes with units.

use indicatif::BinaryBytes;

/// Where the text of a column stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// As words.
    Left,
    /// As numbers.
    Right,
}

/// Lines with aligned columns, below titles if there are any.
pub fn table<const N: usize>(
    titles: Option<&[&str; N]>,
    sides: &[Side; N],
    rows: &[[String; N]],
) -> String {
    let titles = titles.map(|titles| titles.map(str::to_owned));
    let lines: Vec<&[String; N]> = titles.iter().chain(rows).collect();
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line.iter()) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for ((cell, width), side) in line.iter().zip(widths).zip(sides) {
            if !row.is_empty() {
                row.push_str("  ");
            }
            match side {
                Side::Left => row.push_str(&format!("{cell:<width$}")),
                Side::Right => row.push_str(&format!("{cell:>width$}")),
            }
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// A number of bytes with a unit.
pub fn bytes(count: u64) -> String {
    BinaryBytes(count).to_string()
}

/// Text of somebody else without what a terminal would take for a command.
pub fn printable(text: &str) -> String {
    super::super::client::printable(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |name: &str, count: &str| [name.to_owned(), count.to_owned()];
        let rows = [row("ä", "1"), row("long name", "1000")];
        let sides = [Side::Left, Side::Right];
        assert_eq!(table(None, &sides, &rows), "ä             1\nlong name  1000\n");
        assert_eq!(
            table(Some(&["name", "count"]), &sides, &rows[..1]),
            "name  count\nä         1\n"
        );
        assert_eq!(table(None, &sides, &[]), "");
    }
}
