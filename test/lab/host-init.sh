#!/bin/bash
# host-init.sh NAME SHM_SIZE KEEP - process 1 of a lab host, in fresh UTS, IPC, PID and mount namespaces and in the host's network.
# It gives the host its name, /proc, /sys, /tmp, /dev/shm, /run/lock and /etc/hosts (whose text is in LAB_HOSTS), prints "ready", and
# then only reaps orphans until its input ends, which it does when the test ends. With it ends every process of the host, and with
# the last of them every mount made here.
set -eu
name=$1 shm=$2 keep=$3

hostname "$name"
ip link set lo up

# What a machine has for itself, each host has for itself. Everything else is common, like a cluster's network file system.
mount -t tmpfs -o "mode=1777,size=$shm" shm /dev/shm
mkdir /dev/shm/.cgroup /dev/shm/.keep
mount --rbind /sys/fs/cgroup /dev/shm/.cgroup
mount -t sysfs sysfs /sys                            # shows the devices of the network it is mounted from
mount --move /dev/shm/.cgroup /sys/fs/cgroup
case $keep in /tmp/*) mount --rbind "$keep" /dev/shm/.keep ;; esac
mount -t tmpfs -o mode=1777,size=4g tmp /tmp
case $keep in
  /tmp/*) mkdir -p "$keep"; mount --move /dev/shm/.keep "$keep" ;;
esac
rmdir /dev/shm/.cgroup /dev/shm/.keep
[ ! -d /run/lock ] || mount -t tmpfs -o mode=1777,size=16m lock /run/lock

mount -t tmpfs -o size=1m etc /mnt
printf '%s\n' "$name" >/mnt/hostname
printf '%s' "$LAB_HOSTS" >/mnt/hosts
mount --bind /mnt/hosts /etc/hosts
[ ! -e /etc/hostname ] || mount --bind /mnt/hostname /etc/hostname
umount -l /mnt

trap : HUP INT TERM
echo ready
while read -r _; do :; done
