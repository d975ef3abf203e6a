# Configuration, state and the user who owns it stay: rpm has no purge, and they may still answer questions. Folders are not in
# the package's list.
if [ "$1" -eq 0 ]; then
    rmdir /usr/share/doc/detector /usr/share/licenses/detector 2>/dev/null || :
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
fi
