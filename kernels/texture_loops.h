// The table of the loops that read textures.
#pragma once

#include "loops.h"
#include "texture.h"

namespace dreamkit {

template <class real>
struct TextureLoops {
    void (*texture)(const Texture<real>&, real* out, Launch);
    void (*texture_vjp)(const Texture<real>&, const real* cotangent, real* texels, real* uv, Launch);
};

#define DREAMKIT_TEXTURE(variant)                                                                 \
    namespace variant {                                                                           \
    template <class real> void texture(const Texture<real>&, real*, Launch);                      \
    template <class real> void texture_vjp(const Texture<real>&, const real*, real*, real*, Launch); \
    template <class real> void fill(TextureLoops<real>& loops, Variant) {                         \
        loops = {texture<real>, texture_vjp<real>};                                               \
    }                                                                                             \
    }

DREAMKIT_EACH_VARIANT(DREAMKIT_TEXTURE)

}  // namespace dreamkit
