# Sourced by the scripts that need object storages: starts one of scripts/s3 in a folder of its
# own and stops all that were started when the shell ends.

s3_servers=()

# start_s3 SERVER: exports SLIPWAY_TEST_S3; its status is that of the start
start_s3() {
  local server="$1"
  local folder
  folder="$(mktemp --directory --dry-run)"
  s3_servers+=("$server $folder")
  SLIPWAY_TEST_S3="$("scripts/s3/$server" start "$folder")" || return
  export SLIPWAY_TEST_S3
}

stop_s3() {
  local each server folder
  for each in "${s3_servers[@]}"; do
    read -r server folder <<<"$each"
    "scripts/s3/$server" stop "$folder" || true
  done
}
