// What augmentation adds to the fused operation: turned crops, gamma and noise; reference.centres, reference.turn and philox.normals define
// them. A turned crop is not separable, so each thread sums the taps of its output in two dimensions.
#pragma once
#include "fused.h"

namespace radload {

// Products and sums that nothing may fuse: which outputs are shown depends on the last bit, and NumPy does not fuse.
RADLOAD_FN double times(double a, double b) {
#ifdef __CUDA_ARCH__
    return __dmul_rn(a, b);
#else
    return a * b;
#endif
}
RADLOAD_FN double plus(double a, double b) {
#ifdef __CUDA_ARCH__
    return __dadd_rn(a, b);
#else
    return a + b;
#endif
}

struct Turn {  // what all threads of a block share of a turned sample
    double scale_y, scale_x, mid_y, mid_x, at_y, at_x;  // pixels per output; the pivot in pixels and in outputs
    double half_y, half_x, step;
    int count_y, count_x, only_y, only_x;               // taps; the output that contains the pivot
};

RADLOAD_FN double pivot(int full, double start, double extent) {
    return times(plus(fmax(start, 0.0), fmin(plus(start, extent), double(full))), 0.5);
}

RADLOAD_FN Turn turn(const Source& source, const Sample& s, int height, int width) {
    Turn t;
    t.step = double(1 << s.level);
    t.scale_y = s.height / height;
    t.scale_x = s.width / width;
    t.mid_y = pivot(s.rows, s.top, s.height);
    t.mid_x = pivot(s.cols, s.left, s.width);
    t.at_y = plus(t.mid_y, -s.top) / t.scale_y;
    t.at_x = plus(t.mid_x, -s.left) / t.scale_x;
    t.half_y = fmax(t.scale_y, t.step);
    t.half_x = fmax(t.scale_x, t.step);
    t.count_y = int(fmin(ceil(2 * t.half_y / t.step), double(source.rows)));
    t.count_x = int(fmin(ceil(2 * t.half_x / t.step), double(source.cols)));
    t.only_y = clamped(floor(t.at_y), 0, height - 1);
    t.only_x = clamped(floor(t.at_x), 0, width - 1);
    return t;
}

// The tap of one axis around pixel coordinate `at`.
RADLOAD_FN Tap turned_tap(double at, double half, double step, int n_in, int count) {
    Tap t;
    t.first = clamped(floor((at - 0.5 - half) / step) + 1, 0, n_in - count);
    t.delta = float(t.first * step + 0.5 - at);
    return t;
}

RADLOAD_FN float triangle(float distance, float reach) { return fmaxf(0.0f, 1.0f - fabsf(distance) * reach); }

// Sums the thread's output; false where it lies outside the image.
RADLOAD_FN bool turned(const Job& j, const Turn& t, const Window* windows, const Tables& tables, int thread, Sums& sums) {
    int row = j.row + thread / TILE_COLS, col = j.col + thread % TILE_COLS;
    if (row >= j.height || col >= j.width) return false;
    const Sample& s = j.sample;
    double a = plus(row + 0.5, -t.at_y), b = plus(col + 0.5, -t.at_x);
    double y = plus(t.mid_y, times(plus(times(s.cosine, a), times(s.sine, b)), t.scale_y));
    double x = plus(t.mid_x, times(plus(times(s.cosine, b), -times(s.sine, a)), t.scale_x));
    bool inside = y >= 0 && y < s.rows && x >= 0 && x < s.cols;
    if (!inside && (row != t.only_y || col != t.only_x)) return false;
    Tap down = turned_tap(fmin(fmax(y, 0.0), double(s.rows)), t.half_y, t.step, j.source.rows, t.count_y);
    Tap along = turned_tap(fmin(fmax(x, 0.0), double(s.cols)), t.half_x, t.step, j.source.cols, t.count_x);
    float pitch = float(t.step), reach_y = float(1.0 / t.half_y), reach_x = float(1.0 / t.half_x);
    long long at = (long long)down.first * j.source.cols + along.first;
    for (int k = 0; k < t.count_y; ++k, at += j.source.cols) {
        float wy = triangle(down.delta + k * pitch, reach_y);
        for (int i = 0; i < t.count_x; ++i) {
            float w = wy * triangle(along.delta + i * pitch, reach_x), value = coded(j.source, at + i);
            sums.total += w;
            if (w == 0.0f || !kept(s, value)) continue;
#ifdef __CUDACC__
#pragma unroll
#endif
            for (int c = 0; c < PLANES; ++c) sums.y[c] += w * windowed(windows[c], tables, value);
        }
    }
    return true;
}

// Number `pixel` of philox.normals under the sample's key.
RADLOAD_FN float normal(const Sample& s, long long pixel) {
    unsigned c0 = (unsigned)(pixel >> 2), c1 = 0, c2 = 0, c3 = 0, k0 = s.key_low, k1 = s.key_high;
    for (int i = 0; i < 10; ++i) {
        unsigned long long p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
        c0 = (unsigned)(p1 >> 32) ^ c1 ^ k0;
        c1 = (unsigned)p1;
        c2 = (unsigned)(p0 >> 32) ^ c3 ^ k1;
        c3 = (unsigned)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    unsigned first = pixel & 2 ? c2 : c0, second = pixel & 2 ? c3 : c1;
    float u = (2.0f * float(first >> 9) + 1.0f) * 5.9604644775390625e-8f;  // 2**-24
    float turns = float(second >> 8) * 5.9604644775390625e-8f;
#ifdef __CUDA_ARCH__
    float part = pixel & 1 ? sinpif(2.0f * turns) : cospif(2.0f * turns);  // no reduction of large angles, so no local memory
#else
    float angle = (turns - rintf(turns)) * 6.283185307179586f;  // a small one loses no digits
    float part = pixel & 1 ? sinf(angle) : cosf(angle);
#endif
    return sqrtf(-2.0f * logf(u)) * part;
}

// Gamma and noise for the y of one output; `number` is its `normal` where the sample is NOISY.
RADLOAD_FN float finished(const Sample& s, float y, float number) {
    if (s.effects & CURVED) {
        y = fminf(fmaxf(y, 0.0f), 1.0f);
        y = y > 0.0f ? powf(y, s.gamma) : 0.0f;
    }
    return s.effects & NOISY ? y + s.noise * number : y;
}

}  // namespace radload
