#!/bin/sh
# etcd_fixture.sh start|stop DIR: an etcd for the tests, with its data below DIR.
# DIR/endpoint and DIR/pid tell of it. ETCD and ETCDCTL name other programs.
set -u
action=${1:-} dir=${2:-}
: "${ETCD:=etcd}" "${ETCDCTL:=etcdctl}"

if [ -z "$dir" ]; then
  echo "usage: $0 start|stop DIR" >&2
  exit 2
fi

# Is the process in DIR/pid still the etcd that was started here?
is_ours() {
  [ -r "$dir/pid" ] && pid=$(cat "$dir/pid") && [ -n "$pid" ] && [ -r "/proc/$pid/cmdline" ] &&
    tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF -- "$dir/data"
}

stop() {
  if is_ours; then
    kill -9 "$pid" 2>/dev/null
    tries=0
    while is_ours && [ $tries -lt 500 ]; do
      tries=$((tries + 1))
      sleep 0.02
    done
  fi
  rm -rf "$dir"
}

# Ports below those that the kernel gives to clients.
free_port() {
  while :; do
    port=$(od -An -N2 -tu2 /dev/urandom)
    port=$((port % 12000 + 20000))
    hex=$(printf ':%04X ' "$port")
    [ "$port" != "${1:-}" ] && ! cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q "$hex" && break
  done
  echo "$port"
}

# watch_over RUN PID: ends etcd when the run of the tests ends without having
# stopped it. A later run may have started another one meanwhile.
watch_over() {
  while is_ours && [ "$pid" = "$2" ]; do
    if ! kill -0 "$1" 2>/dev/null; then
      stop
      return
    fi
    sleep 1
  done
}

start() {
  stop # what an aborted run left behind
  mkdir -p "$dir" || exit 1
  if ! command -v "$ETCD" >/dev/null || ! command -v "$ETCDCTL" >/dev/null; then
    echo "etcd and etcdctl are needed: $ETCD or $ETCDCTL is not there" >&2
    exit 1
  fi
  fsync=--unsafe-no-fsync attempt=0
  while [ $attempt -lt 20 ]; do
    attempt=$((attempt + 1))
    client=$(free_port)
    endpoint=http://127.0.0.1:$client peer=http://127.0.0.1:$(free_port "$client")
    rm -rf "$dir/data"
    "$ETCD" --name tests --data-dir "$dir/data" \
      --listen-client-urls "$endpoint" --advertise-client-urls "$endpoint" \
      --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
      --initial-cluster "tests=$peer" --log-level error $fsync \
      >"$dir/log" 2>&1 </dev/null &
    pid=$!
    echo $pid >"$dir/pid"
    deadline=$(($(date +%s) + 60))
    while kill -0 $pid 2>/dev/null; do
      if "$ETCDCTL" --endpoints="$endpoint" --command-timeout=1s endpoint health \
        >/dev/null 2>&1; then
        echo "$endpoint" >"$dir/endpoint"
        echo "etcd listens at $endpoint"
        # Not in the caller's pipe, which would stay open.
        { exec >/dev/null 2>&1 </dev/null; watch_over "$PPID" "$pid"; } &
        exit 0
      fi
      if [ "$(date +%s)" -gt $deadline ]; then
        kill -9 $pid
        echo "etcd at $endpoint does not get healthy:" >&2
        cat "$dir/log" >&2
        exit 1
      fi
      sleep 0.05
    done
    if grep -q 'unsafe-no-fsync' "$dir/log"; then
      fsync= # a version that does not know it
    elif ! grep -q 'address already in use' "$dir/log"; then
      break
    fi
  done
  echo "etcd does not start:" >&2
  cat "$dir/log" >&2
  exit 1
}

case $action in
  start | stop) $action ;;
  *)
    echo "usage: $0 start|stop DIR" >&2
    exit 2
    ;;
esac
