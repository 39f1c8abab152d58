# What scripts/up and scripts/down share. Sourced, with the repository as the working folder.

run=$PWD/target/run
services=(campaign-api scheduler segment-evaluator sms-dispatcher email-dispatcher billing)

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

control() { supervisorctl -c "$run/supervisord.conf" "$@"; }

is_up() {
    [ -f "$run/supervisord.pid" ] && kill -0 "$(cat "$run/supervisord.pid")" 2>/dev/null &&
        control pid >/dev/null 2>&1
}

# How many replicas a service has: EMAIL_DISPATCHERS=3, and 1 unless set.
replicas() {
    local name=${1//-/_}
    local variable=${name^^}S
    [ "$1" = billing ] && variable=BILLINGS
    local count=${!variable:-1}
    [[ $count =~ ^[1-9][0-9]?$ ]] || fail "$variable: '$count' is no number of replicas; give 1 to 99"
    printf '%s' "$count"
}

upper() { local name=${1//-/_}; printf '%s' "${name^^}"; }

# Ports on the loopback that nobody listens on, each handed out once.
next_port=${FIRST_PORT:-17070}
is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_port() {
    while is_taken "$next_port"; do next_port=$((next_port + 1)); done
    port=$next_port
    next_port=$((next_port + 1))
}

# The first line of the answer to an HTTP request.
ask() {
    local line=
    { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
    printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3
    read -t 5 -r line <&3 || true
    exec 3>&-
    printf '%s' "$line"
}

# Asks again until a command succeeds, for two minutes at most.
await() {
    local what=$1
    shift
    for _ in $(seq 600); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.2
    done
    fail "$what did not come up within two minutes; see the logs in $run"
}

random_hex() { od -An -tx1 -N"$1" /dev/urandom | tr -d ' \n'; }

# Makes a secret on first use, for its owner's eyes alone.
secret() {
    [ -s "$run/secrets/$1" ] || (umask 077 && printf '%s\n' "$2" >"$run/secrets/$1")
    cat "$run/secrets/$1"
}
