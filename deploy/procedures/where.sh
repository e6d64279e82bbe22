# Read by each procedure: how it is done where the platform runs. Messages go to the standard error.
#
#   ON=compose   (the default) the stack of docker-compose.yml
#   ON=serve     `manage.py serve`; SERVE_PID is its process id (systemctl show --property MainPID --value flotilla),
#                PYTHON its interpreter (.venv/bin/python), and the environment is that of the service
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
ON=${ON:-compose}
PYTHON=${PYTHON:-.venv/bin/python}
WITHIN=${WITHIN:-300} # seconds for whatever is waited for

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

if [ "$ON" = serve ]; then
  manage() { "$PYTHON" manage.py "$@"; }

  needs_serve() { kill -0 "${SERVE_PID:?the process id of \`manage.py serve\`}"; }

  # The processes of the instances.
  instances() { pgrep -P "$SERVE_PID" -f flotilla.realtime.server.daphne; }

  # How many instances of the cluster serve.
  serving() {
    manage instances --json | "$PYTHON" -c \
      'import json, sys; print(sum(not one["draining"] for one in json.load(sys.stdin)["instances"]))'
  }

  # One after the other: each replacement is ready before its predecessor drains.
  restart_instances() {
    needs_serve
    local old pid
    old=$(instances) || fail "process $SERVE_PID has no instances: is it \`manage.py serve\`?"
    kill -HUP "$SERVE_PID"
    for pid in $old; do
      timeout "$WITHIN" tail --pid="$pid" -f /dev/null || fail "process $pid was not replaced: the log of serve says why"
    done
    say "every instance was replaced"
  }
else
  # In a container of its own: no instance has to run for it.
  manage() { docker compose run --rm --no-deps -T setup python manage.py "$@"; }

  # The services of the instances that run.
  instances() { docker compose ps --services | grep '^backend' || true; }

  # One after the other, with what is in .env and in the image now: the next when the one before is healthy.
  restart_instances() {
    local name
    for name in $(instances); do docker compose up -d --no-deps --wait --force-recreate "$name"; done
    say "every instance was replaced"
  }
fi

# wait_until WORDS: until the command succeeds. Each try asks the cluster, which takes its time.
wait_until() {
  local end=$((SECONDS + WITHIN))
  until "$@"; do [ $SECONDS -lt $end ] || fail "not within $WITHIN s: $*"; done
}
