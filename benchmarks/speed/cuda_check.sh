#!/bin/sh
# Compiles the CUDA loops to objects for Ampere and Hopper; needs nvcc but no GPU, and runs nothing.
#   benchmarks/speed/cuda_check.sh [OUTPUT_DIRECTORY]
set -eu
cd "$(dirname "$0")/../.."
nvcc=${NVCC:-nvcc}
command -v "$nvcc" >/dev/null || { echo "cuda-check: no nvcc on the path; install the CUDA toolkit or set NVCC" >&2; exit 1; }
out=${1:-build/cuda_check}
mkdir -p "$out"
for source in kernels/cuda/*.cu; do
    "$nvcc" -std=c++17 -O3 --fmad=false --extended-lambda -DDREAMKIT_WITH_CUDA -Xcompiler -fPIC \
        -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=[sm_90,compute_90] \
        -c "$source" -o "$out/$(basename "$source" .cu).o"
    echo "cuda-check: $source compiles"
done
