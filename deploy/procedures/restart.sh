#!/usr/bin/env bash
# Every instance is started again, one after the other: with new code, settings or secrets. Clients move, and miss nothing.
# shellcheck source=where.sh
source "$(dirname "$0")/where.sh"

restart_instances
