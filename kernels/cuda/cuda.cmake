# Adds the CUDA loops to the module, as DREAMKIT_CUDA says.
include(CheckLanguage)

set(wanted ${DREAMKIT_CUDA})
if(wanted STREQUAL "AUTO")
  # A compiler alone is not enough: machines without a GPU would wait minutes for code that they cannot run.
  find_program(nvidia_smi nvidia-smi)
  set(wanted OFF)
  if(nvidia_smi)
    execute_process(COMMAND ${nvidia_smi} -L RESULT_VARIABLE status OUTPUT_VARIABLE gpus ERROR_QUIET)
    check_language(CUDA)
    if(status EQUAL 0 AND gpus MATCHES "GPU" AND CMAKE_CUDA_COMPILER)
      set(wanted ON)
    endif()
  endif()
endif()

if(wanted)
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    # Ampere and Hopper as machine code; the PTX of the latter serves what comes after.
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
  endif()
  enable_language(CUDA)
  set(CMAKE_CUDA_STANDARD 17)
  add_library(loops_cuda OBJECT kernels/cuda/hash_encode.cu kernels/cuda/march.cu kernels/cuda/composite.cu)
  target_compile_definitions(loops_cuda PRIVATE DREAMKIT_WITH_CUDA)
  # --fmad=false: see kernels/portable.h.
  target_compile_options(loops_cuda PRIVATE --fmad=false --extended-lambda)
  set_target_properties(loops_cuda PROPERTIES CUDA_RUNTIME_LIBRARY Static)
  target_compile_definitions(_kernels PRIVATE DREAMKIT_WITH_CUDA)
  target_link_libraries(_kernels PRIVATE loops_cuda)
  set_target_properties(_kernels PROPERTIES CUDA_RUNTIME_LIBRARY Static)
endif()
message(STATUS "dreamkit: CUDA loops ${wanted} (DREAMKIT_CUDA=${DREAMKIT_CUDA})")
