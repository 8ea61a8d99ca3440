#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# The guest's first process (busybox): builds the root file system and hands over to vm/guest.sh.
#
#   /                  overlay: the host's / (virtiofs, read-only) below a tmpfs
#   REPOSITORY         the host's, and its build folder if that is elsewhere (virtiofs, read-write), at the same paths
#   /run/holdfast-vm   a folder of vm/run.sh (virtiofs, read-write): what to run, output, status

export PATH=/bin

fail() {
	echo "init: $* failed"
	poweroff -f
}

mount -t devtmpfs dev /dev || fail "mount /dev"
mount -t proc proc /proc || fail "mount /proc"
mount -t sysfs sys /sys || fail "mount /sys"

for module in /modules/*.ko; do
	insmod "$module" || fail "insmod $module"
done

mount -t virtiofs run /run || fail "mount the folder of this run"
repository=$(cat /run/repository)
build=$(cat /run/build)
kernel=$(cat /run/kernel)

mount -t virtiofs -o ro root /lower || fail "mount the host's files"
mount -t tmpfs -o mode=755 rw /rw || fail "mount the upper layer"
mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work root /new || fail "mount the overlay"

mkdir -p /new/usr/lib/modules
mount --bind "/lower$kernel/lib/modules" /new/usr/lib/modules || fail "mount the modules"
mount --move /dev /new/dev || fail "move /dev"
mount --move /proc /new/proc || fail "move /proc"
mount --move /sys /new/sys || fail "move /sys"
mount -t tmpfs -o mode=1777 tmp /new/tmp || fail "mount /tmp"
mount -t tmpfs -o mode=755 run /new/run || fail "mount /run"
# After /tmp and /run: the repository may be below one of them.
mkdir -p "/new$repository"
mount -t virtiofs repository "/new$repository" || fail "mount the repository"
case $build in
"$repository"/*) ;;
*)
	mkdir -p "/new$build"
	mount -t virtiofs build "/new$build" || fail "mount the build folder"
	;;
esac

mkdir /new/run/holdfast-vm
mount --move /run /new/run/holdfast-vm || fail "move the folder of this run"

exec switch_root /new /bin/bash "$repository/vm/guest.sh" boot /run/holdfast-vm
