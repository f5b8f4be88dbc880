//! The include/define step that turns a `.wgsl` file into the text of one variant.
//!
//! Directives stand alone on a line:
//!
//! - `#include "file.wgsl"` puts another file's text here;
//! - `#if NAME`, `#if !NAME`, `#if NAME == value`, `#if NAME != value`, `#else`, `#endif`;
//! - `#repeat i N` … `#end` writes the lines between N times (N a number or a define), with `${i}` counting from 0.
//!
//! `${NAME}` anywhere is replaced by the define's value.

use std::collections::BTreeMap;

/// What went wrong while assembling a shader. All of these are mistakes in our own files or keys.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExpandError {
    #[error("no shader file named {0}")]
    NoFile(String),
    #[error("{file}:{line}: {what}")]
    Syntax {
        file: String,
        line: usize,
        what: String,
    },
}

/// The names a variant defines: flags are `"1"` where set and absent where not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Defines(BTreeMap<String, String>);

impl Defines {
    pub(crate) fn new() -> Defines {
        Defines::default()
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Defines {
        self.0.insert(name.to_owned(), value.to_string());
        self
    }

    #[must_use]
    pub(crate) fn flag(self, name: &str, set: bool) -> Defines {
        if set { self.with(name, 1) } else { self }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn holds(&self, condition: &str) -> bool {
        if let Some((name, value)) = condition.split_once("==") {
            return self.get(name.trim()) == Some(value.trim());
        }
        if let Some((name, value)) = condition.split_once("!=") {
            return self.get(name.trim()) != Some(value.trim());
        }
        match condition.strip_prefix('!') {
            Some(name) => self.get(name.trim()).is_none(),
            None => self.get(condition).is_some(),
        }
    }
}

/// The text of the file `name` under `defines`; `find` gives a file's text by name.
pub(crate) fn expand<'a>(
    name: &str,
    defines: &Defines,
    find: &dyn Fn(&str) -> Option<&'a str>,
) -> Result<String, ExpandError> {
    let text = find(name).ok_or_else(|| ExpandError::NoFile(name.to_owned()))?;
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::with_capacity(text.len());
    let mut file = File {
        name,
        lines: &lines,
        find,
    };
    let end = file.block(0, defines, true, &mut out)?;
    if end < lines.len() {
        return Err(file.error(end, "no block is open here"));
    }
    Ok(out)
}

struct File<'f, 'a> {
    name: &'f str,
    lines: &'f [&'a str],
    find: &'f dyn Fn(&str) -> Option<&'a str>,
}

impl File<'_, '_> {
    fn error(&self, line: usize, what: &str) -> ExpandError {
        ExpandError::Syntax {
            file: self.name.to_owned(),
            line: line + 1,
            what: what.to_owned(),
        }
    }

    /// Expands lines from `at` to the `#else`, `#endif` or `#end` that closes the block; returns that line.
    /// With `live` unset nothing is written.
    fn block(
        &mut self,
        mut at: usize,
        defines: &Defines,
        live: bool,
        out: &mut String,
    ) -> Result<usize, ExpandError> {
        while let Some(&line) = self.lines.get(at) {
            let trimmed = line.trim();
            let (word, rest) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
            match word {
                "#else" | "#endif" | "#end" => return Ok(at),
                "#if" => {
                    let holds = live && defines.holds(rest.trim());
                    let mut close = self.block(at + 1, defines, holds, out)?;
                    if self.lines.get(close).map(|l| l.trim()) == Some("#else") {
                        close = self.block(close + 1, defines, live && !holds, out)?;
                    }
                    if self.lines.get(close).map(|l| l.trim()) != Some("#endif") {
                        return Err(self.error(at, "#if without #endif"));
                    }
                    at = close + 1;
                }
                "#repeat" => {
                    let (name, count) = rest
                        .trim()
                        .split_once(' ')
                        .ok_or_else(|| self.error(at, "#repeat wants a name and a count"))?;
                    let count = count.trim();
                    let count: usize = defines
                        .get(count)
                        .unwrap_or(count)
                        .parse()
                        .map_err(|_| self.error(at, "#repeat wants a number"))?;
                    // At least one pass, dead if need be, finds the end of the block.
                    let mut close = at;
                    for i in 0..count.max(1) {
                        let inner = defines.clone().with(name, i);
                        close = self.block(at + 1, &inner, live && i < count, out)?;
                    }
                    if self.lines.get(close).map(|l| l.trim()) != Some("#end") {
                        return Err(self.error(at, "#repeat without #end"));
                    }
                    at = close + 1;
                }
                "#include" => {
                    if live {
                        let file = rest.trim().trim_matches('"');
                        out.push_str(&expand(file, defines, self.find)?);
                    }
                    at += 1;
                }
                _ if word.starts_with('#') => {
                    return Err(self.error(at, "unknown directive"));
                }
                _ => {
                    // Comment lines and blank lines stay out of what is shipped to a compiler.
                    if live && !trimmed.is_empty() && !trimmed.starts_with("//") {
                        self.substitute(at, line, defines, out)?;
                        out.push('\n');
                    }
                    at += 1;
                }
            }
        }
        Ok(at)
    }

    fn substitute(
        &self,
        at: usize,
        line: &str,
        defines: &Defines,
        out: &mut String,
    ) -> Result<(), ExpandError> {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, tail) = after
                .split_once('}')
                .ok_or_else(|| self.error(at, "${ without }"))?;
            let value = defines
                .get(name)
                .ok_or_else(|| self.error(at, &format!("{name} is not defined")))?;
            out.push_str(before);
            out.push_str(value);
            rest = tail;
        }
        out.push_str(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str) -> Option<&'static str> {
        Some(match name {
            "a" => {
                "#if X\nx ${X}\n#if Y == 2\ny2\n#else\nnot y2\n#endif\n#else\nno x\n#endif\n#include \"b\"\n"
            }
            "b" => "// comment\n#repeat i N\nb${i}\n#repeat j 2\nb${i}${j}\n#end\n#end\n",
            "open" => "#if X\n",
            "stray" => "#end\n",
            "unknown" => "${Z}\n",
            _ => return None,
        })
    }

    #[test]
    fn conditions_repeats_and_includes() {
        let all = Defines::new().with("X", 7).with("Y", 2).with("N", 2);
        assert_eq!(
            expand("a", &all, &files).unwrap(),
            "x 7\ny2\nb0\nb00\nb01\nb1\nb10\nb11\n"
        );
        let none = Defines::new().with("N", 0);
        assert_eq!(expand("a", &none, &files).unwrap(), "no x\n");
    }

    #[test]
    fn mistakes_name_their_line() {
        let none = Defines::new();
        for name in ["open", "stray", "unknown"] {
            assert!(matches!(
                expand(name, &none, &files),
                Err(ExpandError::Syntax { line: 1, .. })
            ));
        }
        assert!(matches!(
            expand("absent", &none, &files),
            Err(ExpandError::NoFile(_))
        ));
    }
}
