#!/usr/bin/env bash
# rotate-secret.sh NAME begin|end: another secret_key, token_secret or api_keys, and nobody is refused meanwhile.
#
# `begin` makes a new one, has it accepted everywhere and then used; the old one goes on being accepted. `end` ends that:
# when all tokens of the old one have expired, sessions have been renewed (or may end), callers have the new API key.
# Where `begin` was interrupted before the switch, it is repeated; after it, `restart.sh` does the rest.
# For secrets in files, as Compose has them. Those of a secret store take the same steps there, with a restart after each.
# shellcheck source=where.sh
source "$(dirname "$0")/where.sh"

name=${1:?secret_key, token_secret or api_keys}
case ${2:-} in
  begin)
    manage rotate_secret "$name" add
    restart_instances
    manage rotate_secret "$name" switch
    # API keys are all accepted alike: which is the first means nothing to an instance.
    if [ "$name" != api_keys ]; then restart_instances; fi
    ;;
  end)
    manage rotate_secret "$name" drop
    restart_instances
    ;;
  *) fail "begin, or end?" ;;
esac
