# Sourced by the scripts that need a running server.

# free_port: a port of 127.0.0.1 that was free a moment ago
free_port() {
  node --eval "
    const server = require('node:net').createServer().listen(0, '127.0.0.1', () => {
      console.log(server.address().port)
      server.close()
    })"
}

# start_server LOG COMMAND...: starts it in the background, its id is in $server_pid
start_server() {
  local log="$1"
  shift
  "$@" >"$log" 2>&1 &
  server_pid=$!
}

# await_url LOG URL: waits up to a minute until the url answers 200, else shows the log
await_url() {
  local log="$1" url="$2"
  for _ in $(seq 300); do
    if ! kill -0 "$server_pid" 2>/dev/null; then break; fi
    if curl --silent --fail --output /dev/null "$url"; then return 0; fi
    sleep 0.2
  done
  echo "$url does not answer; the end of the server's log:"
  tail --lines=50 "$log"
  return 1
}

# stop_server: ends the server of start_server and waits for its end
stop_server() {
  if [ -n "${server_pid:-}" ]; then
    kill "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
    server_pid=
  fi
}
