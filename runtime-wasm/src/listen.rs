//! What a transcription asks of the model. Which token comes next is decided by the module of codecs.

// As in `model.rs`, the borrow is the lock.
#![allow(clippy::await_holding_refcell_ref)]

use fewbit_engine::task::decoder::Advance;
use js_sys::Float32Array;
use wasm_bindgen::prelude::*;

use crate::fault::Fault;
use crate::model::JsModel;
use fewbit_wasm_boundary::tensor::{self, JsTensor};

#[wasm_bindgen(js_class = Model)]
impl JsModel {
    /// The mel bands and frames that it reads; empty for another kind of model.
    #[wasm_bindgen(js_name = featureShape)]
    pub fn feature_shape(&self) -> Result<Vec<u32>, JsValue> {
        let shape = self.shared.borrow_mut()?.reads_features();
        Ok(shape.map_or_else(Vec::new, |(mels, frames)| vec![mels as u32, frames as u32]))
    }

    #[wasm_bindgen(js_name = tokenId)]
    pub fn token_id(&self, token: &str) -> Option<u32> {
        let model = self.shared.model.try_borrow().ok()?;
        model.tokenizer().ok()?.id(token)
    }

    /// The text of ids, without control tokens and what is no token.
    pub fn decode(&self, ids: Vec<u32>) -> Option<String> {
        let model = self.shared.model.try_borrow().ok()?;
        model.tokenizer().ok()?.decode(&ids, true).ok()
    }

    /// Goes on after another source, by the names of the encoder's inputs.
    pub fn listen(&self, source: Vec<JsTensor>) -> Result<(), JsValue> {
        let source = tensor::from_js(source).map_err(Fault::from)?;
        let mut model = self.shared.borrow_mut()?;
        Ok(model.listen(&source).map_err(Fault::from)?)
    }

    /// One run towards a context; the logits after it, or `undefined` if there is more to run.
    pub async fn advance(&self, context: Vec<u32>) -> Result<Option<Float32Array>, JsValue> {
        let mut model = self.shared.borrow_mut()?;
        let advance = model.advance(&context).await.map_err(Fault::from)?;
        Ok(match advance {
            Advance::Logits(logits) => Some(logits.as_slice().into()),
            Advance::Prefilled { .. } => None,
        })
    }
}
