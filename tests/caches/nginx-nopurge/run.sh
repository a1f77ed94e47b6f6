#!/bin/sh
# As nginx, but without the purge module: PURGE goes on to the origin, and what is cached stays.
. "$(dirname "$0")/../env.sh"
need nginx
sed -e '/^load_module/d' -e '/request_method = PURGE/d' -e '/location = \/__purge/,/^    }/d' \
  "$here/../nginx/nginx.conf.in" > "$RUN_DIR/nginx.conf.in"
run_nginx "$RUN_DIR/nginx.conf.in"
