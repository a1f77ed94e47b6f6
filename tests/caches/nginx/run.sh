#!/bin/sh
. "$(dirname "$0")/../env.sh"
need_nginx_purge
run_nginx "$here/nginx.conf.in"
