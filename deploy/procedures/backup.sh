#!/usr/bin/env bash
# backup.sh FILE: what must not be lost, the database and the secrets, into one file, while everything runs.
file=$(realpath -m "${1:?the file to write}")
# shellcheck source=where.sh
source "$(dirname "$0")/where.sh"

umask 077
manage backup - >"$file.part" && mv "$file.part" "$file"
