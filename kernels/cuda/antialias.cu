// Loops of silhouette antialiasing on the GPU: a thread for each pair of pixels, or for each pixel.
#include "../antialias_loops.h"
#include "launch.h"

namespace dreamkit::cuda {
namespace {

// blend_pixel hands on a lambda, which an extended lambda may not contain; named bodies may.
template <class real>
struct BlendBody {
    Outlined<real> s;
    Pairs<real> pairs;
    real* out;
    __device__ void operator()(int64_t pixel) const {
        blend_pixel(s, pairs.weight, pairs.edge, pixel, out + pixel * s.channels);
    }
};

template <class real>
struct ImageGradientBody {
    Outlined<real> s;
    Pairs<real> pairs;
    const real* g;
    real* image;
    __device__ void operator()(int64_t pixel) const {
        blend_pixel_vjp(s, pairs.weight, pairs.edge, g, pixel, image + pixel * s.channels);
    }
};

}  // namespace

template <class real>
void antialias(const Outlined<real>& outlined, const Pairs<real>& remembered, real* out, Launch launch) {
    const Outlined<real> s = outlined;
    const Pairs<real> pairs = remembered;
    for_each(2 * s.all(), launch, [=] __device__(int64_t k) {
        const Blend<real> blend = blend_at(s, k % s.all(), k < s.all() ? 0 : 1);
        pairs.weight[k] = blend.weight, pairs.edge[k] = blend.edge;
    });
    for_each(s.all(), launch, BlendBody<real>{s, pairs, out});
}

// `vertices` arrives filled with zeros. The order of the additions to one vertex is the scheduler's.
template <class real>
void antialias_vjp(const Outlined<real>& outlined, const Pairs<real>& remembered, const real* g, real* image,
                   real* vertices, Launch launch) {
    const Outlined<real> s = outlined;
    const Pairs<real> pairs = remembered;
    for_each(s.all(), launch, ImageGradientBody<real>{s, pairs, g, image});
    for_each(2 * s.all(), launch, [=] __device__(int64_t k) {
        if (pairs.edge[k] < 0) return;
        const int64_t at = k % s.all();
        const EdgeGradient<real> e = edge_vjp(s, pairs.weight[k], pairs.edge[k], g, at, k < s.all() ? 0 : 1);
        real* gradient = vertices + 3 * (at / s.pixels()) * s.count;
        atomicAdd(gradient + 3 * e.a, e.ax), atomicAdd(gradient + 3 * e.a + 1, e.ay);
        atomicAdd(gradient + 3 * e.b, e.bx), atomicAdd(gradient + 3 * e.b + 1, e.by);
    });
}

template void antialias(const Outlined<float>&, const Pairs<float>&, float*, Launch);
template void antialias(const Outlined<double>&, const Pairs<double>&, double*, Launch);
template void antialias_vjp(const Outlined<float>&, const Pairs<float>&, const float*, float*, float*, Launch);
template void antialias_vjp(const Outlined<double>&, const Pairs<double>&, const double*, double*, double*, Launch);

}  // namespace dreamkit::cuda
