#!/bin/sh
. "$(dirname "$0")/../env.sh"
need nginx
[ -e /usr/lib/nginx/modules/ngx_http_cache_purge_module.so ] || { echo "skip: libnginx-mod-http-cache-purge is not installed" >&2; exit 77; }
render "$here/nginx.conf.in" "$RUN_DIR/nginx.conf"
# master + worker in the foreground; SIGTERM to this PID stops both. (After SIGKILL
# of the master the worker would live on: always stop it with SIGTERM.)
exec nginx -p /usr/share/nginx -e "$RUN_DIR/error.log" -c "$RUN_DIR/nginx.conf" -g "daemon off;"
