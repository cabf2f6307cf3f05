# Protocols and presets that are compiled into the program; one line per file.
set(RETORT_PROTOCOL_FILES
)
set(RETORT_PRESET_FILES
)
