#!/usr/bin/env bash
# The new version in the place of the running one, once its code is here (`git pull`; for ON=serve its packages, too).
# Migrations are done while the old version serves, so they must suit both.
# shellcheck source=where.sh
source "$(dirname "$0")/where.sh"

if [ "$ON" = compose ]; then docker compose build --quiet; fi
manage prepare >&2
restart_instances
# Whatever else has changed: the balancer, Redis, the monitoring.
if [ "$ON" = compose ]; then docker compose up -d --wait; fi
