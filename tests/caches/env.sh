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
need_nginx_purge() {
  need nginx
  [ -e /usr/lib/nginx/modules/ngx_http_cache_purge_module.so ] || { echo "skip: libnginx-mod-http-cache-purge is not installed" >&2; exit 77; }
}
# run_nginx TEMPLATE: master + worker in the foreground; SIGTERM to this PID stops both. (After SIGKILL
# of the master the worker would live on: always stop it with SIGTERM.)
run_nginx() {
  render "$1" "$RUN_DIR/nginx.conf"
  exec nginx -p /usr/share/nginx -e "$RUN_DIR/error.log" -c "$RUN_DIR/nginx.conf" -g "daemon off;"
}
# run_varnish TEMPLATE.
# -j none: no user switch (works as root and not as root); -n: own work directory;
# -T none: no management port; -F: foreground. Needs a C compiler: VCL is compiled.
run_varnish() {
  render "$1" "$RUN_DIR/default.vcl"
  exec varnishd -F -j none -n "$RUN_DIR/varnish" -a "${CACHE_ADDRESS:-127.0.0.1}:$CACHE_PORT" -T none \
    -f "$RUN_DIR/default.vcl" -s malloc,32m -p feature=+http2 -p vcc_allow_inline_c=off
}
