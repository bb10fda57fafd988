// Loops of volume rendering on the processor: each ray is one thread's.
#include "../composite_ray.h"

namespace dreamkit::DREAMKIT_VARIANT {

template <class real>
void composite(const Samples<real>& s, const Gathered<real>& out, Launch launch) {
#pragma omp parallel for schedule(dynamic, 64) num_threads(launch.threads)
    for (int64_t ray = 0; ray < s.rays; ++ray) composite_ray(s, out, ray);
}

template <class real>
void composite_vjp(const Samples<real>& s, const real* weights, const real* after, const Cotangents<real>& g,
                   real* density, real* values, Launch launch) {
#pragma omp parallel for schedule(dynamic, 64) num_threads(launch.threads)
    for (int64_t ray = 0; ray < s.rays; ++ray) composite_ray_vjp(s, weights, after, g, density, values, ray);
}

template void composite(const Samples<float>&, const Gathered<float>&, Launch);
template void composite(const Samples<double>&, const Gathered<double>&, Launch);
template void composite_vjp(const Samples<float>&, const float*, const float*, const Cotangents<float>&, float*,
                            float*, Launch);
template void composite_vjp(const Samples<double>&, const double*, const double*, const Cotangents<double>&, double*,
                            double*, Launch);

}  // namespace dreamkit::DREAMKIT_VARIANT
