// Loops of silhouette antialiasing on the processor: pixels are shared out, and so are the vertices in their gradient.
#include "../antialias_loops.h"

#include "owned.h"

namespace dreamkit::DREAMKIT_VARIANT {

template <class real>
void antialias(const Outlined<real>& s, const Pairs<real>& pairs, real* out, Launch launch) {
#pragma omp parallel for schedule(static) num_threads(launch.threads)
    for (int64_t k = 0; k < 2 * s.all(); ++k) {
        const Blend<real> blend = blend_at(s, k % s.all(), k < s.all() ? 0 : 1);
        pairs.weight[k] = blend.weight, pairs.edge[k] = blend.edge;
    }
#pragma omp parallel for schedule(static) num_threads(launch.threads)
    for (int64_t pixel = 0; pixel < s.all(); ++pixel)
        blend_pixel(s, pairs.weight, pairs.edge, pixel, out + pixel * s.channels);
}

// `vertices` arrives filled with zeros.
template <class real>
void antialias_vjp(const Outlined<real>& s, const Pairs<real>& pairs, const real* g, real* image, real* vertices,
                   Launch launch) {
#pragma omp parallel for schedule(static) num_threads(launch.threads)
    for (int64_t pixel = 0; pixel < s.all(); ++pixel)
        blend_pixel_vjp(s, pairs.weight, pairs.edge, g, pixel, image + pixel * s.channels);
    each_owned(s.views, s.count, launch.threads, [&](int64_t view, Range range) {
        real* gradient = vertices + 3 * view * s.count;
        for (int axis = 0; axis < 2; ++axis)
            for (int64_t at = view * s.pixels(); at < (view + 1) * s.pixels(); ++at) {
                const int64_t k = axis * s.all() + at;
                if (pairs.edge[k] < 0) continue;
                const EdgeGradient<real> e = edge_vjp(s, pairs.weight[k], pairs.edge[k], g, at, axis);
                if (range.owns(e.a)) gradient[3 * e.a] += e.ax, gradient[3 * e.a + 1] += e.ay;
                if (range.owns(e.b)) gradient[3 * e.b] += e.bx, gradient[3 * e.b + 1] += e.by;
            }
    });
}

template void antialias(const Outlined<float>&, const Pairs<float>&, float*, Launch);
template void antialias(const Outlined<double>&, const Pairs<double>&, double*, Launch);
template void antialias_vjp(const Outlined<float>&, const Pairs<float>&, const float*, float*, float*, Launch);
template void antialias_vjp(const Outlined<double>&, const Pairs<double>&, const double*, double*, double*, Launch);

}  // namespace dreamkit::DREAMKIT_VARIANT
