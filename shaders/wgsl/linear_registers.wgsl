// y[m, n] = x[m, k] · w[n, k]ᵀ (+ bias[n]) (+ residual[m, n]) for many rows m, without barriers.
//
// One invocation makes a block of TM × TN outputs held in registers: weights are unpacked once for TM rows of
// x. Invocations side by side take neighbouring columns, so that they read the same x.
// Grid: ceil(n / TN) × ceil(m / TM), flat.
//
// Needs: k a multiple of 4 (plain weights) or of the block. No workgroup memory, no features.
#include "index.wgsl"
#include "linear_io.wgsl"

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
  let tiles = (p.n + ${TN}u - 1u) / ${TN}u;
  let row = (i / tiles) * ${TM}u;
  if (row >= p.m) {
    return;
  }
  let column = (i % tiles) * ${TN}u;
  let k4 = p.k / 4u;
  // Rows and columns past the end repeat the last one and are not written.
#repeat n TN
  let n${n} = min(column + ${n}u, p.n - 1u);
#end
#repeat m TM
  var x${m} = min(row + ${m}u, p.m - 1u) * k4;
#repeat n TN
  var acc${m}_${n} = 0.0;
#end
#end
#if BLOCK
  for (var c = 0u; c < p.k / 32u; c++) {
#repeat n TN
    let w${n} = chunk(n${n}, c);
#repeat j 4
    let w${n}_${j} = w${n}.d0 * w${n}.q${j} + w${n}.m0;
#end
    let w${n}_4 = w${n}.d1 * w${n}.q4 + w${n}.m1;
    let w${n}_5 = w${n}.d1 * w${n}.q5 + w${n}.m1;
    let w${n}_6 = w${n}.d1 * w${n}.q6 + w${n}.m1;
    let w${n}_7 = w${n}.d1 * w${n}.q7 + w${n}.m1;
#end
#repeat m TM
    {
#repeat j 8
      let a${j} = x[x${m} + ${j}u];
#end
#repeat n TN
      let s${n} = (w${n}_0 * a0 + w${n}_1 * a1 + w${n}_2 * a2 + w${n}_3 * a3)
        + (w${n}_4 * a4 + w${n}_5 * a5 + w${n}_6 * a6 + w${n}_7 * a7);
      acc${m}_${n} += (s${n}.x + s${n}.y) + (s${n}.z + s${n}.w);
#end
      x${m} += 8u;
    }
#end
  }
#else
  for (var c = 0u; c < k4; c++) {
#repeat n TN
    let w${n} = weights4(n${n}, c);
#end
#repeat m TM
    {
      let a = x[x${m} + c];
#repeat n TN
      acc${m}_${n} += dot(a, w${n});
#end
    }
#end
  }
#endif
#repeat m TM
  if (row + ${m}u < p.m) {
#repeat n TN
    if (column + ${n}u < p.n) {
      finish(row + ${m}u, column + ${n}u, acc${m}_${n});
    }
#end
  }
#end
}
