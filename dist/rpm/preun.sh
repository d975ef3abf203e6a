# $1: how many versions stay. Not for an upgrade.
if [ "$1" -eq 0 ]; then
    if [ -d /run/systemd/system ]; then
        systemctl disable --now detector.service || :
    else
        systemctl disable detector.service || :
    fi
fi
