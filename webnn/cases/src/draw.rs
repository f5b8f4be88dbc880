//! Numbers, shapes and tensors drawn at random, and whether two are near.

use fewbit_engine::tensor::Tensor;
use fewbit_webnn::{DataType, Descriptor, Value};
use half::f16;

/// SplitMix64 (Steele et al. 2014).
pub(crate) struct Random(u64);

impl Random {
    /// The same numbers for the same seed and name.
    pub(crate) fn new(seed: u64, name: &str) -> Random {
        let mixed = name.bytes().fold(seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Random(mixed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// From `least` to `most`, both included.
    pub(crate) fn from(&mut self, least: usize, most: usize) -> usize {
        least + (self.next() % (most - least + 1) as u64) as usize
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.next() & 1 == 1
    }

    pub(crate) fn one_of<X: Clone>(&mut self, values: &[X]) -> X {
        values[self.from(0, values.len() - 1)].clone()
    }

    /// From `least` up to `most`.
    pub(crate) fn real(&mut self, least: f64, most: f64) -> f64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        least + unit * (most - least)
    }

    pub(crate) fn shape(&mut self, least: usize, most: usize) -> Vec<usize> {
        let rank = self.from(least, most);
        (0..rank).map(|_| self.from(1, 4)).collect()
    }

    /// Numbers of a type, integers between the bounds too.
    pub(crate) fn tensor(
        &mut self,
        data_type: DataType,
        shape: &[usize],
        least: f64,
        most: f64,
    ) -> T {
        let count = shape.iter().product();
        let values = (0..count).map(|_| {
            let x = self.real(least, most);
            if data_type.is_float() { x } else { x.round() }
        });
        T::new(data_type, shape, values.collect())
    }

    /// Floats with zeros, infinities, NaN and very large and small ones among them.
    pub(crate) fn with_edges(&mut self, data_type: DataType, shape: &[usize], most: f64) -> T {
        let edges = match data_type {
            DataType::Float16 => [65504.0, -65504.0, 6.2e-5, 0.5],
            _ => [3.0e38, -3.0e38, 1.2e-38, 1.0e9],
        };
        let others = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.0];
        let mut x = self.tensor(data_type, shape, -most, most);
        for value in &mut x.values {
            if self.from(0, 5) == 0 {
                *value = match self.flag() {
                    true => self.one_of(&edges),
                    false => self.one_of(&others),
                };
            }
        }
        T::new(data_type, shape, x.values)
    }

    /// Which of the float types.
    pub(crate) fn float(&mut self) -> DataType {
        self.one_of(&[DataType::Float32, DataType::Float16])
    }
}

/// A tensor: what its type makes of the numbers that it was given, in f64.
#[derive(Clone, Debug)]
pub struct T {
    pub data_type: DataType,
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl T {
    /// Floats are rounded to their type.
    pub fn new(data_type: DataType, shape: &[usize], values: Vec<f64>) -> T {
        let round = |x: f64| match data_type {
            DataType::Float32 => f64::from(x as f32),
            DataType::Float16 => f16::from_f64(x).to_f64(),
            _ => x,
        };
        assert_eq!(values.len(), shape.iter().product::<usize>());
        T {
            data_type,
            shape: shape.to_vec(),
            values: values.into_iter().map(round).collect(),
        }
    }

    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.data_type, &self.shape)
    }

    pub fn tensor(&self) -> Tensor {
        let mut bytes = Vec::new();
        for &x in &self.values {
            match self.data_type {
                DataType::Float32 => bytes.extend((x as f32).to_le_bytes()),
                DataType::Float16 => bytes.extend(f16::from_f64(x).to_le_bytes()),
                integer => bytes.extend(&(x as i128).to_le_bytes()[..integer.bytes()]),
            }
        }
        Tensor::from_bytes(self.data_type.engine(), &self.shape, &bytes).unwrap()
    }

    pub fn map(&self, f: impl Fn(f64) -> f64) -> T {
        T::new(
            self.data_type,
            &self.shape,
            self.values.iter().map(|&x| f(x)).collect(),
        )
    }

    /// The element at an index, which is broadcast to this tensor's shape.
    pub fn at(&self, index: &[usize]) -> f64 {
        let skip = index.len() - self.shape.len();
        let place = self.shape.iter().zip(&index[skip..]);
        let place = place.fold(0, |at, (&n, &i)| at * n + if n == 1 { 0 } else { i });
        self.values[place]
    }

    /// A tensor of this type made index by index.
    pub fn made(data_type: DataType, shape: &[usize], f: impl Fn(&[usize]) -> f64) -> T {
        T::new(
            data_type,
            shape,
            indices(shape).iter().map(|index| f(index)).collect(),
        )
    }

    /// Why a result is not near.
    pub fn difference(&self, got: &Tensor, ulp: f64, absolute: f64) -> Option<String> {
        if got.data_type() != self.data_type.engine() || got.shape() != self.shape {
            return Some(format!("{got:?} made, {} expected", self.descriptor()));
        }
        let unit = |x: f64| match self.data_type {
            DataType::Float32 => (x.abs() * 2f64.powi(-23)).max(2f64.powi(-126)),
            DataType::Float16 => (x.abs() * 2f64.powi(-10)).max(2f64.powi(-24)),
            _ => 1.0,
        };
        let absolute = match self.data_type {
            DataType::Float32 => absolute,
            // Of small integers a tie may fall to the other side; of floats of fewer bits the unit tells.
            _ if !self.data_type.is_float() => absolute,
            _ => absolute.max(2f64.powi(-24)),
        };
        for (at, (got, &wanted)) in got.to_f64_vec().into_iter().zip(&self.values).enumerate() {
            let near = (got.is_nan() && wanted.is_nan())
                || got == wanted
                || (got - wanted).abs() <= (ulp * unit(wanted)).max(absolute);
            if !near {
                return Some(format!("element {at} is {got:e}, {wanted:e} expected"));
            }
        }
        None
    }
}

/// All indices of a shape, in order.
pub(crate) fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for &size in shape {
        let longer = all.iter().flat_map(|index: &Vec<usize>| {
            (0..size).map(move |i| {
                let mut index = index.clone();
                index.push(i);
                index
            })
        });
        all = longer.collect();
    }
    all
}

#[derive(Clone, Debug)]
pub enum Arg {
    Tensor(T),
    Value(Value),
}

impl From<&T> for Arg {
    fn from(tensor: &T) -> Arg {
        Arg::Tensor(tensor.clone())
    }
}

/// Anything that is a value.
pub(crate) fn arg(value: impl Into<Value>) -> Arg {
    Arg::Value(value.into())
}

/// A call, and what it must give.
#[derive(Clone, Debug, Default)]
pub struct Drawn {
    pub arguments: Vec<Arg>,
    pub options: Vec<(&'static str, Arg)>,
    pub expected: Vec<T>,
}

impl Drawn {
    pub fn of(arguments: &[&T], expected: T) -> Drawn {
        Drawn {
            arguments: arguments.iter().map(|&t| t.into()).collect(),
            options: Vec::new(),
            expected: vec![expected],
        }
    }

    pub fn and(mut self, argument: impl Into<Value>) -> Drawn {
        self.arguments.push(arg(argument));
        self
    }

    pub fn option(mut self, name: &'static str, value: impl Into<Value>) -> Drawn {
        self.options.push((name, arg(value)));
        self
    }

    pub fn operand(mut self, name: &'static str, tensor: &T) -> Drawn {
        self.options.push((name, tensor.into()));
        self
    }

    /// The call in short.
    pub fn told(&self) -> String {
        let short = |arg: &Arg| match arg {
            Arg::Tensor(tensor) => tensor.descriptor().to_string(),
            Arg::Value(value) => format!("{value:?}"),
        };
        let arguments: Vec<String> = self.arguments.iter().map(short).collect();
        let options = self.options.iter();
        let options: Vec<String> = options
            .map(|(name, arg)| format!("{name}: {}", short(arg)))
            .collect();
        format!("({}; {})", arguments.join(", "), options.join(", "))
    }
}
