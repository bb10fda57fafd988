// Bindings of `interpolate` in dreamkit/ops/rasterize.py.
#include "bindings.h"
#include "interpolate_loops.h"

namespace dreamkit {
namespace {

template <class real>
Interpolation<real> interpolation(const Array& attribute, const Array& faces, const Array& triangle,
                                  const Array& barycentric) {
    return {data<real>(attribute),
            data<int64_t>(faces),
            data<int64_t>(triangle),
            data<real>(barycentric),
            static_cast<int64_t>(attribute.shape(0)),
            static_cast<int64_t>(attribute.shape(1)),
            static_cast<int64_t>(triangle.size())};
}

void interpolate(const Array& attribute, const Array& faces, const Array& triangle, const Array& barycentric,
                 const Array& out, int threads, uintptr_t stream) {
    dispatch<InterpolateLoops>(attribute, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.interpolate(interpolation<real>(attribute, faces, triangle, barycentric), data<real>(out),
                          {threads, stream});
    });
}

void interpolate_vjp(const Array& attribute, const Array& faces, const Array& triangle, const Array& barycentric,
                     const Array& cotangent, const Array& of_attribute, const Array& of_barycentric, int threads,
                     uintptr_t stream) {
    dispatch<InterpolateLoops>(attribute, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.interpolate_vjp(interpolation<real>(attribute, faces, triangle, barycentric), data<real>(cotangent),
                              data<real>(of_attribute), data<real>(of_barycentric), {threads, stream});
    });
}

}  // namespace

void bind_interpolate(nb::module_& module) {
    module.def("interpolate", &interpolate, "attribute"_a.noconvert(), "faces"_a.noconvert(), "triangle"_a.noconvert(),
               "barycentric"_a.noconvert(), "out"_a.noconvert(), "threads"_a, "stream"_a);
    module.def("interpolate_vjp", &interpolate_vjp, "attribute"_a.noconvert(), "faces"_a.noconvert(),
               "triangle"_a.noconvert(), "barycentric"_a.noconvert(), "cotangent"_a.noconvert(),
               "of_attribute"_a.noconvert(), "of_barycentric"_a.noconvert(), "threads"_a, "stream"_a);
}

}  // namespace dreamkit
