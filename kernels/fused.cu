// One launch renders a ragged batch: grid (tiles of columns, tiles of rows, samples), THREADS threads a block; see fused.h and fused_effects.h.
// Compile with -DPLANES=C and -DOUTPUT=0 (float32), 1 (float16) or 2 (bfloat16), for sm_80 and later.
#include "fused_effects.h"

#ifndef OUTPUT
#define OUTPUT 0
#endif
#ifndef BLOCKS
#define BLOCKS (PLANES <= 4 ? 3 : 1)  // that a multiprocessor must be able to hold: at most 80, or 255, registers a thread
#endif

namespace radload {

#if OUTPUT == 0
typedef float Output;
__device__ __forceinline__ Output rounded(float x) { return x; }
#else
typedef unsigned short Output;
__device__ __forceinline__ Output rounded(float x) {  // round to nearest even, by PTX: no header is needed
    Output bits;
#if OUTPUT == 1
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#else
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#endif
    return bits;
}
#endif

}  // namespace radload

// windows: (samples or 1, PLANES); norm: (PLANES, 2) scale and shift; out: as the strides say, see Target.
extern "C" __global__ void __launch_bounds__(radload::THREADS, BLOCKS) radload_fused(
    const radload::Source* __restrict__ sources, const radload::Sample* __restrict__ samples,
    const radload::Window* __restrict__ windows, int shared_windows, const float* __restrict__ pool, int pool_size,
    const float* __restrict__ norm, radload::Output* __restrict__ out, long long image, long long slice, long long plane,
    long long pixel, int slices, int height, int width) {
    using namespace radload;
    const Target to = {image, slice, plane, pixel, slices, height, width, 0};
    __shared__ Blended v;
    __shared__ Job j;
    __shared__ Turn turning;
    __shared__ Window window[PLANES];
    int n = blockIdx.z, thread = threadIdx.x;
    if (sources[n].address == 0) {  // the same for all threads of a block
        long long at = blank(blockIdx.y, blockIdx.x, thread, to);
        if (at >= 0)
            for (int c = 0; c < PLANES; ++c) out[target(to, n, c, at)] = rounded(0.0f);
        return;
    }
    if (thread == 0) {
        j = job(sources[n], samples[n], blockIdx.y, blockIdx.x, to.height, to.width);
        if (j.sample.effects & TURNED) turning = turn(j.source, j.sample, to.height, to.width);
    }
    if (thread < PLANES) window[thread] = windows[(shared_windows ? 0 : n) * PLANES + thread];
    __syncthreads();
    Tables tables = {pool, pool_size};
    Sums sums = {};
    for (int chunk = j.begin; chunk < j.end; chunk += CHUNK) {
        vertical(j, window, tables, chunk, thread, v);
        __syncthreads();
        horizontal(j, chunk, thread, v, sums);
        __syncthreads();
    }
    long long at = place(j, thread);
    if (at < 0) return;
    bool inside = j.sample.effects & TURNED ? turned(j, turning, window, tables, thread, sums) : shown(j, thread);
    float number = j.sample.effects & NOISY ? normal(j.sample, at) : 0.0f;
    for (int c = 0; c < PLANES; ++c) {
        float y = finished(j.sample, inside ? sums.y[c] / sums.total : 0.0f, number);
        out[target(to, n, c, at)] = rounded(y * norm[2 * c] + norm[2 * c + 1]);
    }
}
