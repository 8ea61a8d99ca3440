#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Installs what mk/packages lists and this machine lacks. Services that come with
# a package (nginx, ssh) are not started: while the packages are installed,
# policy-rc.d says no, unless the machine has a policy of its own.
set -euo pipefail

list=$(dirname "$0")/packages
policy=/usr/sbin/policy-rc.d

missing=()
while read -r package; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$status" = installed ] || missing+=("$package")
done < <(grep -v -e '^#' -e '^$' "$list")

if [ ${#missing[@]} -eq 0 ]; then
	echo "deps: nothing is missing"
	exit 0
fi
echo "deps: missing: ${missing[*]}"
if [ "$(id -u)" -ne 0 ]; then
	echo "deps: run as root: apt-get install ${missing[*]}" >&2
	exit 1
fi

if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
install() {
	apt-get -o DPkg::Lock::Timeout=120 -qq -y --no-install-recommends install "${missing[@]}" \
		</dev/null
}

# The lists may be absent or old; a mirror may be busy.
echo "deps: apt-get update"
for try in 1 2 3; do
	apt-get -o DPkg::Lock::Timeout=120 -qq update </dev/null && break
	[ "$try" = 3 ] || sleep $((try * 5))
done
echo "deps: apt-get install ${missing[*]}"
for try in 1 2 3; do
	install >/dev/null && break
	[ "$try" != 3 ] || exit 1
	sleep $((try * 5))
done

# Nor do these start at the next boot: the tests run instances of their own.
for package in "${missing[@]}"; do
	case $package in
	redis-server | keepalived | conntrackd | bird2) ;;
	*) continue ;;
	esac
	dpkg -L "$package" | sed -n 's|.*/systemd/system/\([^/@]*\.service\)$|\1|p' |
		xargs -r systemctl disable >/dev/null 2>&1 ||
		echo "deps: the service of $package could not be disabled"
done
echo "deps: installed"
