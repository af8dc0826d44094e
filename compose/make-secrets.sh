#!/usr/bin/env bash
# Makes the secrets of compose.yaml, at random, in compose/secrets/ (or in the folder named). What is
# there stays as it is: a database keeps the password that it was made with.
set -euo pipefail
umask 077
folder="${1:-$(dirname "${BASH_SOURCE[0]}")/secrets}"
mkdir -p "$folder"
chmod 700 "$folder"

# The folder keeps others out. Inside a container each file is mounted as it is, and has to be
# readable there for a user that this machine does not know.
write() {
    [[ ! -e "$folder/$1" ]] || return 0
    printf '%s' "$2" >"$folder/$1.new"
    chmod 444 "$folder/$1.new"
    mv "$folder/$1.new" "$folder/$1"
}
random() { od -An -N 24 -tx1 /dev/urandom | tr -d ' \n'; }

write internal_token "$(random)"
write postgres_password "$(random)"
write grafana_password "$(random)"
for name in log order inventory payment shipping; do
    write "${name}_password" "$(random)"
    write "${name}_dsn" "host=$name-db port=5432 dbname=txcoord_$name user=txcoord password=$(<"$folder/${name}_password")"
done
printf 'secrets are in %s\n' "$folder"
