# Finds LibTorch inside the PyPI wheel and defines the target retort::torch (libtorch_cpu + libc10 only).
#
# Looked for in this order: -DRETORT_TORCH_ROOT=<dir with include/ and lib/>, the folder that
# scripts/setup fills (.deps/python/torch), and a torch package visible to Python.
set(RETORT_TORCH_VERSION 2.11)

if(NOT RETORT_TORCH_ROOT)
  if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/.deps/python/torch/lib")
    set(_root "${CMAKE_CURRENT_SOURCE_DIR}/.deps/python/torch")
  else()
    find_package(Python3 COMPONENTS Interpreter)
    if(Python3_FOUND)
      execute_process(
        COMMAND ${Python3_EXECUTABLE} -c
          "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
        OUTPUT_VARIABLE _root OUTPUT_STRIP_TRAILING_WHITESPACE)
    endif()
  endif()
  if(NOT _root)
    message(FATAL_ERROR "LibTorch was not found. Run scripts/setup, or pass -DRETORT_TORCH_ROOT=<dir with include/ and lib/>.")
  endif()
  set(RETORT_TORCH_ROOT "${_root}" CACHE PATH "Directory with include/ and lib/ of LibTorch")
endif()

set(_version_header "${RETORT_TORCH_ROOT}/include/torch/headeronly/version.h")
if(NOT EXISTS "${_version_header}")
  message(FATAL_ERROR "RETORT_TORCH_ROOT='${RETORT_TORCH_ROOT}' holds no LibTorch: ${_version_header} is missing.")
endif()
file(STRINGS "${_version_header}" _version_lines REGEX "TORCH_VERSION_(MAJOR|MINOR) ")
string(REGEX REPLACE ".*TORCH_VERSION_MAJOR ([0-9]+).*TORCH_VERSION_MINOR ([0-9]+).*" "\\1.\\2" _found "${_version_lines}")
if(NOT _found VERSION_EQUAL RETORT_TORCH_VERSION)
  message(FATAL_ERROR "Retort is built against LibTorch ${RETORT_TORCH_VERSION}, found ${_found} in ${RETORT_TORCH_ROOT}.")
endif()

foreach(_name c10 torch_cpu)
  find_library(RETORT_LIB_${_name} NAMES ${_name} PATHS "${RETORT_TORCH_ROOT}/lib" NO_DEFAULT_PATH REQUIRED)
  mark_as_advanced(RETORT_LIB_${_name})
  add_library(retort::${_name} SHARED IMPORTED GLOBAL)
  set_target_properties(retort::${_name} PROPERTIES IMPORTED_LOCATION "${RETORT_LIB_${_name}}")
endforeach()

add_library(retort::torch INTERFACE IMPORTED GLOBAL)
target_include_directories(retort::torch SYSTEM INTERFACE
  "${RETORT_TORCH_ROOT}/include" "${RETORT_TORCH_ROOT}/include/torch/csrc/api/include")
target_link_libraries(retort::torch INTERFACE retort::torch_cpu retort::c10)
message(STATUS "LibTorch ${_found}: ${RETORT_TORCH_ROOT}")
