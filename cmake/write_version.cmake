# Run at build time: writes retort_version.h when version or revision changed.
execute_process(
  COMMAND git describe --always --dirty --exclude "*"
  WORKING_DIRECTORY "${SOURCE_DIR}"
  OUTPUT_VARIABLE _revision OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
file(CONFIGURE OUTPUT "${OUTPUT}" CONTENT
"#pragma once
#define RETORT_VERSION \"${VERSION}\"
#define RETORT_REVISION \"${_revision}\"
")
