// Loops of volume rendering on the GPU: a thread for each ray.
#include "../composite_ray.h"
#include "launch.h"

namespace dreamkit::cuda {

template <class real>
void composite(const Samples<real>& samples, const Gathered<real>& gathered, Launch launch) {
    const Samples<real> s = samples;
    const Gathered<real> out = gathered;
    for_each(s.rays, launch, [=] __device__(int64_t ray) { composite_ray(s, out, ray); });
}

template <class real>
void composite_vjp(const Samples<real>& samples, const real* weights, const real* after,
                   const Cotangents<real>& cotangents, real* density, real* values, Launch launch) {
    const Samples<real> s = samples;
    const Cotangents<real> g = cotangents;
    for_each(s.rays, launch,
             [=] __device__(int64_t ray) { composite_ray_vjp(s, weights, after, g, density, values, ray); });
}

template void composite(const Samples<float>&, const Gathered<float>&, Launch);
template void composite(const Samples<double>&, const Gathered<double>&, Launch);
template void composite_vjp(const Samples<float>&, const float*, const float*, const Cotangents<float>&, float*,
                            float*, Launch);
template void composite_vjp(const Samples<double>&, const double*, const double*, const Cotangents<double>&, double*,
                            double*, Launch);

}  // namespace dreamkit::cuda
