// Loops of the rasteriser on the GPU: a warp walks over the box of a triangle, a thread writes a pixel. Depths meet in
// atomic minima: positive numbers compare as their bits do.
#include <limits>
#include <type_traits>

#include "../rasterize_loops.h"
#include "launch.h"

namespace dreamkit::cuda {
namespace {

constexpr int kLanes = 32;

template <class real>
using Bits = std::conditional_t<sizeof(real) == 4, unsigned int, unsigned long long>;

template <class real>
__device__ Bits<real> bits_of(real depth) {
    if constexpr (sizeof(real) == 4) return __float_as_uint(depth);
    else return static_cast<unsigned long long>(__double_as_longlong(depth));
}

// Calls hit(view, face, pixel of the batch, depth) where this lane's pixels of a triangle's box are inside it.
template <class real, class Hit>
__device__ void each_hit(const Projected<real>& p, int64_t item, Hit hit) {
    const int64_t lane = item % kLanes, triangle = item / kLanes;
    const int64_t view = triangle / p.triangles, face = triangle % p.triangles;
    const Triangle<real> t = triangle_at(p, view, face);
    const PixelBox box = box_of(p, t);
    const int64_t columns = box.right - box.left, count = columns * (box.bottom - box.top);
    for (int64_t k = lane; k < count; k += kLanes) {
        const int64_t column = box.left + k % columns, row = box.top + k / columns;
        real x[3], y[3], r[3];
        const Cover<real> c = cover_at(t, column, row, x, y, r);
        if (c.inside()) hit(face, view * p.pixels() + row * p.width + column, c.depth());
    }
}

// Two passes over the triangles: the nearest depth, then the first triangle that has it. `depth` holds the bits in
// between; `triangle` starts as the largest index.
template <class real>
struct NearestBody {
    Projected<real> p;
    Visible<real> out;
    __device__ void operator()(int64_t item) const {
        each_hit(p, item, [&](int64_t, int64_t at, real depth) {
            atomicMin(reinterpret_cast<Bits<real>*>(out.depth + at), bits_of(depth));
        });
    }
};

template <class real>
struct WinnerBody {
    Projected<real> p;
    Visible<real> out;
    __device__ void operator()(int64_t item) const {
        each_hit(p, item, [&](int64_t face, int64_t at, real depth) {
            if (depth == out.depth[at]) atomicMin(reinterpret_cast<long long*>(out.triangle + at), face);
        });
    }
};

}  // namespace

template <class real>
void rasterize(const Projected<real>& projected, const Visible<real>& visible, Launch launch) {
    const Projected<real> p = projected;
    const Visible<real> out = visible;
    constexpr int64_t nobody = std::numeric_limits<int64_t>::max();
    const real infinite = std::numeric_limits<real>::infinity();
    const int64_t pixels = p.views * p.pixels(), items = p.views * p.triangles * kLanes;
    for_each(pixels, launch, [=] __device__(int64_t at) { out.triangle[at] = nobody, out.depth[at] = infinite; });
    for_each(items, launch, NearestBody<real>{p, out});
    for_each(items, launch, WinnerBody<real>{p, out});
    for_each(pixels, launch, [=] __device__(int64_t at) {
        const int64_t face = out.triangle[at], pixel = at % p.pixels();
        const bool seen = face != nobody;
        Triangle<real> t{};
        if (seen) t = triangle_at(p, at / p.pixels(), face);
        else out.triangle[at] = -1;
        write_fragment(t, seen, pixel % p.width, pixel / p.width, out.barycentric + 3 * at, out.depth + at);
    });
}

// `gradient` arrives filled with zeros. The order of the additions to one vertex is the scheduler's.
template <class real>
void rasterize_vjp(const Projected<real>& projected, const Seen<real>& cotangent, real* gradient, Launch launch) {
    const Projected<real> p = projected;
    const Seen<real> g = cotangent;
    for_each(p.views * p.pixels(), launch, [=] __device__(int64_t at) {
        const int64_t face = g.triangle[at], view = at / p.pixels(), pixel = at % p.pixels();
        if (face < 0) return;
        real sum[9] = {};
        fragment_vjp(triangle_at(p, view, face), pixel % p.width, pixel / p.width, g.barycentric + 3 * at, g.depth[at],
                     sum);
        for (int i = 0; i < 3; ++i)
            for (int j = 0; j < 3; ++j)
                atomicAdd(gradient + 3 * (view * p.count + p.faces[3 * face + i]) + j, sum[3 * i + j]);
    });
}

template void rasterize(const Projected<float>&, const Visible<float>&, Launch);
template void rasterize(const Projected<double>&, const Visible<double>&, Launch);
template void rasterize_vjp(const Projected<float>&, const Seen<float>&, float*, Launch);
template void rasterize_vjp(const Projected<double>&, const Seen<double>&, double*, Launch);

}  // namespace dreamkit::cuda
