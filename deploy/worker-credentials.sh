#!/bin/sh
# Make the client NAME, with role worker, and keep its credentials in FILE, readable by its owner
# only. The control plane is asked as `tpctl` finds it. Where FILE is already there, do nothing.
# A client whose file was lost gets a new secret: workers with the old one are refused from then on.
set -eu
name=${1:?usage: worker-credentials NAME [FILE]}
file=${2:-/etc/taskplane/credentials.toml}

if [ -s "$file" ]; then
    exit 0
fi
umask 077
created=0
answer=$(tpctl client create "$name" --role worker -o json) || created=$?
case $created in
0) ;;
4) answer=$(tpctl client rotate "$name" -o json) ;; # There is one of this name.
*) exit "$created" ;;
esac
# A JSON string is a TOML basic string. The secret never stands on a command line.
printf '%s' "$answer" | python3 -c '
import json, sys
found = json.load(sys.stdin)
for name in ("client_id", "client_secret"):
    print(name, "=", json.dumps(found[name]))
' >"$file.new"
mv "$file.new" "$file"
