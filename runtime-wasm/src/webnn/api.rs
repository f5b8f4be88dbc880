//! The browser's WebNN: what is used of it, in the spec's names. `web-sys` has none of it.

use fewbit_engine::tensor::DataType;
use fewbit_wasm_boundary::thrown::text_of;
use js_sys::{Array, Function, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    /// `MLContext`
    #[derive(Clone)]
    pub(super) type Context;

    #[wasm_bindgen(method, getter)]
    pub(super) fn lost(this: &Context) -> Option<Promise>;

    #[wasm_bindgen(method, catch, js_name = createTensor)]
    pub(super) fn create_tensor(this: &Context, descriptor: &Object) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch, js_name = writeTensor)]
    pub(super) fn write_tensor(
        this: &Context,
        tensor: &Tensor,
        bytes: &Uint8Array,
    ) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = readTensor)]
    pub(super) fn read_tensor(this: &Context, tensor: &Tensor) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(super) fn dispatch(
        this: &Context,
        graph: &Graph,
        inputs: &Object,
        outputs: &Object,
    ) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = opSupportLimits)]
    pub(super) fn op_support_limits(this: &Context) -> Result<Object, JsValue>;

    #[wasm_bindgen(method)]
    pub(super) fn destroy(this: &Context);

    /// `MLGraphBuilder`
    #[wasm_bindgen(js_name = MLGraphBuilder)]
    pub(super) type Builder;

    #[wasm_bindgen(constructor, catch, js_class = MLGraphBuilder)]
    pub(super) fn new(context: &Context) -> Result<Builder, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(super) fn build(this: &Builder, outputs: &Object) -> Result<Promise, JsValue>;

    /// `MLOperand`
    #[derive(Clone)]
    pub(super) type Operand;

    #[wasm_bindgen(method, getter, js_name = dataType)]
    pub(super) fn data_type(this: &Operand) -> String;

    #[wasm_bindgen(method, getter)]
    pub(super) fn shape(this: &Operand) -> Vec<u32>;

    /// `MLGraph`
    pub(super) type Graph;

    #[wasm_bindgen(method, getter)]
    pub(super) fn devices(this: &Graph) -> Option<Array>;

    #[wasm_bindgen(method, structural, js_name = destroy)]
    pub(super) fn destroy_graph(this: &Graph);

    /// `MLTensor`
    #[derive(Clone)]
    pub(super) type Tensor;

    #[wasm_bindgen(method, structural, js_name = destroy)]
    pub(super) fn destroy_tensor(this: &Tensor);
}

/// A promise's answer.
pub(super) async fn settled<T: From<JsValue>>(
    promise: Result<Promise, JsValue>,
) -> Result<T, JsValue> {
    Ok(JsFuture::from(promise?).await?.into())
}

/// `navigator.ml.createContext(options)`; what it threw, or that there is no `navigator.ml`.
pub(super) async fn create_context(options: &Object) -> Result<Context, String> {
    let navigator = get(&js_sys::global(), "navigator");
    let ml = get(&navigator, "ml");
    if ml.is_undefined() {
        let secure = get(&js_sys::global(), "isSecureContext").as_bool();
        return Err(match secure {
            Some(false) => "WebNN takes a secure context (https or localhost)".into(),
            _ => "this browser has no WebNN (navigator.ml)".into(),
        });
    }
    let create: Function = get(&ml, "createContext")
        .dyn_into()
        .map_err(|_| "navigator.ml has no createContext".to_owned())?;
    let told = |thrown: JsValue| format!("createContext: {}", text_of(&thrown));
    let promise = create.call1(&ml, options).map_err(told)?;
    let context = JsFuture::from(Promise::resolve(&promise)).await;
    Ok(context.map_err(told)?.unchecked_into())
}

/// `builder[operator](...arguments)`.
pub(super) fn call(
    builder: &Builder,
    operator: &str,
    arguments: &Array,
) -> Result<JsValue, JsValue> {
    let method: Function = get(builder, operator)
        .dyn_into()
        .map_err(|_| js_sys::TypeError::new(&format!("MLGraphBuilder has no {operator}")))?;
    method.apply(builder, arguments)
}

/// The property, `undefined` where there is none.
pub(super) fn get(object: &JsValue, key: &str) -> JsValue {
    Reflect::get(object, &key.into()).unwrap_or(JsValue::UNDEFINED)
}

pub(super) fn set(object: &Object, key: &str, value: impl Into<JsValue>) {
    // Setting a property of a plain object cannot fail.
    let _ = Reflect::set(object, &key.into(), &value.into());
}

/// A list of sizes, axes and the like.
pub(super) fn list(numbers: impl IntoIterator<Item = usize>) -> Array {
    let numbers = numbers.into_iter();
    numbers.map(|number| JsValue::from(number as f64)).collect()
}

/// An `MLOperandDescriptor`.
pub(super) fn descriptor(data_type: &str, shape: &[usize]) -> Object {
    let object = Object::new();
    set(&object, "dataType", data_type);
    set(&object, "shape", list(shape.iter().copied()));
    object
}

/// The spec's name of a type; `None` for one that WebNN has not.
pub(super) const fn type_name(data_type: DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::F32 => "float32",
        DataType::F16 => "float16",
        DataType::I32 => "int32",
        DataType::U32 => "uint32",
        DataType::I64 => "int64",
        DataType::U64 => "uint64",
        DataType::I8 => "int8",
        DataType::U8 | DataType::Bool => "uint8",
        DataType::F64
        | DataType::Bf16
        | DataType::I16
        | DataType::U16
        | DataType::I4
        | DataType::U4 => return None,
    })
}
