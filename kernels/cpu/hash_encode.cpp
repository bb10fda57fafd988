// Loops of the hash encoding on the processor. DREAMKIT_VARIANT names the build (see loops.h).
#include <type_traits>
#include <utility>

#include "../loops.h"

namespace dreamkit::DREAMKIT_VARIANT {
namespace {

constexpr int kBlock = 128;  // points whose entries and weights stay in the first cache

// A block of points at one level. Structure of arrays: the loops that fill it vectorise, the look-ups cannot.
template <class real>
struct Corners {
    uint32_t cell[3][kBlock];
    real upper[3][kBlock], slope[3][kBlock], bend[3][kBlock];
    uint32_t entry[8][kBlock];
    real weight[8][kBlock];

    Share<real> axis(int j, int i) const { return {upper[j][i], slope[j][i], bend[j][i], cell[j][i]}; }
};

template <bool smoothstep, class real>
void locate_axes(const Level& level, const real* points, int count, Corners<real>& out) {
    const real scale = static_cast<real>(level.scale);
    for (int j = 0; j < 3; ++j)
        for (int i = 0; i < count; ++i) {
            const Share<real> share = share_along(points[3 * i + j], scale, smoothstep);
            out.cell[j][i] = share.cell, out.upper[j][i] = share.upper;
            out.slope[j][i] = share.slope, out.bend[j][i] = share.bend;
        }
}

template <bool dense, int c, class real>
void locate_corner(const Level& level, int count, Corners<real>& out) {
    const Level local = level;  // a copy cannot alias what the loop writes
    for (int i = 0; i < count; ++i)
        out.entry[c][i] = entry_at<dense>(local, c, out.cell[0][i], out.cell[1][i], out.cell[2][i]);
}

template <int c, class real>
void weigh_corner(const real* v, int count, Corners<real>& out) {
    if (v)
        for (int i = 0; i < count; ++i)
            out.weight[c][i] = weight_along(c, out.axis(0, i), out.axis(1, i), out.axis(2, i), v[3 * i], v[3 * i + 1],
                                            v[3 * i + 2]);
    else
        for (int i = 0; i < count; ++i)
            out.weight[c][i] = weight_at(c, out.axis(0, i), out.axis(1, i), out.axis(2, i));
}

template <class real, int... c>
void each_corner(const Encoding<real>& e, const Level& level, int64_t first, int count, bool weigh, Corners<real>& out,
                 std::integer_sequence<int, c...>) {
    if (level.dense) (locate_corner<true, c>(level, count, out), ...);
    else (locate_corner<false, c>(level, count, out), ...);
    if (weigh) (weigh_corner<c>(e.direction ? e.direction + 3 * first : nullptr, count, out), ...);
}

template <class real>
void locate(const Encoding<real>& e, int l, int64_t first, int count, bool weigh, Corners<real>& out) {
    const Level& level = e.pyramid.level[l];
    if (e.pyramid.smoothstep) locate_axes<true>(level, e.points + 3 * first, count, out);
    else locate_axes<false>(level, e.points + 3 * first, count, out);
    each_corner(e, level, first, count, weigh, out, std::make_integer_sequence<int, 8>{});
}

// The number of features is known when the inner loops are compiled.
template <class Loop>
void with_features(int features, Loop loop) {
    switch (features) {
        case 1: return loop(std::integral_constant<int, 1>{});
        case 2: return loop(std::integral_constant<int, 2>{});
        case 4: return loop(std::integral_constant<int, 4>{});
        default: return loop(std::integral_constant<int, 8>{});
    }
}

template <class real>
int block_size(const Encoding<real>& e, int64_t first) {
    return static_cast<int>(e.count - first < kBlock ? e.count - first : kBlock);
}

template <int F, class real>
void encode_block(const Encoding<real>& e, int64_t first, Corners<real>& corners, real* encoded) {
    const int count = block_size(e, first), width = e.pyramid.levels * F;
    for (int l = 0; l < e.pyramid.levels; ++l) {
        real* out = encoded + first * width + l * F;
        if (l >= e.active) {
            for (int i = 0; i < count; ++i)
                for (int f = 0; f < F; ++f) out[static_cast<int64_t>(i) * width + f] = real(0);
            continue;
        }
        locate(e, l, first, count, true, corners);
        const real* table = e.table + e.pyramid.level[l].offset * F;
        for (int i = 0; i < count; ++i) {
            real sum[F] = {};
            for (int c = 0; c < 8; ++c) {
                const real* row = table + static_cast<int64_t>(corners.entry[c][i]) * F;
                for (int f = 0; f < F; ++f) sum[f] += corners.weight[c][i] * row[f];
            }
            for (int f = 0; f < F; ++f) out[static_cast<int64_t>(i) * width + f] = sum[f];
        }
    }
}

// All points in order, for the entries [low, low + span) of one level: no other task writes them, and each gets its
// terms in the order of the points, however many tasks there are.
template <int F, class real>
void scatter_level(const Encoding<real>& e, int l, uint32_t low, uint32_t span, const real* cotangent, real* gradient) {
    Corners<real> corners;
    const int width = e.pyramid.levels * F;
    const bool whole = span >= e.pyramid.level[l].size;
    real* table = gradient + e.pyramid.level[l].offset * F;
    for (int64_t first = 0; first < e.count; first += kBlock) {
        const int count = block_size(e, first);
        locate(e, l, first, count, true, corners);
        for (int i = 0; i < count; ++i) {
            real g[F];
            for (int f = 0; f < F; ++f) g[f] = cotangent[(first + i) * width + l * F + f];
            for (int c = 0; c < 8; ++c) {
                const uint32_t entry = corners.entry[c][i];
                if (!whole && entry - low >= span) continue;
                real* row = table + static_cast<int64_t>(entry) * F;
                for (int f = 0; f < F; ++f) row[f] += corners.weight[c][i] * g[f];
            }
        }
    }
}

// q_c = table_c . cotangent at the corners of one point
template <int F, class real>
void corner_values(const Corners<real>& corners, int i, const real* table, const real* g, real (&q)[8]) {
    for (int c = 0; c < 8; ++c) {
        const real* row = table + static_cast<int64_t>(corners.entry[c][i]) * F;
        q[c] = 0;
        for (int f = 0; f < F; ++f) q[c] += row[f] * g[f];
    }
}

template <int F, class real>
void points_gradient_block(const Encoding<real>& e, int64_t first, Corners<real>& corners, const real* cotangent,
                           real* gradient) {
    const int count = block_size(e, first);
    real* out = gradient + 3 * first;
    for (int i = 0; i < 3 * count; ++i) out[i] = 0;
    for (int l = 0; l < e.active; ++l) {
        locate(e, l, first, count, false, corners);
        const real* table = e.table + e.pyramid.level[l].offset * F;
        for (int i = 0; i < count; ++i) {
            real q[8];
            corner_values<F>(corners, i, table, cotangent + ((first + i) * e.pyramid.levels + l) * F, q);
            const Share<real> x = corners.axis(0, i), y = corners.axis(1, i), z = corners.axis(2, i);
            const real* v = e.direction ? e.direction + 3 * (first + i) : nullptr;
            const Vector<real> term = v ? blend_curvature(q, x, y, z, v[0], v[1], v[2]) : blend_gradient(q, x, y, z);
            out[3 * i] += term.x, out[3 * i + 1] += term.y, out[3 * i + 2] += term.z;
        }
    }
}

}  // namespace

template <class real>
void encode(const Encoding<real>& e, real* encoded, Launch launch) {
    with_features(e.pyramid.features, [&](auto features) {
#pragma omp parallel num_threads(launch.threads)
        {
            Corners<real> corners;
#pragma omp for schedule(static)
            for (int64_t first = 0; first < e.count; first += kBlock)
                encode_block<decltype(features)::value>(e, first, corners, encoded);
        }
    });
}

// `gradient` arrives filled with zeros.
template <class real>
void table_gradient(const Encoding<real>& e, const real* cotangent, real* gradient, Launch launch) {
    if (e.active == 0) return;
    // Two tasks a thread at least, so that dense levels (cheap) and hashed ones balance.
    const int shards = launch.threads == 1 ? 1 : (2 * launch.threads + e.active - 1) / e.active;
    with_features(e.pyramid.features, [&](auto features) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(launch.threads)
        for (int task = e.active * shards - 1; task >= 0; --task) {
            const uint32_t size = e.pyramid.level[task / shards].size;
            const uint32_t span = (size + shards - 1) / shards;
            scatter_level<decltype(features)::value>(e, task / shards, task % shards * span, span, cotangent, gradient);
        }
    });
}

template <class real>
void points_gradient(const Encoding<real>& e, const real* cotangent, real* gradient, Launch launch) {
    with_features(e.pyramid.features, [&](auto features) {
#pragma omp parallel num_threads(launch.threads)
        {
            Corners<real> corners;
#pragma omp for schedule(static)
            for (int64_t first = 0; first < e.count; first += kBlock)
                points_gradient_block<decltype(features)::value>(e, first, corners, cotangent, gradient);
        }
    });
}

template void encode(const Encoding<float>&, float*, Launch);
template void encode(const Encoding<double>&, double*, Launch);
template void table_gradient(const Encoding<float>&, const float*, float*, Launch);
template void table_gradient(const Encoding<double>&, const double*, double*, Launch);
template void points_gradient(const Encoding<float>&, const float*, float*, Launch);
template void points_gradient(const Encoding<double>&, const double*, double*, Launch);

}  // namespace dreamkit::DREAMKIT_VARIANT
