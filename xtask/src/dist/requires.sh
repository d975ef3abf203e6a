#!/bin/sh
# What programs for another machine need, in rpm's words: cargo-generate-rpm asks ldd, which cannot run them and then says
# nothing. Paths come on standard input, one a line; what is no program needs nothing.
while read -r file || [ -n "$file" ]; do
    readelf --wide --section-headers --dynamic --version-info "$file" 2>/dev/null
done | awk '
    / \.gnu\.hash / { print "rtld(GNU_HASH)" }
    /\(NEEDED\)/ { gsub(/[][]/, "", $NF); print $NF "()(64bit)" }
    /^Version / { needs = /^Version needs/ }
    needs {
        for (i = 1; i < NF; i++) {
            if ($i == "File:") file = $(i + 1)
            if ($i == "Name:") print file "(" $(i + 1) ")(64bit)"
        }
    }' | LC_ALL=C sort -u
