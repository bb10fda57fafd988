// Loops of texture look-ups on the processor: samples are shared out, and so are the texels in their gradient.
#include "../texture_loops.h"

#include "owned.h"

namespace dreamkit::DREAMKIT_VARIANT {

template <class real>
void texture(const Texture<real>& s, real* out, Launch launch) {
#pragma omp parallel for schedule(static) num_threads(launch.threads)
    for (int64_t sample = 0; sample < s.samples; ++sample) sample_at(s, sample, out + sample * s.channels);
}

// `texels` arrives filled with zeros.
template <class real>
void texture_vjp(const Texture<real>& s, const real* g, real* texels, real* uv, Launch launch) {
#pragma omp parallel for schedule(static) num_threads(launch.threads)
    for (int64_t sample = 0; sample < s.samples; ++sample) uv_vjp(s, sample, g + sample * s.channels, uv + 2 * sample);
    each_owned(1, s.texel_count, launch.threads, [&](int64_t, Range range) {
        for (int64_t sample = 0; sample < s.samples; ++sample)
            each_level(s, sample, [&](const Quad<real>& q, real share) {
                for (int i = 0; i < 4; ++i) {
                    if (!range.owns(q.index[i])) continue;
                    const real w = share * q.weight(i);
                    for (int64_t c = 0; c < s.channels; ++c)
                        texels[q.index[i] * s.channels + c] += w * g[sample * s.channels + c];
                }
            });
    });
}

template void texture(const Texture<float>&, float*, Launch);
template void texture(const Texture<double>&, double*, Launch);
template void texture_vjp(const Texture<float>&, const float*, float*, float*, Launch);
template void texture_vjp(const Texture<double>&, const double*, double*, double*, Launch);

}  // namespace dreamkit::DREAMKIT_VARIANT
