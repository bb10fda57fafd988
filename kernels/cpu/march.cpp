// Loops of ray marching on the processor: count the samples of each ray, then write them.
#include "../march_loops.h"

namespace dreamkit::DREAMKIT_VARIANT {

template <class real>
void march_count(const Marching<real>& m, int64_t* count, Launch launch) {
    // Rays that miss the object are nearly free and come in runs: small dynamic pieces balance them.
#pragma omp parallel for schedule(dynamic, 64) num_threads(launch.threads)
    for (int64_t ray = 0; ray < m.rays; ++ray) {
        int64_t samples = 0;
        each_sample(m, ray, [&](real) { ++samples; });
        count[ray] = samples;
    }
}

template <class real>
void march_fill(const Marching<real>& m, const int64_t* offsets, int64_t* ray_of, real* distance_of, Launch launch) {
#pragma omp parallel for schedule(dynamic, 64) num_threads(launch.threads)
    for (int64_t ray = 0; ray < m.rays; ++ray) {
        int64_t at = offsets[ray];
        if (at == offsets[ray + 1]) continue;
        each_sample(m, ray, [&](real distance) {
            ray_of[at] = ray;
            distance_of[at++] = distance;
        });
    }
}

template void march_count(const Marching<float>&, int64_t*, Launch);
template void march_count(const Marching<double>&, int64_t*, Launch);
template void march_fill(const Marching<float>&, const int64_t*, int64_t*, float*, Launch);
template void march_fill(const Marching<double>&, const int64_t*, int64_t*, double*, Launch);

}  // namespace dreamkit::DREAMKIT_VARIANT
