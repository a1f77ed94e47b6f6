#!/bin/sh
# As nginx, but it injects a script into pages, as some CDNs do.
. "$(dirname "$0")/../env.sh"
need_nginx_purge
inject="sub_filter '</title>' '</title><script src=\"/injected.js\"></script>'; sub_filter_types text/plain;"
sed "s|add_header X-Cache|$inject\n      &|" "$here/../nginx/nginx.conf.in" > "$RUN_DIR/nginx.conf.in"
run_nginx "$RUN_DIR/nginx.conf.in"
