# Sourced by the scripts of this folder, each of which is one S3 server of the tests.
#
# Such a script defines `launch` and ends with `main NAME "$@"`. `launch` finds an empty
# $folder, starts its daemons by `start_daemon`, and sets the following three.
#
# In the folder: `server` (its name, which marks the folder as ours to remove), `url`,
# `pid/*` (one daemon each: process id and start time), `log/*`, and what the server keeps.

# Both keys as a URL writes them.
access_key=
secret_key=
port=

here="$(dirname "$(realpath "${BASH_SOURCE[0]}")")"

# free_ports COUNT: as many ports of 127.0.0.1 that were free a moment ago, on one line
free_ports() {
  node --eval '
    const net = require("node:net")
    const servers = Array.from({ length: Number(process.argv[1]) }, () => net.createServer())
    const listening = servers.map((server) =>
      new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port))))
    Promise.all(listening).then((ports) => {
      console.log(ports.join(" "))
      for (const server of servers) server.close()
    })' "$1"
}

random_hex() { od --address-radix=n --format=x1 --read-bytes="$1" /dev/urandom | tr --delete ' \n'; }

# started_at PID: when it started, in ticks since boot; nothing when it is gone or a zombie.
# With the id it names a process for good, whereas an id alone is given out again.
started_at() {
  local stat fields
  stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 0
  # The second field, the name in parentheses, may hold spaces.
  read -r -a fields <<<"${stat##*) }"
  if [ "${fields[0]}" != Z ]; then echo "${fields[19]}"; fi
}

# run_logged NAME COMMAND...: runs it to its end, with a log
run_logged() {
  local name="$1"
  shift
  "$@" >>"$folder/log/$name.log" 2>&1
}

# start_daemon NAME COMMAND...: starts it in a session of its own, with a log and a pid file
start_daemon() {
  local daemon="$1" pid
  shift
  setsid "$@" </dev/null >>"$folder/log/$daemon.log" 2>&1 3>&- &
  pid=$!
  disown "$pid"
  echo "$pid $(started_at "$pid")" >"$folder/pid/$daemon"
}

# is_running PIDFILE
is_running() {
  local pid started
  read -r pid started <"$1" || return 1
  [ -n "$started" ] && [ "$(started_at "$pid")" = "$started" ]
}

# all_running: every daemon that was started still runs; names the first that does not
all_running() {
  local file
  for file in "$folder"/pid/*; do
    if ! is_running "$file"; then
      echo "$server: ${file##*/} has ended"
      return 1
    fi
  done
}

# Nothing that a server holds is to outlive it, so none gets time to tidy up.
stop_daemons() {
  local file pid
  for file in "$folder"/pid/*; do
    while is_running "$file"; do
      read -r pid _ <"$file"
      # `setsid` makes it the leader of a group, in which its children are too.
      kill -KILL -- "-$pid" 2>/dev/null || true
      sleep 0.05
    done
  done
}

# await_bucket URL: until an object can be put and read; fails early when a daemon ends
await_bucket() {
  local check
  AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED=true node "$here/await-bucket.mjs" "$1" 3>&- &
  check=$!
  while kill -0 "$check" 2>/dev/null; do
    if ! all_running; then
      kill "$check" 2>/dev/null || true
      wait "$check" || true
      return 1
    fi
    sleep 0.1
  done
  wait "$check"
}

# is_ours: the folder was made by this script
is_ours() { [ "$(cat "$folder/server" 2>/dev/null)" = "$server" ]; }

remove_folder() {
  stop_daemons
  rm --recursive --force "$folder"
}

show_logs() {
  local log
  for log in "$folder"/log/*; do
    printf '\n=== the end of %s\n' "$log"
    tail --lines=30 "$log"
  done
}

# The folder stays to be looked at, until the next start or stop.
give_up() {
  stop_daemons
  show_logs
  printf '\n%s did not start; its files are in %s\n' "$server" "$folder"
}

start() {
  if [ -e "$folder/url" ] && is_ours && all_running; then
    await_bucket "$(<"$folder/url")" || {
      show_logs
      exit 1
    }
    cat "$folder/url" >&3
    return
  fi
  if is_ours; then remove_folder; fi
  if [ -n "$(ls --almost-all "$folder" 2>/dev/null)" ]; then
    echo "$folder is not empty, and not a folder of $server"
    exit 1
  fi
  mkdir --parents "$folder/pid" "$folder/log"
  echo "$server" >"$folder/server"
  trap give_up EXIT

  launch
  local url="http://$access_key:$secret_key@127.0.0.1:$port/slipway"
  await_bucket "$url"
  echo "$url" >"$folder/url"

  trap - EXIT
  cat "$folder/url" >&3
}

stop() {
  if [ ! -e "$folder" ]; then return; fi
  if ! is_ours; then
    echo "$folder is not a folder of $server"
    exit 1
  fi
  remove_folder
}

# main NAME start|stop [FOLDER]: the url is all that is written to stdout
main() {
  server="$1"
  local command="${2:-}"
  shopt -s nullglob
  folder="$(realpath --canonicalize-missing "${3:-${TMPDIR:-/tmp}/slipway-s3-$server}")"
  exec 3>&1 1>&2
  case "$command" in
    start) start ;;
    stop) stop ;;
    *)
      echo "usage: scripts/s3/$server start|stop [folder]"
      exit 64
      ;;
  esac
}
