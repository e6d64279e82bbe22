#!/usr/bin/env bash
# One instance fewer: Compose's backend3, or the last process of `manage.py serve`. It drains: its clients move, and miss
# nothing. First take it out of Prometheus' targets/flotilla.json: the alert readiness_down would ask for it.
# shellcheck source=where.sh
source "$(dirname "$0")/where.sh"

if [ "$ON" = serve ]; then
  needs_serve
  before=$(instances | wc -l)
  [ "$before" -gt 1 ] || fail "this is the only instance: it stays"
  kill -TTOU "$SERVE_PID"
  fewer() { [ "$(instances | wc -l)" -lt "$before" ] && [ "$(serving)" -gt 0 ]; }
  wait_until fewer
else
  docker compose --profile third rm --stop --force backend3
fi
