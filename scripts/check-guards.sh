#!/bin/sh
# Every exported function in DIR/*.rs goes through the guard (no panic and no
# inherited handle passes it), except those that cannot panic: they return a
# static or stored text or number, or give memory back.
set -eu
dir=$1
unguarded="hmkv_status_name hmkv_strerror hmkv_errmsg hmkv_version hmkv_free
hmkv_result_status hmkv_result_error hmkv_result_free"

awk -v unguarded="$unguarded" '
    BEGIN { split(unguarded, list, /[ \n]+/); for (i in list) exempt[list[i]] = 1 }
    /^pub (unsafe )?extern "C" fn hmkv_/ {
        name = $0
        sub(/.* fn /, "", name)
        sub(/[^a-z0-9_].*/, "", name)
        exports++
        open = 1
        guarded = 0
    }
    open && /guard::/ { guarded = 1 }
    open && /^}/ {
        open = 0
        if (!guarded && !(name in exempt)) {
            printf "%s: %s is not guarded\n", FILENAME, name
            bad = 1
        }
    }
    # Whatever is exported must be seen by the rule above.
    /^#\[(unsafe\()?no_mangle/ { marks++ }
    END {
        if (!exports || exports != marks) {
            printf "check-guards: %d functions, %d marked no_mangle\n", exports, marks
            bad = 1
        }
        exit bad
    }
' "$dir"/*.rs
