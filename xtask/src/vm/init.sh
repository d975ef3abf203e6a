#!/usr/bin/busybox sh
# The only program that the emulated machine starts. What it says between the marks is read by `report.rs`.
B=/usr/bin/busybox
export PATH=/usr/sbin:/usr/bin HOME=/root
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
$B mkdir -p /dev/shm
$B ln -s /proc/self/fd /dev/fd
# One that is not empty holds what was built below it: nothing may cover that.
for folder in /dev/shm /tmp /var/tmp /run; do
    [ -n "$($B ls -A $folder)" ] || $B mount -t tmpfs tmp $folder
done
$B chmod 1777 /dev/shm /tmp /var/tmp
$B mount -t cgroup2 cgroup /sys/fs/cgroup
$B mount -t bpf bpf /sys/fs/bpf
$B ip link set lo up
echo "@@ kernel $($B uname -r)"
echo "@@ check"
detector check 2>&1 | $B cat
echo "@@ tests"
export DETECTOR_BIN=/usr/bin/detector DETECTOR_STAND_IN=/usr/bin/stand-in DETECTOR_REQUIRE_KERNEL_TESTS=1
cd /tmp
kernel-tests --test-threads=1 @FILTERS@ 2>&1 | $B cat
echo "@@ end"
$B poweroff -f
