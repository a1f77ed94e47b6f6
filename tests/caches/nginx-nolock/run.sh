#!/bin/sh
# As nginx, but without a lock: fetches of one object run side by side, and the one that ends last wins.
. "$(dirname "$0")/../env.sh"
need_nginx_purge
sed '/proxy_cache_lock/d' "$here/../nginx/nginx.conf.in" > "$RUN_DIR/nginx.conf.in"
run_nginx "$RUN_DIR/nginx.conf.in"
