# Sourced by every run.sh. Contract of run.sh:
#   in : CACHE_PORT, ORIGIN_PORT, RUN_DIR (an empty scratch folder); for Varnish CACHE_ADDRESS as well
#   out: exec's the cache in the foreground, so the PID of run.sh IS the cache's PID.
#        Exit status 77: the cache is not installed.
#        Stop it with SIGTERM to that PID and wait for it. Listens on loopback only, 127.0.0.1 unless told otherwise.
set -eu
: "${CACHE_PORT:?set CACHE_PORT}" "${ORIGIN_PORT:?set ORIGIN_PORT}" "${RUN_DIR:?set RUN_DIR}"
PATH="$PATH:/usr/sbin:/sbin"; export PATH
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$RUN_DIR"; RUN_DIR=$(cd "$RUN_DIR" && pwd)
export CACHE_PORT ORIGIN_PORT RUN_DIR
need() { command -v "$1" >/dev/null 2>&1 || { echo "skip: $1 is not installed" >&2; exit 77; }; }
# render TEMPLATE OUT: replaces @NAME@ marks by the environment's values
render() {
  sed -e "s|@CACHE_PORT@|$CACHE_PORT|g" -e "s|@ORIGIN_PORT@|$ORIGIN_PORT|g" \
      -e "s|@RUN_DIR@|$RUN_DIR|g" -e "s|@USER@|$(id -un)|g" -e "s|@GROUP@|$(id -gn)|g" "$1" > "$2"
}
