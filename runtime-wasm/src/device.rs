//! The device that a page asked for.

use std::rc::Rc;

use fewbit_engine::backend::cpu::kernels::Kernels;
use fewbit_engine::backend::cpu::threads::{Parallel, Serial};
use fewbit_engine::backend::cpu::{CpuDevice, CpuOptions};
use fewbit_engine::backend::{Activations, Device, NumericPolicy};

use crate::fault::Fault;
use crate::message::{ActivationsName, BackendName, LoadRequest};

pub(crate) fn device(request: &LoadRequest) -> Result<Box<dyn Device>, Fault> {
    match request.backend {
        BackendName::Wasm => Ok(Box::new(cpu(policy(request, Activations::Int8), request)?)),
        BackendName::Webgpu => gpu(request),
        BackendName::Webnn | BackendName::WebnnWasm => webnn(request),
    }
}

fn cpu(policy: NumericPolicy, request: &LoadRequest) -> Result<CpuDevice, Fault> {
    Ok(CpuDevice::new(CpuOptions {
        policy,
        kernels: Kernels::best(),
        parallel: parallel(request)?,
    }))
}

fn policy(request: &LoadRequest, auto: Activations) -> NumericPolicy {
    NumericPolicy {
        activations: match request.activations {
            ActivationsName::Auto => auto,
            ActivationsName::Float => Activations::Float,
            ActivationsName::Q8 => Activations::Int8,
        },
        ..NumericPolicy::default()
    }
}

#[cfg(feature = "gpu")]
fn gpu(request: &LoadRequest) -> Result<Box<dyn Device>, Fault> {
    use fewbit_engine::backend::gpu::{GpuDevice, GpuOptions};

    Ok(Box::new(GpuDevice::new(GpuOptions {
        policy: policy(request, Activations::Float),
        adapter_name: request.adapter_name.clone(),
        software: request.software_adapter,
        ..GpuOptions::default()
    })))
}

#[cfg(not(feature = "gpu"))]
fn gpu(_request: &LoadRequest) -> Result<Box<dyn Device>, Fault> {
    Err(Fault::new(
        "unsupported",
        "this build of the runtime has no GPU back end",
    ))
}

#[cfg(feature = "webnn")]
fn webnn(request: &LoadRequest) -> Result<Box<dyn Device>, Fault> {
    use fewbit_engine::backend::mixed::MixedDevice;

    use crate::message::PowerPreference;
    use crate::webnn::{WebnnDevice, WebnnOptions};

    if request.activations == ActivationsName::Q8 {
        return Err(Fault::new(
            "unsupported",
            "WebNN computes in floating point: activations of 8 bits are not to be had",
        ));
    }
    let preference = request.power_preference.map(|preference| match preference {
        PowerPreference::Default => "default",
        PowerPreference::HighPerformance => "high-performance",
        PowerPreference::LowPower => "low-power",
    });
    let webnn = Box::new(WebnnDevice::new(WebnnOptions {
        power_preference: preference.map(str::to_owned),
        accelerated: request.accelerated,
    }));
    if request.backend == BackendName::Webnn {
        return Ok(webnn);
    }
    let rest = cpu(policy(request, Activations::Float), request)?;
    Ok(Box::new(MixedDevice::new(webnn, Box::new(rest))))
}

#[cfg(not(feature = "webnn"))]
fn webnn(_request: &LoadRequest) -> Result<Box<dyn Device>, Fault> {
    Err(Fault::new(
        "unsupported",
        "this build of the runtime has no WebNN back end",
    ))
}

#[cfg(target_feature = "atomics")]
fn parallel(request: &LoadRequest) -> Result<Rc<dyn Parallel>, Fault> {
    if request.pool == 0 || request.threads < 2 {
        return Ok(Rc::new(Serial));
    }
    match crate::pool::WasmPool::new(request.pool, request.threads) {
        Some(pool) => Ok(pool),
        None => Err(Fault::bad_argument("no pool is at that address")),
    }
}

#[cfg(not(target_feature = "atomics"))]
fn parallel(request: &LoadRequest) -> Result<Rc<dyn Parallel>, Fault> {
    if request.pool != 0 || request.threads > 1 {
        return Err(Fault::bad_argument("this build has one thread"));
    }
    Ok(Rc::new(Serial))
}
