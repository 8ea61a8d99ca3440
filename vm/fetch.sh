#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Fetches a Debian kernel and builds the initramfs that boots it. Prints the folder with both.

set -euo pipefail

vm=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(dirname "$vm")
build=${HF_BUILD:-$repository/build}

# What the initramfs must load before it can reach the host's files; the rest comes from there.
boot_modules=(virtio_pci virtio_rng virtiofs overlay)
boot_applets=(sh mount mkdir insmod switch_root poweroff cat)

usage() {
	cat <<-END
	usage: vm/fetch.sh [--update] KERNEL

	Fetches the newest Debian package of kernel series KERNEL (6.1, 6.12) into build/vm/KERNEL with
	apt-get download and dpkg -x: nothing is installed but the tools that are missing. A kernel that
	is there already is kept; --update asks for a newer one.

	Prints the folder: release, boot/vmlinuz-RELEASE, lib/modules/RELEASE, initramfs.cpio.
	HF_BUILD=FOLDER stands for another folder than build.
	END
}

say() { echo "vm/fetch.sh: $*" >&2; }
die() { say "$*"; exit 125; }

apt() { apt-get -qq -o APT::Sandbox::User=root -o DPkg::Lock::Timeout=120 "$@" >&2; }

need_tools() {
	local missing=()

	[[ -x $(command -v qemu-system-x86_64) && -x /usr/lib/qemu/virtiofsd ]] || missing+=(qemu-system-x86 qemu-system-common)
	# busybox itself may be there and linked dynamically, which an initramfs cannot run.
	[[ $(dpkg-query -W -f '${db:Status-Status}' busybox-static 2>/dev/null) == installed ]] || missing+=(busybox-static)
	[[ -x $(command -v depmod) ]] || missing+=(kmod)
	[[ -x $(command -v cpio) ]] || missing+=(cpio)
	[[ -x $(command -v xz) ]] || missing+=(xz-utils)
	[[ ${#missing[@]} -eq 0 ]] && return

	[[ $EUID -eq 0 ]] || die "missing packages: ${missing[*]} (root would install them)"
	say "installing ${missing[*]}"
	apt update || say "apt-get update failed; going on with what is known"
	DEBIAN_FRONTEND=noninteractive apt -y --no-install-recommends install "${missing[@]}" \
		|| die "cannot install ${missing[*]}"
}

# The generic flavour: netem, WireGuard and others are missing from the cloud kernels.
newest_package() {
	apt-cache pkgnames "linux-image-$kernel." \
		| { grep -E "^linux-image-${kernel//./\\.}\.[0-9]+(-[0-9]+|\+deb12[a-z0-9]*)-amd64\$" || true; } \
		| sort -V | tail -n 1
}

fetch_kernel() {
	local package release

	package=$(newest_package)
	if [[ -z $package || -n $update ]]; then
		apt update || die "apt-get update failed"
		package=$(newest_package)
	fi
	[[ -n $package ]] || die "apt offers no generic kernel $kernel of Debian 12"
	if [[ -r $folder/release && linux-image-$(<"$folder/release") == "$package" ]]; then
		return
	fi

	say "fetching $package"
	(cd "$scratch" && apt download "$package") \
		|| { apt update && (cd "$scratch" && apt download "$package"); } \
		|| die "cannot download $package"
	mkdir "$scratch/kernel"
	dpkg -x "$scratch"/*.deb "$scratch/kernel"
	rm "$scratch"/*.deb

	rm -rf "$scratch/kernel/usr"
	release=${package#linux-image-}
	[[ -r $scratch/kernel/boot/vmlinuz-$release ]] || die "$package has no boot/vmlinuz-$release"
	# The package's own postinst would have done this.
	depmod -b "$scratch/kernel" "$release"
	echo "$release" >"$scratch/kernel/release"
	rm -rf "$folder"
	mv "$scratch/kernel" "$folder"
}

build_initramfs() {
	local release root=$scratch/initramfs module file name number=100

	release=$(<"$folder/release")
	mkdir -p "$root"/{bin,dev,proc,sys,modules,run,lower,rw,new}
	cp /bin/busybox "$root/bin/busybox"
	for name in "${boot_applets[@]}"; do
		ln -s busybox "$root/bin/$name"
	done
	install -m 755 "$vm/init.sh" "$root/init"

	# Dependencies first, each once; built-in modules have no file.
	for module in "${boot_modules[@]}"; do
		modprobe -d "$folder" -S "$release" --show-depends "$module"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$scratch/modules"
	while read -r file; do
		name=$(basename "$file")
		number=$((number + 1))
		if [[ $name == *.xz ]]; then
			xz -dc "$file" >"$root/modules/$number-${name%.xz}"
		else
			cp "$file" "$root/modules/$number-$name"
		fi
	done <"$scratch/modules"

	# Not compressed: unpacking costs more under emulation than copying.
	(cd "$root" && find . -print0 | sort -z | cpio -0 -o -H newc --quiet) >"$scratch/initramfs.cpio"
	mv "$scratch/initramfs.cpio" "$folder/initramfs.cpio"
}

kernel='' update=''
while [[ $# -gt 0 ]]; do
	case $1 in
	--help) usage; exit 0 ;;
	--update) update=1 ;;
	-*) die "unknown option $1 (--help)" ;;
	*) [[ -z $kernel ]] || die "one kernel at a time (--help)"; kernel=$1 ;;
	esac
	shift
done
[[ $kernel =~ ^[0-9]+\.[0-9]+$ ]] || die "a kernel series is needed, such as 6.1 (--help)"

need_tools
mkdir -p "$build/vm"
folder=$build/vm/$kernel

# One at a time; whoever waited finds it done.
exec 9>"$build/vm/$kernel.lock"
flock 9
scratch=$(mktemp -d "$build/vm/.fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

if [[ ! -r $folder/release || -n $update ]]; then
	fetch_kernel
fi
if [[ ! -r $folder/initramfs.cpio || $vm/init.sh -nt $folder/initramfs.cpio || $vm/fetch.sh -nt $folder/initramfs.cpio ]]; then
	build_initramfs
fi
echo "$folder"
