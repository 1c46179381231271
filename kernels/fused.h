// The fused operation's arithmetic, shared by the CUDA kernel (fused.cu) and by a host build that tests it without a GPU.
// reference.py defines what is computed; the structs mirror prepare.WINDOW, prepare.SAMPLE and gpu.SOURCE. Rotation, gamma and noise
// are in fused_effects.h.
//
// A block makes a tile of TILE_ROWS x TILE_COLS outputs, all planes, in two phases over chunks of CHUNK source columns:
// `vertical` reads the source once for all planes, windows it and blends rows into V (shared memory); `horizontal` adds V's columns to
// the sums that each thread keeps in registers. So shared memory is fixed, whatever the scale, and no tap table is read.
#pragma once

#ifdef __CUDACC__
#define RADLOAD_FN __host__ __device__ __forceinline__
#else
#include <math.h>
#define RADLOAD_FN inline
#endif

#ifndef PLANES
#define PLANES 1
#endif

namespace radload {

constexpr int TILE_ROWS = 8, TILE_COLS = 32, THREADS = TILE_ROWS * TILE_COLS, CHUNK = 128;
enum Kind { RAMP = 0, SIGMOID = 1, TABLE = 2 };
enum Dtype { UINT8 = 0, UINT16 = 1, INT16 = 2, FLOAT32 = 3 };
enum Flip { HORIZONTAL = 1, VERTICAL = 2 };
enum Effect { TURNED = 1, CURVED = 2, NOISY = 4 };

struct Window {  // prepare.WINDOW
    float x0, gain, offset;
    int kind, start, entries;
};

struct Sample {  // prepare.SAMPLE
    double top, left, height, width;
    int rows, cols, level, flip;
    float padding_first, padding_last;
    int row_first, row_end, col_first, col_end;
    double cosine, sine;
    float gamma, noise;
    unsigned key_low, key_high;
    int effects, reserved;
};

struct Source {  // gpu.SOURCE: contiguous rows x cols values of one dtype; address 0: no sample, the output is 0 after normalisation
    unsigned long long address;
    int dtype, rows, cols, reserved;
};

struct Target {  // gpu.TARGET: strides of the output in values, and slices that lie beside each other as channels of one image
    long long image, slice, plane, pixel;
    int slices, height, width, reserved;
};

static_assert(sizeof(Window) == 24 && sizeof(Sample) == 112 && sizeof(Source) == 24 && sizeof(Target) == 48,
              "the records of prepare.py and gpu.py");

// Where plane c of sample n has its output `at` (row * width + column).
RADLOAD_FN long long target(const Target& t, int n, int c, long long at) {
    return (n / t.slices) * t.image + (n % t.slices) * t.slice + c * t.plane + at * t.pixel;
}

struct Tables {
    const float* pool;
    int size;
};

RADLOAD_FN int clamped(double x, int low, int high) { return int(fmin(fmax(x, double(low)), double(high))); }

RADLOAD_FN float coded(const Source& s, long long i) {
    switch (s.dtype) {
        case UINT8: return float(reinterpret_cast<const unsigned char*>(s.address)[i]);
        case UINT16: return float(reinterpret_cast<const unsigned short*>(s.address)[i]);
        case INT16: return float(reinterpret_cast<const short*>(s.address)[i]);
        default: return reinterpret_cast<const float*>(s.address)[i];
    }
}

// Padding, NaN and infinity are 0 whatever the window; written so that NaN falls through to false.
RADLOAD_FN bool kept(const Sample& s, float x) {
    return (x < s.padding_first || x > s.padding_last) && fabsf(x) <= 3.402823466e38f;
}

RADLOAD_FN float windowed(const Window& w, const Tables& t, float x) {
    if (w.kind == TABLE) {
        float at = fminf(fmaxf(rintf(x) - w.x0, 0.0f), float(w.entries - 1));
        int i = w.start + int(at);
        return t.pool[i < t.size ? i : t.size - 1] * w.gain + w.offset;
    }
    float y = (x - w.x0) * w.gain + w.offset;
    if (w.kind == SIGMOID) return 1.0f / (1.0f + expf(fminf(fmaxf(-y, -30.0f), 30.0f)));
    return fminf(fmaxf(y, 0.0f), 1.0f);
}

// One axis of the triangle filter; see reference.weights. Positions in double: float32 has 1/1000 pixel left at 8,192.
struct Axis {
    double start, scale, half, step;
    float reach, pitch;  // 1 / half, and step, as float32
    int lo, hi, count;   // samples inside the crop, and how many of them one output may need
};

RADLOAD_FN Axis axis(int n_in, int level, double start, double extent, int n_out) {
    Axis a;
    a.start = start;
    a.step = double(1 << level);
    a.scale = extent / n_out;
    a.half = a.scale > a.step ? a.scale : a.step;
    a.reach = float(1.0 / a.half);
    a.pitch = float(a.step);
    double lo = ceil((start - 0.5) / a.step), hi = ceil((start + extent - 0.5) / a.step);
    a.lo = lo > 0 ? int(fmin(lo, double(n_in))) : 0;
    a.hi = hi < n_in ? int(fmax(hi, 0.0)) : n_in;
    if (a.lo >= a.hi) {  // no sample in the crop: the nearest to its centre
        a.lo = clamped(ceil((start + extent / 2 - 0.5) / a.step - 0.5), 0, n_in - 1);
        a.hi = a.lo + 1;
    }
    double count = ceil(2 * a.half / a.step);
    a.count = count < a.hi - a.lo ? int(count) : a.hi - a.lo;
    return a;
}

struct Tap {
    int first;    // sample of weight(0)
    float delta;  // its distance from the output's centre
};

RADLOAD_FN Tap tap(const Axis& a, int o) {
    double centre = a.start + (o + 0.5) * a.scale;
    Tap t;
    t.first = clamped(floor((centre - 0.5 - a.half) / a.step) + 1, a.lo, a.hi - a.count);
    t.delta = float(t.first * a.step + 0.5 - centre);
    return t;
}

RADLOAD_FN float weight(const Axis& a, const Tap& t, int k) {
    return a.count == 1 ? 1.0f : fmaxf(0.0f, 1.0f - fabsf(t.delta + k * a.pitch) * a.reach);
}

struct Job {  // what all threads of a block share
    Source source;
    Sample sample;
    Axis y, x;
    int row, col;        // the tile's first output
    int height, width;   // of the output
    int begin, end;      // source columns that the tile needs
};

RADLOAD_FN Job job(const Source& source, const Sample& sample, int tile_row, int tile_col, int height, int width) {
    Job j;
    j.source = source;
    j.sample = sample;
    j.y = axis(source.rows, sample.level, sample.top, sample.height, height);
    j.x = axis(source.cols, sample.level, sample.left, sample.width, width);
    j.row = tile_row * TILE_ROWS;
    j.col = tile_col * TILE_COLS;
    j.height = height;
    j.width = width;
    int last = j.col + TILE_COLS < width ? j.col + TILE_COLS - 1 : width - 1;
    j.begin = tap(j.x, j.col).first;
    j.end = tap(j.x, last).first + j.x.count;
    bool rows = j.row < sample.row_end && j.row + TILE_ROWS > sample.row_first;
    bool cols = j.col < sample.col_end && last >= sample.col_first;
    if (!rows || !cols) j.end = j.begin;  // all of the tile lies outside the image: nothing is read
    if (sample.effects & TURNED) j.end = j.begin;  // see fused_effects.h
    return j;
}

struct Sums {  // one output of all planes, kept by its thread over the chunks
    float y[PLANES];
    float total;
};

// V[plane][row][column]: columns chunk .. chunk + CHUNK - 1 of the source, windowed and blended for the tile's rows.
typedef float Blended[PLANES][TILE_ROWS][CHUNK];

RADLOAD_FN void vertical(const Job& j, const Window* windows, const Tables& tables, int chunk, int thread, Blended& v) {
    int columns = j.end - chunk < CHUNK ? j.end - chunk : CHUNK;
    for (int i = thread; i < TILE_ROWS * CHUNK; i += THREADS) {
        int row = i / CHUNK, column = i % CHUNK;
        if (column >= columns || j.row + row >= j.height) continue;
        Tap t = tap(j.y, j.row + row);
        float sum[PLANES] = {}, total = 0.0f;
        long long at = (long long)t.first * j.source.cols + chunk + column;
        for (int k = 0; k < j.y.count; ++k, at += j.source.cols) {
            float w = weight(j.y, t, k), x = coded(j.source, at);
            total += w;
            if (!kept(j.sample, x)) continue;
#ifdef __CUDACC__
#pragma unroll
#endif
            for (int c = 0; c < PLANES; ++c) sum[c] += w * windowed(windows[c], tables, x);
        }
        for (int c = 0; c < PLANES; ++c) v[c][row][column] = sum[c] / total;
    }
}

RADLOAD_FN void horizontal(const Job& j, int chunk, int thread, const Blended& v, Sums& sums) {
    int row = thread / TILE_COLS, o = j.col + thread % TILE_COLS;
    if (o >= j.width || j.row + row >= j.height) return;
    Tap t = tap(j.x, o);
    int from = chunk - t.first > 0 ? chunk - t.first : 0;
    int to = chunk + CHUNK - t.first < j.x.count ? chunk + CHUNK - t.first : j.x.count;
    for (int k = from; k < to; ++k) {
        float w = weight(j.x, t, k);
        sums.total += w;
        for (int c = 0; c < PLANES; ++c) sums.y[c] += w * v[c][row][t.first + k - chunk];
    }
}

// Whether the thread's output lies in the image; it is 0 before mean and deviation where it does not.
RADLOAD_FN bool shown(const Job& j, int thread) {
    int row = j.row + thread / TILE_COLS, col = j.col + thread % TILE_COLS;
    const Sample& s = j.sample;
    return row >= s.row_first && row < s.row_end && col >= s.col_first && col < s.col_end;
}

// Where the thread of a block without a sample writes its 0; -1 where it has no output.
RADLOAD_FN long long blank(int tile_row, int tile_col, int thread, const Target& t) {
    int row = tile_row * TILE_ROWS + thread / TILE_COLS, col = tile_col * TILE_COLS + thread % TILE_COLS;
    return row < t.height && col < t.width ? (long long)row * t.width + col : -1;
}

// Where the thread's output lies in a plane, flips applied; -1 where it has none.
RADLOAD_FN long long place(const Job& j, int thread) {
    int row = j.row + thread / TILE_COLS, col = j.col + thread % TILE_COLS;
    if (row >= j.height || col >= j.width) return -1;
    if (j.sample.flip & VERTICAL) row = j.height - 1 - row;
    if (j.sample.flip & HORIZONTAL) col = j.width - 1 - col;
    return (long long)row * j.width + col;
}

}  // namespace radload
