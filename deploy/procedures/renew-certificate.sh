#!/usr/bin/env bash
# Renewed certificates, once their .pem files are in the folder TLS_CERTIFICATES: HAProxy takes them over while it runs, and
# no connection ends. A file that was not there before takes a restart: `docker compose restart haproxy`.
# ON=serve: HAProxy on this machine, which was given the same folder, and HAPROXY_ADMIN=/path/of/a/socket.
# shellcheck source=where.sh
source "$(dirname "$0")/where.sh"

if [ "$ON" = serve ]; then
  folder=${TLS_CERTIFICATES:?the folder with the .pem files}
  there() { "$@"; }
  haproxy() {
    "$PYTHON" -c 'import socket, sys
with socket.socket(socket.AF_UNIX) as admin:
    admin.connect(sys.argv[1])
    admin.sendall(sys.stdin.buffer.read())
    print(admin.makefile().read())' "${HAPROXY_ADMIN:?}"
  }
else
  folder=/etc/flotilla/tls # as HAProxy's container sees it; only .env may know where it is here
  there() { docker compose exec -T haproxy "$@" </dev/null; }
  haproxy() { docker compose exec -T haproxy nc 127.0.0.1 8405; }
fi

found=$(there find -H "$folder" -maxdepth 1 -name '*.pem')
[ -n "$found" ] || fail "no .pem file in $folder"
mapfile -t files <<<"$found"
for pem in "${files[@]}"; do
  # An empty line would end what is handed over.
  content=$(there grep -v '^[[:space:]]*$' "$pem")
  answer=$(printf 'set ssl cert %s <<\n%s\n\n' "$pem" "$content" | haproxy)
  [[ $answer == *"Transaction "* ]] || fail "$pem: $answer"
  answer=$(echo "commit ssl cert $pem" | haproxy)
  [[ $answer == *"Success"* ]] || fail "$pem: $answer"
  say "$pem is in use"
done
