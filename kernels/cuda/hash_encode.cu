// Loops of the hash encoding on the GPU. A thread has one point of one level; neighbouring threads have neighbouring
// points of the same level, so that a warp reads one small table.
#include <type_traits>

#include "../hash_encode_loops.h"
#include "launch.h"

namespace dreamkit::cuda {
namespace {

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
__device__ Share<real> axis_of(const Encoding<real>& e, int level, int64_t point, int j) {
    const real scale = static_cast<real>(e.pyramid.level[level].scale);
    return share_along(e.points[3 * point + j], scale, e.pyramid.smoothstep);
}

template <class real>
__device__ int64_t row_of(const Level& level, int c, const Share<real>& x, const Share<real>& y, const Share<real>& z) {
    return level.offset + (level.dense ? entry_at<true>(level, c, x.cell, y.cell, z.cell)
                                       : entry_at<false>(level, c, x.cell, y.cell, z.cell));
}

template <class real>
__device__ real weigh(const real* v, int c, const Share<real>& x, const Share<real>& y, const Share<real>& z) {
    return v ? weight_along(c, x, y, z, v[0], v[1], v[2]) : weight_at(c, x, y, z);
}

template <int F, class real>
__device__ void encode_at(const Encoding<real>& e, real* encoded, int64_t item) {
    const int l = static_cast<int>(item / e.count);
    const int64_t point = item % e.count;
    real sum[F] = {};
    if (l < e.active) {
        const Share<real> x = axis_of(e, l, point, 0), y = axis_of(e, l, point, 1), z = axis_of(e, l, point, 2);
        const real* v = e.direction ? e.direction + 3 * point : nullptr;
        for (int c = 0; c < 8; ++c) {
            const real* row = e.table + row_of(e.pyramid.level[l], c, x, y, z) * F;
            const real weight = weigh(v, c, x, y, z);
            for (int f = 0; f < F; ++f) sum[f] += weight * row[f];
        }
    }
    for (int f = 0; f < F; ++f) encoded[(point * e.pyramid.levels + l) * F + f] = sum[f];
}

// The order of the additions to one entry is the scheduler's: see dreamkit/ops/hash_encode.py.
template <int F, class real>
__device__ void scatter_at(const Encoding<real>& e, const real* cotangent, real* gradient, int64_t item) {
    const int l = static_cast<int>(item / e.count);
    const int64_t point = item % e.count;
    const Share<real> x = axis_of(e, l, point, 0), y = axis_of(e, l, point, 1), z = axis_of(e, l, point, 2);
    const real* v = e.direction ? e.direction + 3 * point : nullptr;
    const real* g = cotangent + (point * e.pyramid.levels + l) * F;
    for (int c = 0; c < 8; ++c) {
        real* row = gradient + row_of(e.pyramid.level[l], c, x, y, z) * F;
        const real weight = weigh(v, c, x, y, z);
        for (int f = 0; f < F; ++f) atomicAdd(row + f, weight * g[f]);
    }
}

// A thread sums all levels of its point: no two threads write the same gradient.
template <int F, class real>
__device__ void points_gradient_at(const Encoding<real>& e, const real* cotangent, real* gradient, int64_t point) {
    Vector<real> total{0, 0, 0};
    const real* v = e.direction ? e.direction + 3 * point : nullptr;
    for (int l = 0; l < e.active; ++l) {
        const Share<real> x = axis_of(e, l, point, 0), y = axis_of(e, l, point, 1), z = axis_of(e, l, point, 2);
        const real* g = cotangent + (point * e.pyramid.levels + l) * F;
        real q[8];
        for (int c = 0; c < 8; ++c) {
            const real* row = e.table + row_of(e.pyramid.level[l], c, x, y, z) * F;
            q[c] = 0;
            for (int f = 0; f < F; ++f) q[c] += row[f] * g[f];
        }
        const Vector<real> term = v ? blend_curvature(q, x, y, z, v[0], v[1], v[2]) : blend_gradient(q, x, y, z);
        total.x += term.x, total.y += term.y, total.z += term.z;
    }
    gradient[3 * point] = total.x, gradient[3 * point + 1] = total.y, gradient[3 * point + 2] = total.z;
}

// Lambdas inside generic lambdas cannot be kernels; named bodies can.
template <int F, class real>
struct EncodeBody {
    Encoding<real> e;
    real* encoded;
    __device__ void operator()(int64_t item) const { encode_at<F>(e, encoded, item); }
};

template <int F, class real>
struct ScatterBody {
    Encoding<real> e;
    const real* cotangent;
    real* gradient;
    __device__ void operator()(int64_t item) const { scatter_at<F>(e, cotangent, gradient, item); }
};

template <int F, class real>
struct PointsGradientBody {
    Encoding<real> e;
    const real* cotangent;
    real* gradient;
    __device__ void operator()(int64_t item) const { points_gradient_at<F>(e, cotangent, gradient, item); }
};

}  // namespace

template <class real>
void encode(const Encoding<real>& e, real* encoded, Launch launch) {
    with_features(e.pyramid.features, [&](auto features) {
        for_each(e.count * e.pyramid.levels, launch, EncodeBody<decltype(features)::value, real>{e, encoded});
    });
}

// `gradient` arrives filled with zeros.
template <class real>
void table_gradient(const Encoding<real>& e, const real* cotangent, real* gradient, Launch launch) {
    with_features(e.pyramid.features, [&](auto features) {
        for_each(e.count * e.active, launch, ScatterBody<decltype(features)::value, real>{e, cotangent, gradient});
    });
}

template <class real>
void points_gradient(const Encoding<real>& e, const real* cotangent, real* gradient, Launch launch) {
    with_features(e.pyramid.features, [&](auto features) {
        for_each(e.count, launch, PointsGradientBody<decltype(features)::value, real>{e, cotangent, gradient});
    });
}

template void encode(const Encoding<float>&, float*, Launch);
template void encode(const Encoding<double>&, double*, Launch);
template void table_gradient(const Encoding<float>&, const float*, float*, Launch);
template void table_gradient(const Encoding<double>&, const double*, double*, Launch);
template void points_gradient(const Encoding<float>&, const float*, float*, Launch);
template void points_gradient(const Encoding<double>&, const double*, double*, Launch);

}  // namespace dreamkit::cuda
