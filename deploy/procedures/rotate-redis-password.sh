#!/usr/bin/env bash
# rotate-redis-password.sh begin|end: the instances' user gets another password at their Redis, and no call fails.
#
# `begin` has the new one accepted beside the old one, writes it into the address, and starts the instances again with it;
# `end` has the old one refused. The address stands in the file REDIS_URL_FILE, or as REDIS_URL in .env. Redis is asked by
# REDIS_CLI (redis-cli), say `redis-cli -h redis --user admin`, with the administrator's password in REDISCLI_AUTH.
# shellcheck source=where.sh
source "$(dirname "$0")/where.sh"

file=${REDIS_URL_FILE:-.env}
pattern='rediss\{0,1\}://[^:@/]*:[^@]*@' # scheme, user, password
found=$(sed -n "s|^\(REDIS_URL=\)\{0,1\}\($pattern\).*|\2|p" "$file")
[ -n "$found" ] || fail "$file has no address with a password: redis://:password@host:6379/0"
credentials=${found#*://}
user=${credentials%%:*}
password=${credentials#*:}
password=${password%@}

redis() { # one command; its words are in nobody's list of processes
  local answer
  answer=$(printf '%s\n' "$*" | ${REDIS_CLI:-redis-cli})
  [ "$answer" = OK ] || fail "Redis: $answer"
}

case ${1:-} in
  begin)
    new=$(openssl rand -hex 32)
    redis ACL SETUSER "${user:-default}" ">$new"
    # In both addresses, where the limits have the same Redis; the file stays its owner's alone.
    changed=$(sed "s|^\([A-Z_]*URL=\)\{0,1\}\(rediss\{0,1\}://$user:\)$password@|\1\2$new@|" "$file")
    printf '%s\n' "$changed" >"$file"
    restart_instances
    ;;
  end)
    redis ACL SETUSER "${user:-default}" resetpass ">$password"
    # For its next start: where its users have a file of their own, ACL SAVE.
    redis CONFIG REWRITE
    ;;
  *) fail "begin, or end?" ;;
esac
