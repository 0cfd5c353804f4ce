-- Arguments behind "--": the Accept header, a file with one path to GET a line, and the
-- Authorization header, if any.
-- The requests are made ahead and sent in turn.
local prepared, at = {}, 0

function init(args)
  local headers = { Accept = args[1], Authorization = args[3] }
  for path in io.lines(args[2]) do
    prepared[#prepared + 1] = wrk.format("GET", path, headers)
  end
end

function request()
  at = at % #prepared + 1
  return prepared[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nresult {"requests":%d,"seconds":%f,"p50Ms":%f,"p99Ms":%f,"failed":%d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
