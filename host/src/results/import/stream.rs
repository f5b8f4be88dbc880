//! Records out of JSON without holding all of it: an array, values one after another, a line each, or an object around a list.

use std::fmt;
use std::io::{BufRead, Read};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::python::Plain;

/// JSON that breaks off or is none.
#[derive(Debug, thiserror::Error)]
#[error("line {line}, column {column}: {message}; the {records} records before it were read")]
pub struct Malformed {
    pub line: usize,
    pub column: usize,
    pub message: String,
    pub records: u64,
}

/// A record that is no JSON, in a file of lines.
#[derive(Clone, Debug)]
pub(super) struct Bad {
    pub(super) reason: String,
    pub(super) text: String,
}

/// Takes the record at a position from 1 on; `false` ends the reading.
pub(super) type OnRecord<'a> = &'a mut dyn FnMut(u64, Result<Value, Bad>) -> bool;

/// Lists of records in an object around them are called so.
const LISTS: [&str; 6] = [
    "results",
    "records",
    "benchmarks",
    "benchmark_results",
    "runs",
    "data",
];
/// A line that is longer is no record.
const LINE: u64 = 64 << 20;

/// Calls `on` for each record. Where the first line is an object by itself, each line is a record of its own, and one that is no
/// JSON harms only itself.
pub(super) fn records(from: impl BufRead, on: OnRecord<'_>) -> Result<(), Malformed> {
    let mut from = Plain::new(from);
    let mut first = Vec::new();
    let read = (&mut from).take(LINE).read_until(b'\n', &mut first);
    read.map_err(|error| malformed(&error.to_string(), 0))?;
    let object = serde_json::from_slice::<Map<String, Value>>(&first).ok();
    if let Some(object) = object.filter(|o| !LISTS.iter().any(|list| o.contains_key(*list))) {
        return lines(object, from, on);
    }
    let mut taking = Taking {
        on,
        count: 0,
        stopped: false,
    };
    let all = std::io::Cursor::new(first).chain(from);
    let mut json = serde_json::Deserializer::from_reader(all);
    loop {
        match json.end() {
            Ok(()) => return Ok(()),
            Err(error) if error.is_eof() || error.is_io() => {
                return Err(at(&error, taking.count));
            }
            Err(_) => {}
        }
        let read = Top(&mut taking).deserialize(&mut json);
        if taking.stopped {
            return Ok(());
        }
        read.map_err(|error| at(&error, taking.count))?;
    }
}

fn lines(
    first: Map<String, Value>,
    mut from: impl BufRead,
    on: OnRecord<'_>,
) -> Result<(), Malformed> {
    let mut position = 1;
    if !on(position, Ok(Value::Object(first))) {
        return Ok(());
    }
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut from).take(LINE).read_until(b'\n', &mut line);
        match read {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(malformed(&error.to_string(), position)),
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        position += 1;
        let record = serde_json::from_slice(&line).map_err(|error| Bad {
            reason: format!("no JSON: {error}"),
            text: String::from_utf8_lossy(&line).trim_end().to_owned(),
        });
        if !on(position, record) {
            return Ok(());
        }
    }
}

fn at(error: &serde_json::Error, records: u64) -> Malformed {
    Malformed {
        line: error.line(),
        column: error.column(),
        message: error.to_string(),
        records,
    }
}

fn malformed(message: &str, records: u64) -> Malformed {
    Malformed {
        line: 1,
        column: 1,
        message: message.into(),
        records,
    }
}

struct Taking<'a> {
    on: OnRecord<'a>,
    count: u64,
    stopped: bool,
}

impl Taking<'_> {
    /// A record, or the records of a list in it.
    fn take<E: serde::de::Error>(&mut self, mut value: Value) -> Result<(), E> {
        let list = value.as_object_mut().and_then(|object| {
            let is_list = |name: &&&str| object.get(**name).is_some_and(Value::is_array);
            let name = LISTS.iter().find(is_list)?;
            object.remove(*name)
        });
        if let (Some(Value::Array(list)), Value::Object(around)) = (list, &value) {
            for mut one in list {
                with(&mut one, around);
                self.take(one)?;
            }
            return Ok(());
        }
        self.count += 1;
        if (self.on)(self.count, Ok(value)) {
            return Ok(());
        }
        self.stopped = true;
        Err(E::custom("stopped"))
    }
}

/// Gives a record the fields around it.
fn with(record: &mut Value, around: &Map<String, Value>) {
    if let Value::Object(record) = record {
        for (name, value) in around {
            record.entry(name).or_insert_with(|| value.clone());
        }
    }
}

/// A value at the top: records in a list, one record, or an object around a list.
struct Top<'a, 'b>(&'a mut Taking<'b>);

impl<'de> DeserializeSeed<'de> for Top<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Top<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("records: a list, or objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(value) = list.next_element::<Value>()? {
            self.0.take(value)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut around = Map::new();
        let mut had_list = false;
        while let Some(name) = object.next_key::<String>()? {
            if LISTS.contains(&name.as_str()) {
                let inside = Inside {
                    taking: &mut *self.0,
                    around: &around,
                };
                match object.next_value_seed(inside)? {
                    None => had_list = true,
                    Some(other) => {
                        around.insert(name, other);
                    }
                }
            } else {
                let value = object.next_value()?;
                around.insert(name, value);
            }
        }
        match had_list {
            true => Ok(()),
            false => self.0.take(Value::Object(around)),
        }
    }
}

/// The list in an object: each record gets what stood before it around it. What is no list is given back.
struct Inside<'a, 'b> {
    taking: &'a mut Taking<'b>,
    around: &'a Map<String, Value>,
}

impl<'de> DeserializeSeed<'de> for Inside<'_, '_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<Value>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inside<'_, '_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<Value>, A::Error> {
        while let Some(mut value) = list.next_element::<Value>()? {
            with(&mut value, self.around);
            self.taking.take(value)?;
        }
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Option<Value>, A::Error> {
        let mut all = Map::new();
        while let Some((name, value)) = object.next_entry()? {
            all.insert(name, value);
        }
        Ok(Some(Value::Object(all)))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Option<Value>, E> {
        Ok(Some(Value::Null))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, Option<Malformed>) {
        let mut found = Vec::new();
        let result = records(text.as_bytes(), &mut |position, record| {
            found.push(match record {
                Ok(value) => format!("{position} {value}"),
                Err(bad) => format!("{position} bad {}", bad.text),
            });
            true
        });
        (found, result.err())
    }

    #[test]
    fn every_form() {
        assert_eq!(
            read(r#"[{"a": 1}, {"a": 2}]"#).0,
            [r#"1 {"a":1}"#, r#"2 {"a":2}"#]
        );
        assert_eq!(read("{\n \"a\": 1\n}\n").0, [r#"1 {"a":1}"#]);
        assert_eq!(
            read("{\"a\":1}\nno json\n\n{\"a\":2}").0,
            [r#"1 {"a":1}"#, "2 bad no json", r#"3 {"a":2}"#]
        );
        let around = read(r#"{"host": "h", "results": [{"a": 1}, 5]}"#).0;
        assert_eq!(around, [r#"1 {"a":1,"host":"h"}"#, "2 5"]);
        assert_eq!(
            read(r#"{"results": {"a": 1}}"#).0,
            [r#"1 {"results":{"a":1}}"#]
        );
        assert_eq!(read("[1] [2]").0, ["1 1", "2 2"]);
        let inner = read(r#"[{"m": 1, "results": [{"a": 1}, {"a": 2}]}]"#).0;
        assert_eq!(inner, [r#"1 {"a":1,"m":1}"#, r#"2 {"a":2,"m":1}"#]);
        let python = "\u{feff}[{\"a\": NaN, \"b\": -Infinity, \"c\": \"NaN \\\" NaN\", \"d\": [-1, 2e-3, true]}]";
        assert_eq!(
            read(python).0,
            [r#"1 {"a":null,"b":null,"c":"NaN \" NaN","d":[-1,0.002,true]}"#]
        );
        assert!(read("").0.is_empty() && read(" \n").1.is_none());
    }

    #[test]
    fn what_breaks_off_says_where() {
        let (found, error) = read("[{\"a\": 1},\n{\"a\": ");
        assert_eq!(found.len(), 1);
        let error = error.unwrap();
        assert_eq!((error.line, error.records), (2, 1));
        assert!(read("nonsense").1.is_some());
        assert!(read(&"[".repeat(100_000)).1.is_some());
    }
}
