#!/bin/sh
# Make this container answer for the lower half of the sandbox's network, where its instances are, and give up root.
set -eu
network=${NIGHTREEL_SANDBOX_NETWORK:?"a /16 such as 10.77.0.0/16"}
prefix=${network%.0.0/16}
[ "$prefix.0.0/16" = "$network" ] || { echo "NIGHTREEL_SANDBOX_NETWORK is $network; choose a /16 such as 10.77.0.0/16" >&2; exit 1; }
ip route replace local "$prefix.0.0/17" dev lo
exec setpriv --reuid sandbox --regid sandbox --init-groups --inh-caps=-all --bounding-set=-all --no-new-privs "$@"
