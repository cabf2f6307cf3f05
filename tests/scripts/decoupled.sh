#!/usr/bin/env bash
# decoupled.sh PROGRAM SCRIPT: every method of scripts/decoupled goes through all of its stages, at its least size.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/scripts"
cp "$2" "$folder/scripts/decoupled" # it works beside the folder it lies in
for method in sre2l cda lpld rded cv-dd infer; do
  if ! RETORT=$1 "$folder/scripts/decoupled" "$method" shapes XS > "$folder/log" 2>&1; then
    cat "$folder/log"
    exit 1
  fi
  # Students on the set, on its classes alone and on random images, and what each stage took.
  for row in "$method.h5 " 'hard labels ' 'random ' 'recover ' 'relabel ' 'evaluate '; do
    grep -q "$row.*[0-9]" "$folder/log" || { cat "$folder/log"; echo "$method: no row '$row'"; exit 1; }
  done
  [ -s "$folder/runs/decoupled/shapes-XS/$method.json" ]
done
