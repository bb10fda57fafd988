// Loops of texture look-ups on the GPU: a thread for each sample.
#include "../texture_loops.h"
#include "launch.h"

namespace dreamkit::cuda {
namespace {

// The formulas take lambdas, which an extended lambda may not contain; named bodies may.
template <class real>
struct SampleBody {
    Texture<real> s;
    real* out;
    __device__ void operator()(int64_t sample) const { sample_at(s, sample, out + sample * s.channels); }
};

template <class real>
struct SampleGradientBody {
    Texture<real> s;
    const real* g;
    real *texels, *uv;
    __device__ void operator()(int64_t sample) const {
        const real* of_sample = g + sample * s.channels;
        uv_vjp(s, sample, of_sample, uv + 2 * sample);
        each_level(s, sample, [&](const Quad<real>& q, real share) {
            for (int i = 0; i < 4; ++i)
                for (int64_t c = 0; c < s.channels; ++c)
                    atomicAdd(texels + q.index[i] * s.channels + c, share * q.weight(i) * of_sample[c]);
        });
    }
};

}  // namespace

template <class real>
void texture(const Texture<real>& s, real* out, Launch launch) {
    for_each(s.samples, launch, SampleBody<real>{s, out});
}

// `texels` arrives filled with zeros. The order of the additions to one texel is the scheduler's.
template <class real>
void texture_vjp(const Texture<real>& s, const real* g, real* texels, real* uv, Launch launch) {
    for_each(s.samples, launch, SampleGradientBody<real>{s, g, texels, uv});
}

template void texture(const Texture<float>&, float*, Launch);
template void texture(const Texture<double>&, double*, Launch);
template void texture_vjp(const Texture<float>&, const float*, float*, float*, Launch);
template void texture_vjp(const Texture<double>&, const double*, double*, double*, Launch);

}  // namespace dreamkit::cuda
