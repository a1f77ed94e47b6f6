#!/bin/sh
# As varnish, but requests do not wait for a fetch of the same object: fetches run side by side, and the one that ends last wins.
. "$(dirname "$0")/../env.sh"
need varnishd
sed 's|^sub vcl_recv {|&\n  set req.hash_ignore_busy = true;|' "$here/../varnish/default.vcl.in" > "$RUN_DIR/default.vcl.in"
run_varnish "$RUN_DIR/default.vcl.in"
