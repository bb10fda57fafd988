// How the CUDA loops are started: one thread for each item, on the caller's stream.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "../loops.h"

namespace dreamkit::cuda {

constexpr int kThreads = 256;

template <class Body>
__global__ void run(int64_t items, Body body) {
    const int64_t item = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (item < items) body(item);
}

// Calls body(item) for each item. Asynchronous; an error of the launch itself is thrown here, one inside the kernel
// surfaces at torch's next synchronisation.
template <class Body>
void for_each(int64_t items, Launch launch, Body body) {
    if (items == 0) return;
    const int64_t blocks = (items + kThreads - 1) / kThreads;
    if (blocks > 2147483647) throw std::invalid_argument("dreamkit._kernels: too many items for one CUDA launch");
    run<<<static_cast<unsigned>(blocks), kThreads, 0, reinterpret_cast<cudaStream_t>(launch.stream)>>>(items, body);
    const cudaError_t status = cudaGetLastError();
    if (status != cudaSuccess)
        throw std::runtime_error(std::string("dreamkit._kernels: CUDA launch failed: ") + cudaGetErrorString(status));
}

}  // namespace dreamkit::cuda
