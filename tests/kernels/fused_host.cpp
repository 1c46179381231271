// Runs fused.h's and fused_effects.h's blocks one after the other on the host: every thread's phase, in the kernel's order. Built by fused_host.py.
#include "fused_effects.h"

extern "C" void render(const radload::Source* sources, const radload::Sample* samples, const radload::Window* windows, int shared,
                       const float* pool, int pool_size, const float* norm, float* out, int count, const radload::Target* to) {
    using namespace radload;
    static Blended v;
    static Sums sums[THREADS];
    Tables tables = {pool, pool_size};
    int height = to->height, width = to->width;
    for (int n = 0; n < count; ++n)
        for (int row = 0; row * TILE_ROWS < height; ++row)
            for (int col = 0; col * TILE_COLS < width; ++col) {
                if (sources[n].address == 0) {
                    for (int t = 0; t < THREADS; ++t) {
                        long long at = blank(row, col, t, *to);
                        for (int c = 0; at >= 0 && c < PLANES; ++c) out[target(*to, n, c, at)] = 0.0f;
                    }
                    continue;
                }
                Job j = job(sources[n], samples[n], row, col, height, width);
                const Window* window = windows + (shared ? 0 : n) * PLANES;
                for (int t = 0; t < THREADS; ++t) sums[t] = Sums();
                for (int chunk = j.begin; chunk < j.end; chunk += CHUNK) {
                    for (int t = 0; t < THREADS; ++t) vertical(j, window, tables, chunk, t, v);
                    for (int t = 0; t < THREADS; ++t) horizontal(j, chunk, t, v, sums[t]);
                }
                for (int t = 0; t < THREADS; ++t) {
                    long long at = place(j, t);
                    if (at < 0) continue;
                    const Sample& s = j.sample;
                    bool inside = s.effects & TURNED ? turned(j, turn(j.source, s, height, width), window, tables, t, sums[t])
                                                     : shown(j, t);
                    float number = s.effects & NOISY ? normal(s, at) : 0.0f;
                    for (int c = 0; c < PLANES; ++c)
                        out[target(*to, n, c, at)] =
                            finished(s, inside ? sums[t].y[c] / sums[t].total : 0.0f, number) * norm[2 * c] + norm[2 * c + 1];
                }
            }
}
