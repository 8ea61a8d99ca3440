# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# bash completion of holdfast(8) and holdfastd(8). Needs nothing but bash.
# shellcheck shell=bash

_holdfast_interfaces() {
	local d
	for d in /sys/class/net/*; do
		[ -e "$d" ] && echo "${d##*/}"
	done
}

# Daemons that run: their sockets. The folder is the one that the line names, if it names one.
_holdfast_instances() {
	local s dir=/run/holdfast i
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--run-dir | -r)
			dir=${COMP_WORDS[i + 1]}
			[ "$dir" = = ] && dir=${COMP_WORDS[i + 2]}
			;;
		--run-dir=*) dir=${COMP_WORDS[i]#*=} ;;
		esac
	done
	for s in "$dir"/*.sock; do
		[ -S "$s" ] || continue
		s=${s##*/}
		echo "${s%.sock}"
	done
}

_holdfast_configurations() {
	local f
	for f in /etc/holdfast/*.conf; do
		[ -e "$f" ] || continue
		f=${f##*/}
		echo "${f%.conf}"
	done
}

# What is pinned, with a daemon or without
_holdfast_pinned() {
	local d
	for d in /sys/fs/bpf/holdfast/v*/*/; do
		[ -d "$d" ] || continue
		d=${d%/}
		echo "${d##*/}"
	done
}

_holdfast_words() {
	local w
	while read -r w; do
		COMPREPLY+=("$w")
	done < <(compgen -W "$1" -- "$2")
}

_holdfast_files() {
	local w
	while read -r w; do
		COMPREPLY+=("$w")
	done < <(compgen "$1" -- "$2")
	compopt -o filenames 2>/dev/null
}

_holdfast_value() { # option current: 1 if the option takes no value
	case $1 in
	--name | -n) _holdfast_words "$(_holdfast_instances) $(_holdfast_pinned)" "$2" ;;
	--run-dir | -r) _holdfast_files -d "$2" ;;
	--to | -t)
		# of "up" it is a time
		[ "$3" != switch ] || _holdfast_words "$(_holdfast_interfaces)" "$2"
		;;
	--mode | -m) _holdfast_words "auto tc xdp generic" "$2" ;;
	--timeout | --wait | -w | --limit | -l | --assoc) ;;
	-a) [ "$3" = switch ] || return 1 ;;
	*) return 1 ;;
	esac
}

_holdfast() {
	local verbs="up down status assocs paths flows switch monitor genkey attach detach takeover demo"
	local common="--json --name --run-dir --help" own="" verb cur prev
	cur=${COMP_WORDS[COMP_CWORD]}
	prev=${COMP_WORDS[COMP_CWORD - 1]}
	COMPREPLY=()

	if [ "$COMP_CWORD" -eq 1 ]; then
		_holdfast_words "$verbs help --help --version" "$cur"
		return
	fi
	verb=${COMP_WORDS[1]}
	# "--mode=x" comes as three words
	if [ "$cur" = = ]; then
		cur=""
	elif [ "$prev" = = ]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	_holdfast_value "$prev" "$cur" "$verb" && return

	case $verb in
	up) own="--timeout --verbose" ;;
	down) own="--keep" ;;
	flows) own="--limit" ;;
	switch) own="--to --break --assoc --wait" ;;
	takeover) own="--to" ;;
	attach) own="--mode" ;;
	detach) own="--all" ;;
	esac
	if [[ $cur == -* ]]; then
		_holdfast_words "$own $common" "$cur"
		return
	fi
	case $verb in
	up)
		_holdfast_words "$(_holdfast_configurations)" "$cur"
		_holdfast_files -f "$cur"
		;;
	down | status | assocs | paths | switch | monitor) _holdfast_words "$(_holdfast_instances)" "$cur" ;;
	flows) _holdfast_words "$(_holdfast_instances) $(_holdfast_pinned)" "$cur" ;;
	takeover)
		[ "$COMP_CWORD" -gt 2 ] || _holdfast_words "status connections drain take alone" "$cur"
		_holdfast_words "$(_holdfast_instances)" "$cur"
		;;
	genkey) _holdfast_files -f "$cur" ;;
	attach | detach) _holdfast_words "$(_holdfast_interfaces)" "$cur" ;;
	esac
}

_holdfastd() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	COMPREPLY=()
	case $prev in
	--run-dir | -r)
		_holdfast_files -d "$cur"
		return
		;;
	--name | -n | --ready-fd) return ;;
	esac
	if [[ $cur == -* ]]; then
		_holdfast_words "--name --run-dir --test --verbose --ready-fd --help --version" "$cur"
	else
		_holdfast_words "$(_holdfast_configurations)" "$cur"
		_holdfast_files -f "$cur"
	fi
}

complete -F _holdfast holdfast
complete -F _holdfastd holdfastd
