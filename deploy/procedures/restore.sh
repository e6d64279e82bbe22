#!/usr/bin/env bash
# restore.sh FILE: puts back what backup.sh wrote. No instance may run meanwhile: Compose's are stopped and started again;
# stop `manage.py serve` before, and start it after.
file=$(realpath "${1:?the file to read}")
# shellcheck source=where.sh
source "$(dirname "$0")/where.sh"

if [ "$ON" = serve ]; then
  manage restore "$file"
else
  mapfile -t running < <(instances)
  if ((${#running[@]})); then docker compose stop "${running[@]}"; fi
  status=0
  manage restore - <"$file" || status=$?
  # Also when it was refused: then what was there is there.
  docker compose up -d --wait "${running[@]}"
  exit "$status"
fi
