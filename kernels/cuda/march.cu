// Loops of ray marching on the GPU: a thread counts the samples of a ray, or writes them.
#include "../march_loops.h"
#include "launch.h"

namespace dreamkit::cuda {

template <class real>
void march_count(const Marching<real>& marching, int64_t* count, Launch launch) {
    const Marching<real> m = marching;
    for_each(m.rays, launch, [=] __device__(int64_t ray) {
        int64_t samples = 0;
        each_sample(m, ray, [&](real) { ++samples; });
        count[ray] = samples;
    });
}

template <class real>
void march_fill(const Marching<real>& marching, const int64_t* offsets, int64_t* ray_of, real* distance_of,
                Launch launch) {
    const Marching<real> m = marching;
    for_each(m.rays, launch, [=] __device__(int64_t ray) {
        int64_t at = offsets[ray];
        if (at == offsets[ray + 1]) return;
        each_sample(m, ray, [&](real distance) {
            ray_of[at] = ray;
            distance_of[at++] = distance;
        });
    });
}

template void march_count(const Marching<float>&, int64_t*, Launch);
template void march_count(const Marching<double>&, int64_t*, Launch);
template void march_fill(const Marching<float>&, const int64_t*, int64_t*, float*, Launch);
template void march_fill(const Marching<double>&, const int64_t*, int64_t*, double*, Launch);

}  // namespace dreamkit::cuda
