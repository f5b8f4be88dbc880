//! The `gpu` back end: plans of WGSL dispatches through `wgpu`, in the browser and natively.
