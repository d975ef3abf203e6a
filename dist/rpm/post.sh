# The service's user, folders that are its own, and the service itself. $1: how many versions are installed now.
set -e
if ! getent passwd detector >/dev/null; then
    useradd --system --user-group --no-create-home --home-dir /var/lib/detector \
        --shell /sbin/nologin --comment 'detector daemon' detector
fi
# Secrets of receivers lie here: readable by the service, writable by root alone.
install -d -o root -g detector -m 0750 /etc/detector
# The memory of the host holds command lines.
install -d -o detector -g detector -m 0700 /var/lib/detector
install -d -o detector -g detector -m 0750 /var/log/detector
if [ "$1" -eq 1 ]; then
    systemctl enable detector.service || :
fi
# Not where an image is made. Events that wait and incidents that are open are in the state, which the new version takes up.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    if [ "$1" -eq 1 ]; then
        systemctl start detector.service || :
    else
        systemctl try-restart detector.service || :
    fi
fi
