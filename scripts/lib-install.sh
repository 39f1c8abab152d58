# Debian's packages for their programs alone: their own servers are not started. Sourced.

readonly POLICY=/usr/sbin/policy-rc.d

as_root() { if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi; }

# FOLDER keeps a mark for as long as the policy is ours to remove.
install_packages() { # FOLDER PACKAGE…
    local folder=$1
    shift
    # Whoever starts a service asks this file first; 101 is no.
    if [[ ! -e $POLICY ]]; then
        touch "$folder/policy"
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
        as_root chmod 755 "$POLICY"
    fi
    local status=0
    {
        as_root apt-get update -q &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy \
                --no-install-recommends -o DPkg::Lock::Timeout=600 "$@"
    } >&2 || status=$?
    drop_policy "$folder"
    return "$status"
}

drop_policy() { # FOLDER
    [[ -e $1/policy ]] || return 0
    as_root rm -f "$POLICY"
    rm -f "$1/policy"
}
