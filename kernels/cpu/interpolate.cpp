// Loops of interpolation on the processor: pixels are shared out, and so are the attribute's rows in its gradient.
#include "../interpolate_loops.h"

#include "owned.h"

namespace dreamkit::DREAMKIT_VARIANT {

template <class real>
void interpolate(const Interpolation<real>& s, real* out, Launch launch) {
#pragma omp parallel for schedule(static) num_threads(launch.threads)
    for (int64_t pixel = 0; pixel < s.pixels; ++pixel) interpolate_at(s, pixel, out + pixel * s.channels);
}

// `attribute` arrives filled with zeros.
template <class real>
void interpolate_vjp(const Interpolation<real>& s, const real* g, real* attribute, real* barycentric, Launch launch) {
#pragma omp parallel for schedule(static) num_threads(launch.threads)
    for (int64_t pixel = 0; pixel < s.pixels; ++pixel)
        barycentric_vjp(s, pixel, g + pixel * s.channels, barycentric + 3 * pixel);
    each_owned(1, s.values, launch.threads, [&](int64_t, Range range) {
        for (int64_t pixel = 0; pixel < s.pixels; ++pixel) {
            if (s.triangle[pixel] < 0) continue;
            for (int i = 0; i < 3; ++i) {
                const int64_t row = s.faces[3 * s.triangle[pixel] + i];
                const real b = s.barycentric[3 * pixel + i];
                if (!range.owns(row)) continue;
                for (int64_t c = 0; c < s.channels; ++c) attribute[row * s.channels + c] += b * g[pixel * s.channels + c];
            }
        }
    });
}

template void interpolate(const Interpolation<float>&, float*, Launch);
template void interpolate(const Interpolation<double>&, double*, Launch);
template void interpolate_vjp(const Interpolation<float>&, const float*, float*, float*, Launch);
template void interpolate_vjp(const Interpolation<double>&, const double*, double*, double*, Launch);

}  // namespace dreamkit::DREAMKIT_VARIANT
