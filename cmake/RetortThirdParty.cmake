# One imported target per third-party library, headers as SYSTEM.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(nlohmann_json 3.11 REQUIRED)
set(Boost_USE_STATIC_LIBS ON)
find_package(Boost 1.74 REQUIRED COMPONENTS program_options)

# pkg-config rather than FindHDF5, which stops when the project lacks the language C.
pkg_check_modules(RETORT_HDF5 REQUIRED IMPORTED_TARGET GLOBAL hdf5-serial)
add_library(retort::hdf5 ALIAS PkgConfig::RETORT_HDF5)

# Only core, imgproc and imgcodecs. Debian ships OpenCVConfig.cmake with libopencv-dev alone, which
# brings 150 more packages, so the plain headers and libraries are accepted too.
add_library(retort::opencv INTERFACE IMPORTED GLOBAL)
find_package(OpenCV QUIET COMPONENTS core imgproc imgcodecs)
if(OpenCV_FOUND)
  target_include_directories(retort::opencv SYSTEM INTERFACE ${OpenCV_INCLUDE_DIRS})
  target_link_libraries(retort::opencv INTERFACE ${OpenCV_LIBS})
else()
  find_path(RETORT_OPENCV_INCLUDE opencv2/core.hpp PATH_SUFFIXES opencv4 REQUIRED)
  target_include_directories(retort::opencv SYSTEM INTERFACE "${RETORT_OPENCV_INCLUDE}")
  foreach(_name core imgproc imgcodecs)
    find_library(RETORT_OPENCV_${_name} NAMES opencv_${_name} REQUIRED)
    mark_as_advanced(RETORT_OPENCV_${_name})
    target_link_libraries(retort::opencv INTERFACE "${RETORT_OPENCV_${_name}}")
  endforeach()
endif()
