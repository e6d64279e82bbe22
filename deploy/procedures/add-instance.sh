#!/usr/bin/env bash
# One instance more: Compose's backend3, or one more process of `manage.py serve` (until its next start: --instances).
# If it is to stay, list it in Prometheus' targets/flotilla.json: no alert tells about an instance that is not listed.
# shellcheck source=where.sh
source "$(dirname "$0")/where.sh"

if [ "$ON" = serve ]; then
  needs_serve
  before=$(serving)
  kill -TTIN "$SERVE_PID"
  more() { [ "$(serving)" -gt "$before" ]; }
  wait_until more
else
  docker compose --profile third up -d --no-deps --wait backend3
fi
