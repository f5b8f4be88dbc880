//! A reader of the pickles of state dicts (Python's `pickletools.py` describes the opcodes, protocols 2 to 5).
//!
//! It builds dictionaries, tuples, texts and numbers, and knows what five callables would do. No other callable can be
//! named, none is called, and what a state dict does not need is an error. Values are small and copied; what they
//! contain lies in an arena, so that a pickle that contains itself is harmless.

use crate::format::error::{Fault, FormatError};
use crate::format::layout::RANK_LIMIT;
use crate::tensor::DataType;

/// The longest pickle: some 30,000 tensors.
pub(super) const LIMIT: u64 = 8 << 20;

/// Most values on the stack, in the memo and in a dictionary, and most things that hold others.
const MOST: usize = 1 << 19;

/// A tensor of a state dict.
pub(super) struct Tensor<'a> {
    pub(super) name: &'a str,
    /// The storage's key, and how many elements it has.
    pub(super) storage: &'a str,
    pub(super) elements: u64,
    pub(super) data_type: DataType,
    /// Where in the storage it begins, in elements.
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

/// What is wrong, and where in the pickle.
pub(super) struct PickleError {
    at: usize,
    fault: Box<Fault>,
}

impl PickleError {
    /// The error of a file whose byte `begin` is the pickle's first.
    pub(super) fn of(self, file: &str, begin: u64) -> FormatError {
        FormatError::new(file, *self.fault).at(begin + self.at as u64)
    }
}

/// The tensors of the state dict that `pickle` is of, or that it has under `state_dict`.
pub(super) fn read(pickle: &[u8]) -> Result<Vec<Tensor<'_>>, PickleError> {
    let mut machine = Machine {
        pickle,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        things: Vec::new(),
    };
    let tensors = machine.run().and_then(|root| {
        let inner = machine.dict(root)?.iter().find_map(|&(key, value)| {
            let Value::Text("state_dict") = key else {
                return None;
            };
            Some(value)
        });
        machine.tensors(inner.unwrap_or(root))
    });
    tensors.map_err(|fault| PickleError {
        at: machine.at,
        fault,
    })
}

#[derive(Clone, Copy)]
enum Value<'a> {
    /// Of a kind whose content does not matter: `None`, a truth value, a float, a list.
    Other,
    Int(i64),
    Text(&'a str),
    Callable(Callable),
    /// What lies at this place of the arena.
    Thing(u32),
}

/// What may be named.
#[derive(Clone, Copy)]
enum Callable {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(DataType),
}

enum Thing<'a> {
    Tuple(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Storage {
        data_type: DataType,
        key: &'a str,
        elements: u64,
    },
    Tensor {
        storage: u32,
        offset: u64,
        shape: Vec<u64>,
        strides: Vec<u64>,
    },
}

struct Machine<'a> {
    pickle: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: Vec<Value<'a>>,
    things: Vec<Thing<'a>>,
}

/// Boxed and made in one place: there are many ways to be wrong, and code for them is paid for with every page.
type Wrong = Box<Fault>;

const ENDS: &str = "it ends too early";
const EMPTY: &str = "it takes more from its stack than there is";
const KIND: &str = "a value is of another kind than a state dict has there";
const LARGE: &str = "it is larger than a state dict is";

#[cold]
#[inline(never)]
fn wrong(why: &'static str) -> Wrong {
    Box::new(Fault::Pickle(why))
}

impl<'a> Machine<'a> {
    /// Reads to the end; the last value is what was pickled.
    fn run(&mut self) -> Result<Value<'a>, Wrong> {
        loop {
            if self.stack.len() > MOST || self.memo.len() > MOST || self.things.len() > MOST {
                return Err(wrong(LARGE));
            }
            let opcode = self.number(1)? as u8;
            match opcode {
                // PROTO
                0x80 => {
                    if !(2..=5).contains(&self.number(1)?) {
                        return Err(wrong("its protocol is not one of 2 to 5"));
                    }
                }
                // FRAME
                0x95 => {
                    self.take(8)?;
                }
                // STOP
                b'.' => return self.pop(),
                b'(' => {
                    if self.marks.len() >= MOST {
                        return Err(wrong(LARGE));
                    }
                    self.marks.push(self.stack.len());
                }
                // NONE, NEWTRUE, NEWFALSE, EMPTY_LIST
                b'N' | 0x88 | 0x89 | b']' => self.stack.push(Value::Other),
                // BINFLOAT
                b'G' => {
                    self.take(8)?;
                    self.stack.push(Value::Other);
                }
                // BININT, BININT1, BININT2, LONG1
                b'J' => {
                    let int = self.number(4)? as u32 as i32;
                    self.stack.push(Value::Int(int.into()));
                }
                b'K' => self.int(1)?,
                b'M' => self.int(2)?,
                0x8a => self.long()?,
                // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
                b'X' => self.text(4)?,
                0x8c => self.text(1)?,
                0x8d => self.text(8)?,
                // APPEND, APPENDS
                b'a' => {
                    self.pop()?;
                }
                b'e' => {
                    self.pop_to_mark()?;
                }
                // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
                b')' => self.tuple(0)?,
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.make(Thing::Tuple(items));
                }
                b'}' => self.make(Thing::Dict(Vec::new())),
                // SETITEM, SETITEMS
                b's' => {
                    let items = self.pop_many(2)?;
                    self.set(&items)?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set(&items)?;
                }
                // BINPUT, LONG_BINPUT, MEMOIZE
                b'q' => self.remember(1)?,
                b'r' => self.remember(4)?,
                0x94 => {
                    let top = *self.stack.last().ok_or_else(|| wrong(EMPTY))?;
                    self.memo.push(top);
                }
                // BINGET, LONG_BINGET
                b'h' => self.recall(1)?,
                b'j' => self.recall(4)?,
                // GLOBAL, STACK_GLOBAL
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.global(module, name)?;
                }
                0x93 => {
                    let names = self.pop_many(2)?;
                    let [Value::Text(module), Value::Text(name)] = names[..] else {
                        return Err(wrong(KIND));
                    };
                    self.global(module, name)?;
                }
                // BINPERSID, REDUCE, BUILD
                b'Q' => self.storage()?,
                b'R' => self.reduce()?,
                b'b' => {
                    // Attributes of an OrderedDict: a state dict has the versions of its modules.
                    self.pop()?;
                    self.dict(*self.stack.last().ok_or_else(|| wrong(EMPTY))?)?;
                }
                other => return Err(Box::new(Fault::Opcode(other))),
            }
        }
    }

    #[inline(never)]
    fn take(&mut self, count: u64) -> Result<&'a [u8], Wrong> {
        let count = usize::try_from(count).map_err(|_| wrong(ENDS))?;
        let (taken, _) = self.pickle[self.at..]
            .split_at_checked(count)
            .ok_or_else(|| wrong(ENDS))?;
        self.at += count;
        Ok(taken)
    }

    /// A little-endian number of up to 8 bytes.
    #[inline(never)]
    fn number(&mut self, bytes: u64) -> Result<u64, Wrong> {
        let bytes = self.take(bytes)?;
        Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    #[inline(never)]
    fn int(&mut self, bytes: u64) -> Result<(), Wrong> {
        let int = self.number(bytes)? as i64;
        self.stack.push(Value::Int(int));
        Ok(())
    }

    /// LONG1: two's complement in as many bytes as a byte says.
    fn long(&mut self) -> Result<(), Wrong> {
        let size = self.number(1)?;
        if size > 8 {
            // Larger than anything that counts; an error where it is used.
            self.take(size)?;
            self.stack.push(Value::Other);
            return Ok(());
        }
        let unused = 64 - 8 * size as u32;
        let int = self.number(size)?;
        let int = (int.checked_shl(unused).unwrap_or(0) as i64).checked_shr(unused);
        self.stack.push(Value::Int(int.unwrap_or(0)));
        Ok(())
    }

    #[inline(never)]
    fn text(&mut self, bytes: u64) -> Result<(), Wrong> {
        let bytes = self.number(bytes)?;
        let text = self.take(bytes)?;
        let text =
            std::str::from_utf8(text).map_err(|_| Box::new(Fault::Utf8("a text of the pickle")))?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    #[inline(never)]
    fn line(&mut self) -> Result<&'a str, Wrong> {
        let rest = &self.pickle[self.at..];
        let end = rest
            .iter()
            .position(|&b| b == b'\n')
            .ok_or_else(|| wrong(ENDS))?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| Box::new(Fault::Utf8("a name of the pickle")))
    }

    #[inline(never)]
    fn make(&mut self, thing: Thing<'a>) {
        // `run` holds their number far below this type's end.
        self.stack.push(Value::Thing(self.things.len() as u32));
        self.things.push(thing);
    }

    #[inline(never)]
    fn thing(&self, value: Value<'a>) -> Result<&Thing<'a>, Wrong> {
        let Value::Thing(at) = value else {
            return Err(wrong(KIND));
        };
        self.things.get(at as usize).ok_or_else(|| wrong(KIND))
    }

    #[inline(never)]
    fn items(&self, value: Value<'a>) -> Result<&[Value<'a>], Wrong> {
        match self.thing(value)? {
            Thing::Tuple(items) => Ok(items),
            _ => Err(wrong(KIND)),
        }
    }

    #[inline(never)]
    fn dict(&self, value: Value<'a>) -> Result<&[(Value<'a>, Value<'a>)], Wrong> {
        match self.thing(value)? {
            Thing::Dict(pairs) => Ok(pairs),
            _ => Err(wrong(KIND)),
        }
    }

    /// Nothing is taken from below the last mark.
    #[inline(never)]
    fn pop_many(&mut self, count: usize) -> Result<Vec<Value<'a>>, Wrong> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(height) if height >= floor => Ok(self.stack.split_off(height)),
            _ => Err(wrong(EMPTY)),
        }
    }

    #[inline(never)]
    fn pop(&mut self) -> Result<Value<'a>, Wrong> {
        Ok(self.pop_many(1)?[0])
    }

    #[inline(never)]
    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, Wrong> {
        let height = self.marks.pop().ok_or_else(|| wrong(EMPTY))?;
        Ok(self.stack.split_off(height))
    }

    #[inline(never)]
    fn tuple(&mut self, count: usize) -> Result<(), Wrong> {
        let items = self.pop_many(count)?;
        self.make(Thing::Tuple(items));
        Ok(())
    }

    #[inline(never)]
    fn set(&mut self, items: &[Value<'a>]) -> Result<(), Wrong> {
        let Some(&Value::Thing(at)) = self.stack.last() else {
            return Err(wrong(KIND));
        };
        let Some(Thing::Dict(pairs)) = self.things.get_mut(at as usize) else {
            return Err(wrong(KIND));
        };
        pairs.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        if pairs.len() > MOST {
            return Err(wrong(LARGE));
        }
        Ok(())
    }

    #[inline(never)]
    fn remember(&mut self, bytes: u64) -> Result<(), Wrong> {
        let at = self.number(bytes)? as usize;
        let top = *self.stack.last().ok_or_else(|| wrong(EMPTY))?;
        // They are numbered as they come.
        if at > self.memo.len() {
            return Err(wrong("its memo has holes"));
        }
        match self.memo.get_mut(at) {
            Some(place) => *place = top,
            None => self.memo.push(top),
        }
        Ok(())
    }

    #[inline(never)]
    fn recall(&mut self, bytes: u64) -> Result<(), Wrong> {
        let at = self.number(bytes)? as usize;
        let value = *self
            .memo
            .get(at)
            .ok_or_else(|| wrong("it recalls what it has not had"))?;
        self.stack.push(value);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), Wrong> {
        let callable = match (module, name) {
            ("collections", "OrderedDict") => Callable::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Callable::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Callable::RebuildParameter,
            ("torch", name) => match storage_type(name) {
                Some(data_type) => Callable::Storage(data_type),
                None => return Err(global(module, name)),
            },
            _ => return Err(global(module, name)),
        };
        self.stack.push(Value::Callable(callable));
        Ok(())
    }

    /// `('storage', type, key, where it was, elements)`
    fn storage(&mut self) -> Result<(), Wrong> {
        let id = self.pop()?;
        let [
            Value::Text("storage"),
            Value::Callable(Callable::Storage(data_type)),
            Value::Text(key),
            _,
            elements,
        ] = *self.items(id)?
        else {
            return Err(wrong(KIND));
        };
        let elements = size(elements)?;
        self.make(Thing::Storage {
            data_type,
            key,
            elements,
        });
        Ok(())
    }

    fn reduce(&mut self) -> Result<(), Wrong> {
        let called = self.pop_many(2)?;
        let Value::Callable(callable) = called[0] else {
            return Err(wrong(KIND));
        };
        let arguments = self.items(called[1])?;
        match (callable, arguments) {
            (Callable::OrderedDict, []) => self.make(Thing::Dict(Vec::new())),
            // (storage, offset, shape, strides, requires_grad, hooks, and metadata where there are any)
            (
                Callable::RebuildTensor,
                &[Value::Thing(storage), offset, shape, strides, _, _, ..],
            ) => {
                let sizes = |value| -> Result<Vec<u64>, Wrong> {
                    self.items(value)?.iter().map(|&item| size(item)).collect()
                };
                let offset = size(offset)?;
                let (shape, strides) = (sizes(shape)?, sizes(strides)?);
                if shape.len() > RANK_LIMIT || shape.len() != strides.len() {
                    return Err(wrong(KIND));
                }
                self.make(Thing::Tensor {
                    storage,
                    offset,
                    shape,
                    strides,
                });
            }
            // (tensor, requires_grad, hooks)
            (Callable::RebuildParameter, &[tensor @ Value::Thing(_), _, _]) => {
                self.stack.push(tensor);
            }
            _ => return Err(wrong(KIND)),
        }
        Ok(())
    }

    /// The tensors of a dictionary; what else it has does not matter.
    fn tensors(&self, root: Value<'a>) -> Result<Vec<Tensor<'a>>, Wrong> {
        let mut tensors = Vec::new();
        for &(key, value) in self.dict(root)? {
            let Ok(Thing::Tensor {
                storage,
                offset,
                shape,
                strides,
            }) = self.thing(value)
            else {
                continue;
            };
            let (
                Value::Text(name),
                Thing::Storage {
                    data_type,
                    key,
                    elements,
                },
            ) = (key, self.thing(Value::Thing(*storage))?)
            else {
                return Err(wrong(KIND));
            };
            tensors.push(Tensor {
                name,
                storage: key,
                elements: *elements,
                data_type: *data_type,
                offset: *offset,
                shape: shape.clone(),
                strides: strides.clone(),
            });
        }
        if tensors.is_empty() {
            return Err(wrong("there is no tensor in its dictionary"));
        }
        Ok(tensors)
    }
}

#[inline(never)]
fn size(value: Value<'_>) -> Result<u64, Wrong> {
    match value {
        Value::Int(int) => u64::try_from(int).map_err(|_| wrong(KIND)),
        _ => Err(wrong(KIND)),
    }
}

#[cold]
#[inline(never)]
fn global(module: &str, name: &str) -> Wrong {
    Box::new(Fault::Global(format!("{module}.{name}")))
}

fn storage_type(name: &str) -> Option<DataType> {
    Some(match name.strip_suffix("Storage")? {
        "Double" => DataType::F64,
        "Float" => DataType::F32,
        "Half" => DataType::F16,
        "BFloat16" => DataType::Bf16,
        "Long" => DataType::I64,
        "Int" => DataType::I32,
        "Short" => DataType::I16,
        "Char" => DataType::I8,
        "Byte" => DataType::U8,
        "Bool" => DataType::Bool,
        _ => return None,
    })
}
