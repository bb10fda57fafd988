// Loops of interpolation on the GPU: a thread for each pixel.
#include "../interpolate_loops.h"
#include "launch.h"

namespace dreamkit::cuda {

template <class real>
void interpolate(const Interpolation<real>& interpolation, real* out, Launch launch) {
    const Interpolation<real> s = interpolation;
    for_each(s.pixels, launch, [=] __device__(int64_t pixel) { interpolate_at(s, pixel, out + pixel * s.channels); });
}

// `attribute` arrives filled with zeros. The order of the additions to one row is the scheduler's.
template <class real>
void interpolate_vjp(const Interpolation<real>& interpolation, const real* g, real* attribute, real* barycentric,
                     Launch launch) {
    const Interpolation<real> s = interpolation;
    for_each(s.pixels, launch, [=] __device__(int64_t pixel) {
        barycentric_vjp(s, pixel, g + pixel * s.channels, barycentric + 3 * pixel);
        if (s.triangle[pixel] < 0) return;
        for (int i = 0; i < 3; ++i) {
            real* row = attribute + s.channels * s.faces[3 * s.triangle[pixel] + i];
            const real b = s.barycentric[3 * pixel + i];
            for (int64_t c = 0; c < s.channels; ++c) atomicAdd(row + c, b * g[pixel * s.channels + c]);
        }
    });
}

template void interpolate(const Interpolation<float>&, float*, Launch);
template void interpolate(const Interpolation<double>&, double*, Launch);
template void interpolate_vjp(const Interpolation<float>&, const float*, float*, float*, Launch);
template void interpolate_vjp(const Interpolation<double>&, const double*, double*, double*, Launch);

}  // namespace dreamkit::cuda
