// Bindings of dreamkit/ops/texture.py.
#include "bindings.h"
#include "texture_loops.h"

namespace dreamkit {
namespace {

template <class real>
Texture<real> textured(const Array& texels, const Array& levels, const Array& uv, const Optional& level) {
    const auto size = [](const Array& array, int axis) { return static_cast<int64_t>(array.shape(axis)); };
    return {data<real>(texels), data<int64_t>(levels), data<real>(uv),  data<real>(level),
            size(texels, 0),    size(levels, 0),       size(texels, 1), size(uv, 0)};
}

void texture(const Array& texels, const Array& levels, const Array& uv, const Optional& level, const Array& out,
             int threads, uintptr_t stream) {
    dispatch<TextureLoops>(texels, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.texture(textured<real>(texels, levels, uv, level), data<real>(out), {threads, stream});
    });
}

void texture_vjp(const Array& texels, const Array& levels, const Array& uv, const Optional& level,
                 const Array& cotangent, const Array& of_texels, const Array& of_uv, int threads, uintptr_t stream) {
    dispatch<TextureLoops>(texels, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.texture_vjp(textured<real>(texels, levels, uv, level), data<real>(cotangent), data<real>(of_texels),
                          data<real>(of_uv), {threads, stream});
    });
}

}  // namespace

void bind_texture(nb::module_& module) {
    module.def("texture", &texture, "texels"_a.noconvert(), "levels"_a.noconvert(), "uv"_a.noconvert(),
               "level"_a.noconvert().none(), "out"_a.noconvert(), "threads"_a, "stream"_a);
    module.def("texture_vjp", &texture_vjp, "texels"_a.noconvert(), "levels"_a.noconvert(), "uv"_a.noconvert(),
               "level"_a.noconvert().none(), "cotangent"_a.noconvert(), "of_texels"_a.noconvert(),
               "of_uv"_a.noconvert(), "threads"_a, "stream"_a);
}

}  // namespace dreamkit
