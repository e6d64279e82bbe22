#!/usr/bin/env bash
# Renewed certificates, once their .pem files are in the folder TLS_CERTIFICATES: HAProxy takes them over while it runs, and
# no connection ends. A file that was not there before takes a restart: `docker compose restart haproxy`.
# ON=serve: HAProxy on this machine, which was given the same folder, and HAPROXY_ADMIN=/path/of/a/socket.
# shellcheck source=where.sh
source "$(dirname "$0")/where.sh"

folder=${TLS_CERTIFICATES:?the folder with the .pem files}
if [ "$ON" = serve ]; then
  there=$folder
  haproxy() {
    "$PYTHON" -c 'import socket, sys
with socket.socket(socket.AF_UNIX) as admin:
    admin.connect(sys.argv[1])
    admin.sendall(sys.stdin.buffer.read())
    print(admin.makefile().read())' "${HAPROXY_ADMIN:?}"
  }
else
  there=/etc/flotilla/tls
  haproxy() { docker compose exec -T haproxy nc 127.0.0.1 8405; }
fi

for pem in "$folder"/*.pem; do
  name=$there/$(basename "$pem")
  # An empty line would end what is handed over.
  answer=$(printf 'set ssl cert %s <<\n%s\n\n' "$name" "$(grep -v '^[[:space:]]*$' "$pem")" | haproxy)
  [[ $answer == *"Transaction "* ]] || fail "$name: $answer"
  answer=$(echo "commit ssl cert $name" | haproxy)
  [[ $answer == *"Success"* ]] || fail "$name: $answer"
  say "$name is in use"
done
