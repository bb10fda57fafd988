// What the bindings of all ops share. Tensors arrive as DLPack, so that no torch is needed at build time.
// Shapes and types are checked in dreamkit/ops; here only what would make a pointer mean something else.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <optional>
#include <stdexcept>

#include "loops.h"

namespace dreamkit {

namespace nb = nanobind;
using namespace nb::literals;

using Array = nb::ndarray<nb::c_contig>;
using Optional = std::optional<Array>;

template <class value>
value* data(const Array& array) {
    if (array.dtype() != nb::dtype<value>()) throw std::invalid_argument("dreamkit._kernels: unexpected tensor type");
    return static_cast<value*>(array.data());
}

template <class value>
value* data(const Optional& array) {
    return array ? data<value>(*array) : nullptr;
}

inline bool has_avx2() {
#if defined(DREAMKIT_WITH_AVX2)
    static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return has;
#else
    return false;
#endif
}

// Loops of the op whose table is `Loops`; its header OP_loops.h declares the `fill` that the argument's type finds.
template <template <class> class Loops, class real>
Loops<real> loops_for(int device) {
    Loops<real> loops;
    if (device == nb::device::cuda::value) {
#if defined(DREAMKIT_WITH_CUDA)
        fill(loops, cuda::Variant{});
        return loops;
#else
        throw std::invalid_argument("dreamkit._kernels: built without CUDA");
#endif
    }
    if (device != nb::device::cpu::value) throw std::invalid_argument("dreamkit._kernels: unknown device");
#if defined(DREAMKIT_WITH_AVX2)
    if (has_avx2()) {
        fill(loops, avx2::Variant{});
        return loops;
    }
#endif
    fill(loops, baseline::Variant{});
    return loops;
}

// Runs `body(real{}, loops)` for the type of `like` on its device, without Python's lock.
template <template <class> class Loops, class Body>
void dispatch(const Array& like, Body body) {
    const nb::gil_scoped_release unlocked;
    const int device = like.device_type();
    if (like.dtype() == nb::dtype<float>()) body(float{}, loops_for<Loops, float>(device));
    else if (like.dtype() == nb::dtype<double>()) body(double{}, loops_for<Loops, double>(device));
    else throw std::invalid_argument("dreamkit._kernels: expected float32 or float64 tensors");
}

// One function an op, in its bind_OP.cpp.
void bind_hash_encode(nb::module_& module);
void bind_march(nb::module_& module);
void bind_composite(nb::module_& module);
void bind_rasterize(nb::module_& module);
void bind_interpolate(nb::module_& module);
void bind_antialias(nb::module_& module);
void bind_texture(nb::module_& module);

}  // namespace dreamkit
