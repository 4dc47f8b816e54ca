//! A source file, read just well enough for the house rules: which text is code, which code is a
//! test, and which paths the code names. Not a parser of Rust.

/// Something that breaks a rule: where, what, and what would be right.
pub struct Finding {
    pub place: String,
    pub says: String,
}

/// A Rust file of this repository.
pub struct Source {
    /// From the root of the repository, with slashes.
    pub path: String,
    pub text: String,
    /// The text with comments, strings and character literals as spaces; same lines.
    pub code: String,
    /// By line, from 0: whether it is part of a test.
    pub test_lines: Vec<bool>,
    /// Files without `.rs` that a `#[cfg(test)] mod name;` names.
    pub test_modules: Vec<String>,
}

impl Source {
    pub fn new(path: &str, text: String) -> Self {
        let code = blank(&text);
        let mut source = Source {
            path: path.to_owned(),
            test_lines: vec![false; code.lines().count()],
            test_modules: Vec::new(),
            text,
            code,
        };
        source.mark_tests();
        source
    }

    pub fn finding(&self, line: usize, says: String) -> Finding {
        Finding { place: format!("{}:{line}", self.path), says }
    }

    /// The crate's source folder, and the room: the folder or file directly below it.
    pub fn room(&self) -> Option<(&'static str, &str)> {
        ["actors/src", "src"].into_iter().find_map(|root| {
            let below = self.path.strip_prefix(root)?.strip_prefix('/')?;
            Some((root, below.split('/').next()?.trim_end_matches(".rs")))
        })
    }

    /// How many `super` lead from this file's module to the root of its crate.
    fn depth(&self) -> usize {
        let Some((root, _)) = self.room() else { return 0 };
        let module = self.path[root.len() + 1..].trim_end_matches(".rs").trim_end_matches("/mod");
        if matches!(module, "lib" | "main") { 0 } else { module.split('/').count() }
    }

    pub fn code_outside_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = (1..).zip(self.code.lines());
        lines.zip(&self.test_lines).filter(|(_, test)| !**test).map(|(line, _)| line)
    }

    /// Marks each item under an attribute `cfg` that requires `test`.
    fn mark_tests(&mut self) {
        let code = self.code.clone();
        for (at, _) in code.match_indices("#[cfg(").chain(code.match_indices("#![cfg(")) {
            let attribute = &code[at..at + code[at..].find(']').unwrap_or(0)];
            let names_test = attribute.split(|c: char| !is_word(c)).any(|word| word == "test");
            if !names_test || attribute.contains("not(") {
                continue;
            }
            let end = match attribute.starts_with("#!") {
                true => code.len(),
                false => at + attribute.len() + item_length(&code[at + attribute.len()..]),
            };
            let (first, last) = (line_of(&code, at), line_of(&code, end));
            let until = self.test_lines.len().min(last);
            self.test_lines[first - 1..until].fill(true);
            let item = code[at + attribute.len() + 1..end.max(at + attribute.len() + 1)].trim();
            if let Some(name) = item.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
                let stem = self.path.trim_end_matches(".rs");
                let folder =
                    ["/mod", "/lib", "/main"].iter().find_map(|end| stem.strip_suffix(end));
                self.test_modules.push(format!("{}/{}", folder.unwrap_or(stem), name.trim()));
            }
        }
    }
}

/// Length of the item after an attribute: up to its `;` or the end of its block.
fn item_length(code: &str) -> usize {
    let (mut inside, mut braces) = (0_i32, 0_i32);
    for (at, character) in code.char_indices().skip(1) {
        match character {
            '(' | '[' => inside += 1,
            ')' | ']' => inside -= 1,
            '{' => braces += 1,
            '}' => braces -= 1,
            _ => {}
        }
        if inside == 0 && braces == 0 && matches!(character, ';' | '}') {
            return at + 1;
        }
    }
    code.len()
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at.min(text.len())].matches('\n').count() + 1
}

pub fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The text with comments, strings and character literals as spaces.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = code.ends_with(is_word);
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == '"' {
            string(rest)
        } else if !word && rest.starts_with(['r', 'b', 'c']) && raw_string(rest).is_some() {
            raw_string(rest).unwrap_or(1)
        } else if first == '\'' {
            character(rest)
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    code
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    for at in text.char_indices().map(|(at, _)| at) {
        if text[at..].starts_with("/*") {
            depth += 1;
        } else if text[..at].ends_with("*/") && at > 2 {
            depth -= 1;
            if depth == 0 {
                return at;
            }
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let start = text.find('r').filter(|at| *at <= 1)? + 1;
    let hashes = text[start..].len() - text[start..].trim_start_matches('#').len();
    let body = text[start + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(start + hashes + 1 + length)
}

/// A character literal, or the quote of a lifetime.
fn character(text: &str) -> usize {
    let mut inside = text[1..].chars();
    match (inside.next(), inside.next()) {
        (Some('\\'), Some(escaped)) => {
            let from = 2 + escaped.len_utf8();
            text[from..].find('\'').map_or(text.len(), |at| from + at + 1)
        }
        (Some(one), Some('\'')) => 2 + one.len_utf8(),
        _ => 1,
    }
}

/// What code outside tests names: each path, those in braces spelled out, with its line.
pub fn named_paths(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut path = String::new();
    // What stands before each brace that is open: the path that the names in it continue.
    let mut groups: Vec<String> = Vec::new();
    for (line, code) in source.code_outside_tests() {
        let mut rest = code.trim_start();
        while let Some(first) = rest.chars().next() {
            let mut length = first.len_utf8();
            if is_word(first) {
                length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                if !path.ends_with("::") {
                    path = groups.last().cloned().unwrap_or_default();
                }
                path.push_str(&rest[..length]);
                found.push((line, path.clone()));
            } else if rest.starts_with("::") {
                length = 2;
                path.push_str("::");
            } else if first == '{' {
                groups.push(if path.ends_with("::") { path.clone() } else { String::new() });
                path.clear();
            } else if first == '}' {
                groups.pop();
                path.clear();
            } else if !first.is_whitespace() {
                path.clear();
            }
            rest = &rest[length..];
            if rest.starts_with(char::is_whitespace) && !path.ends_with("::") {
                path.clear();
            }
        }
    }
    found
}

/// The rooms of its own crate that code outside tests names.
pub fn named_rooms(source: &Source) -> Vec<(usize, String)> {
    let to_root = "super::".repeat(source.depth().max(1));
    named_paths(source)
        .into_iter()
        .filter_map(|(line, path)| {
            let below = path.strip_prefix("crate::").or_else(|| path.strip_prefix(&*to_root))?;
            let leads_on = !below.contains("::") && !matches!(below, "self" | "super" | "");
            leads_on.then(|| (line, below.to_owned()))
        })
        .collect()
}
