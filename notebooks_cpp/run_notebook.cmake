# Runs a notebook's program and weaves what it left into OUT.html and OUT.ipynb, which name the cell
# that failed, if one did; then this fails too.
# Takes PROGRAM, WEAVER, NOTEBOOK (its source) and OUT.
get_filename_component(_folder "${OUT}" DIRECTORY)
file(MAKE_DIRECTORY "${_folder}")
file(REMOVE "${OUT}.records")
execute_process(COMMAND "${PROGRAM}" "${OUT}.records" RESULT_VARIABLE _ended)
execute_process(COMMAND "${WEAVER}" pages "${NOTEBOOK}" "${OUT}.records" "${_ended}" "${OUT}"
  RESULT_VARIABLE _woven)
file(REMOVE_RECURSE "${OUT}.records" "${OUT}.records.folder")
if(NOT _ended STREQUAL "0" OR NOT _woven STREQUAL "0")
  message(FATAL_ERROR "the notebook failed: program ${_ended}, weaver ${_woven}")
endif()
