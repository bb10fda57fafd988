// The Python module dreamkit._kernels.
#include "bindings.h"

#include <nanobind/stl/string.h>

#include <string>

namespace dreamkit {
namespace {

std::string description() {
    std::string text = has_avx2() ? "AVX2" : "baseline instructions";
#if defined(_OPENMP)
    text += ", OpenMP";
#else
    text += ", one thread (built without OpenMP)";
#endif
    return text;
}

bool with_cuda() {
#if defined(DREAMKIT_WITH_CUDA)
    return true;
#else
    return false;
#endif
}

}  // namespace
}  // namespace dreamkit

NB_MODULE(_kernels, module) {
    using namespace dreamkit;
    nb::set_leak_warnings(false);  // dreamkit/ops keeps pyramids until the process ends
    module.def("description", &description);
    module.def("with_cuda", &with_cuda);
    bind_hash_encode(module);
    bind_march(module);
    bind_composite(module);
    bind_rasterize(module);
    bind_interpolate(module);
    bind_antialias(module);
    bind_texture(module);
}
