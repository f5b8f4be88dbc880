//! What templates take from Python: methods of strings and mappings, and `json.dumps`.

use std::io;

use minijinja::value::{Kwargs, Rest, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// Python's methods of `str`, `dict` and `list` that templates use.
pub(super) fn method(
    _state: &State<'_, '_>,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        return string_method(text, name, args);
    }
    match value.kind() {
        ValueKind::Map => mapping_method(value, name, args),
        _ => Err(unknown(name)),
    }
}

fn string_method(text: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    let stripped = |args: &[Value]| -> Result<Option<Vec<char>>, Error> {
        let (characters,): (Option<String>,) = from_args(args)?;
        Ok(characters.map(|text| text.chars().collect()))
    };
    let is = |set: &Option<Vec<char>>, c: char| match set {
        Some(set) => set.contains(&c),
        None => c.is_whitespace(),
    };
    Ok(match name {
        "strip" => {
            let set = stripped(args)?;
            Value::from(text.trim_matches(|c| is(&set, c)))
        }
        "lstrip" => {
            let set = stripped(args)?;
            Value::from(text.trim_start_matches(|c| is(&set, c)))
        }
        "rstrip" => {
            let set = stripped(args)?;
            Value::from(text.trim_end_matches(|c| is(&set, c)))
        }
        "startswith" => affix(args, |affix| text.starts_with(affix))?,
        "endswith" => affix(args, |affix| text.ends_with(affix))?,
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "upper" => Value::from(text.to_uppercase()),
        "lower" => Value::from(text.to_lowercase()),
        "title" => Value::from(capitalize(text, false)),
        "capitalize" => Value::from(capitalize(text, true)),
        "split" => split(text, args)?,
        "rsplit" => {
            let (separator, most): (&str, Option<usize>) = from_args(args)?;
            let mut parts: Vec<&str> = match most {
                Some(most) => text.rsplitn(most.saturating_add(1), separator).collect(),
                None => text.rsplit(separator).collect(),
            };
            parts.reverse();
            list(parts)
        }
        "splitlines" => list(text.lines().collect()),
        "replace" => {
            let (from, to, most): (&str, &str, Option<usize>) = from_args(args)?;
            Value::from(match most {
                Some(most) => text.replacen(from, to, most),
                None => text.replace(from, to),
            })
        }
        "find" => {
            let (what,): (&str,) = from_args(args)?;
            let at = text.find(what).map(|at| text[..at].chars().count() as i64);
            Value::from(at.unwrap_or(-1))
        }
        "count" => {
            let (what,): (&str,) = from_args(args)?;
            Value::from(text.matches(what).count())
        }
        "join" => {
            let (parts,): (Value,) = from_args(args)?;
            let parts: Vec<String> = parts.try_iter()?.map(|part| part.to_string()).collect();
            Value::from(parts.join(text))
        }
        "isdigit" => every(text, |c| c.is_numeric()),
        "isalpha" => every(text, char::is_alphabetic),
        "isalnum" => every(text, char::is_alphanumeric),
        "isspace" => every(text, char::is_whitespace),
        "isupper" => Value::from(text.to_uppercase() == text && text.to_lowercase() != text),
        "islower" => Value::from(text.to_lowercase() == text && text.to_uppercase() != text),
        _ => return Err(unknown(name)),
    })
}

fn every(text: &str, is: impl Fn(char) -> bool) -> Value {
    Value::from(!text.is_empty() && text.chars().all(is))
}

/// One text or a tuple of them.
fn affix(args: &[Value], is: impl Fn(&str) -> bool) -> Result<Value, Error> {
    let (affix,): (Value,) = from_args(args)?;
    if let Some(affix) = affix.as_str() {
        return Ok(Value::from(is(affix)));
    }
    let mut any = false;
    for affix in affix.try_iter()? {
        any |= affix.as_str().is_some_and(&is);
    }
    Ok(Value::from(any))
}

fn split(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (separator, most): (Option<&str>, Option<i64>) = from_args(args)?;
    let most = most.and_then(|most| usize::try_from(most).ok());
    let parts: Vec<&str> = match (separator, most) {
        (Some(""), _) => {
            let reason = "split: empty separator";
            return Err(Error::new(ErrorKind::InvalidOperation, reason));
        }
        (Some(separator), None) => text.split(separator).collect(),
        (Some(separator), Some(most)) => text.splitn(most.saturating_add(1), separator).collect(),
        (None, None) => text.split_whitespace().collect(),
        (None, Some(most)) => {
            let mut parts = Vec::new();
            let mut rest = text.trim_start();
            while !rest.is_empty() {
                let end = match rest.find(char::is_whitespace) {
                    Some(end) if parts.len() < most => end,
                    _ => rest.trim_end().len().max(1),
                };
                parts.push(&rest[..end]);
                rest = rest[end..].trim_start();
            }
            parts
        }
    };
    Ok(list(parts))
}

fn list(parts: Vec<&str>) -> Value {
    Value::from_iter(parts.into_iter().map(Value::from))
}

fn capitalize(text: &str, first_only: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for (at, c) in text.chars().enumerate() {
        let raise = if first_only { at == 0 } else { !inside };
        if raise {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        inside = c.is_alphabetic();
    }
    out
}

fn mapping_method(value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match name {
        "get" => {
            let (key, default): (Value, Option<Value>) = from_args(args)?;
            let found = value.get_item(&key)?;
            let missing = || default.unwrap_or(Value::from(()));
            Ok(if found.is_undefined() {
                missing()
            } else {
                found
            })
        }
        "keys" => Ok(Value::from(value.try_iter()?.collect::<Vec<_>>())),
        "values" => {
            let values = value.try_iter()?.map(|key| value.get_item(&key));
            Ok(Value::from(values.collect::<Result<Vec<_>, _>>()?))
        }
        "items" => {
            let items = value.try_iter()?.map(|key| {
                let item = value.get_item(&key)?;
                Ok(Value::from(vec![key, item]))
            });
            Ok(Value::from(items.collect::<Result<Vec<_>, Error>>()?))
        }
        _ => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::UnknownMethod, format!("no method {name}"))
}

/// `json.dumps(value, ensure_ascii=False, indent=…)`, which `transformers` puts in Jinja's place: Python's
/// spaces after `,` and `:`, nothing escaped for HTML.
pub(super) fn to_json(value: &Value, args: Rest<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let indent = match args.first() {
        Some(width) => width.as_usize(),
        None => super::indent(&kwargs)?,
    };
    let mut out = Vec::new();
    let written = match indent {
        None => value.serialize(&mut Serializer::with_formatter(&mut out, PythonFormatter)),
        Some(width) => {
            let indent = " ".repeat(width.min(16));
            let formatter = PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut out, formatter))
        }
    };
    let failed = |reason: String| Error::new(ErrorKind::BadSerialization, reason);
    written.map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(out).map_err(|error| failed(error.to_string()))?;
    Ok(Value::from_safe_string(text))
}

/// `json.dumps`'s spaces.
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
