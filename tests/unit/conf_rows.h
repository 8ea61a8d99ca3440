/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is wrong in a configuration, and the sentence it gives. Part of test_conf.c. */
#ifndef HOLDFAST_TEST_CONF_ROWS_H
#define HOLDFAST_TEST_CONF_ROWS_H

/* clang-format off */
/* Eight lines and nine: what a row adds begins with line 9 or 10. "lo" exists everywhere. */
#define MOBILE                                                                                     \
	"[holdfast]\nrole = mobile\nid = laptop\n[anchor home]\nkey = key\npoints = 10.0.0.1\n"    \
	"[uplink lo]\ncost = 1\n"
#define ANCHOR                                                                                     \
	"[holdfast]\nrole = anchor\npoints = 10.3.0.2\npool = 10.77.0.0/24\n[mobile laptop]\n"     \
	"key = key\n[service web]\nserver = 10.9.0.10:80\nemulator = 20080\n"
#define MORE_M        MOBILE "[holdfast]\n" /* the next line is 10 */
#define MORE_A        ANCHOR "[holdfast]\n" /* the next line is 11 */
#define TIMERS        MOBILE "[timers]\n"   /* the next line is 10 */
#define SERVICE       ANCHOR "[service s]\n"

#define X10           "xxxxxxxxxx"
#define NAME_RULE     "1 to 31 letters, digits, '-', '_' or '.'"
#define DURATION_RULE "is no duration such as 500ms, 5s, 10min or 2h"

#define NO_UNICAST "' is not a unicast IPv4 or IPv6 address"
#define NO_PREFIX  "' is not a prefix such as 10.77.0.0/24 or fd77::/64 with no host bits set"
#define OF_ANCHOR   "'points', 'pool', [mobile] and [service] belong to role anchor"
#define OF_MOBILE   "[anchor] and [uplink] sections belong to role mobile"
#define ROLE_ANCHOR "[holdfast]\nrole = anchor\n"
#define ROLE_MOBILE "[holdfast]\nrole = mobile\n"

struct row {
	const char *text;
	int line; /* 0: it is about the file as a whole */
	const char *says;
};

static const struct row wrong_in_holdfast_rows[] = {
	{MORE_M "role = router\n", 10, "role 'router' is none of mobile, anchor, server"},
	{MORE_M "id = a/b\n", 10, "'a/b' is no name: " NAME_RULE},
	{MORE_M "id =\n", 10, "'id' has no value"},
	{MORE_M "id = " X10 X10 X10 "xx\n", 10, "'" X10 X10 X10 "xx' is no name: " NAME_RULE},
	{MORE_M "device = " X10 "xxxxxx\n", 10, "'" X10 "xxxxxx' is longer than 15 characters"},
	{MORE_M "port = 0\n", 10, "port '0' is not a number from 1 to 65535"},
	{MORE_M "port = 65536\n", 10, "port '65536' is not a number from 1 to 65535"},
	{MORE_M "port = -1\n", 10, "port '-1' is not a number from 1 to 65535"},
	{MORE_M "port = 0x10\n", 10, "port '0x10' is not a number from 1 to 65535"},
	{MORE_M "port = http\n", 10, "port 'http' is not a number from 1 to 65535"},
	{MORE_M "port = 99999999999999999999\n", 10,
	 "port '99999999999999999999' is not a number from 1 to 65535"},
	{MORE_M "mode = fast\n", 10, "mode 'fast' is none of auto, tc, xdp, generic"},
	{MORE_M "max-flows = 15\n", 10, "max-flows '15' is not a number from 16 to 16777216"},
	{MORE_M "max-flows = 16777217\n", 10, "max-flows '16777217' is not a number from 16 to 16777216"},
	{MORE_M "max-flows-per-association = all\n", 10,
	 "max-flows-per-association 'all' is not a number from 16 to 16777216"},
	{MORE_M "park-bytes = 0\n", 10, "park-bytes '0' is no size such as 8M"},
	{MORE_M "park-bytes = 8MB\n", 10, "park-bytes '8MB' is no size such as 8M"},
	{MORE_M "park-bytes = 1025G\n", 10, "park-bytes '1025G' is no size such as 8M"},
	{MORE_M "park-total-bytes = much\n", 10, "park-total-bytes 'much' is no size such as 64M"},
	{MORE_M "interfaces = lo, " X10 "xxxxxx\n", 10,
	 "'" X10 "xxxxxx' is longer than an interface's name can be"},
	{MORE_M "interfaces = a b c d e f g h i j k l m n o p q\n", 10, "more than 16 interfaces"},
	{MORE_M "colour = red\n", 10, "unknown key 'colour' in section [holdfast]"},
	{MORE_M "cost = 1\n", 10, "unknown key 'cost' in section [holdfast]"},
	{MORE_M "Port = 1\n", 10, "unknown key 'Port' in section [holdfast]"},
};

static const struct row wrong_addresses_rows[] = {
	{MORE_A "points = 10.0.0.256\n", 11, "'10.0.0.256" NO_UNICAST},
	{MORE_A "points = anchor.example\n", 11, "'anchor.example" NO_UNICAST},
	{MORE_A "points = 10.0.0.1:4690\n", 11, "'10.0.0.1:4690" NO_UNICAST},
	{MORE_A "points = 127.0.0.1\n", 11, "'127.0.0.1" NO_UNICAST},
	{MORE_A "points = ff02::1\n", 11, "'ff02::1" NO_UNICAST},
	{MORE_A "points = fe80::1\n", 11, "'fe80::1" NO_UNICAST},
	{MORE_A "points = 0.0.0.0\n", 11, "'0.0.0.0" NO_UNICAST},
	{MORE_A "points = 10.0.0.1, ::\n", 11, "'::" NO_UNICAST},
	{MORE_A "points = 10.3.0.2\n", 11, "point '10.3.0.2' is named twice"},
	{MORE_A "points = 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.7 10.0.0.8\n" "points = 10.0.0.9 10.0.1.1 10.0.1.2 10.0.1.3 10.0.1.4 10.0.1.5 10.0.1.6 10.0.1.7\n", 12,
	 "more than 16 points"},
	{MOBILE "[anchor b]\npoints = 10.0.0.1 10.0.0.1\n", 10, "point '10.0.0.1' is named twice"},
	{MORE_A "pool = 10.78.0.1/24\n", 11, "pool '10.78.0.1/24" NO_PREFIX},
	{MORE_A "pool = 10.78.0.0/33\n", 11, "pool '10.78.0.0/33" NO_PREFIX},
	{MORE_A "pool = 10.78.0.0/\n", 11, "pool '10.78.0.0/" NO_PREFIX},
	{MORE_A "pool = all\n", 11, "pool 'all" NO_PREFIX},
	{MORE_A "pool = 10.77.0.128/25\n", 11, "pool '10.77.0.128/25' overlaps pool '10.77.0.0/24'"},
	{MORE_A "pool = 10.0.0.0/8\n", 11, "pool '10.0.0.0/8' overlaps pool '10.77.0.0/24'"},
	{MORE_A "pool = 10.77.0.0/24\n", 11, "pool '10.77.0.0/24' overlaps pool '10.77.0.0/24'"},
	{MORE_A "pool = fd77::/64 fd77::/48\n", 11, "pool 'fd77::/48' overlaps pool 'fd77::/64'"},
	{MORE_A "pool = fd01::/64 fd02::/64 fd03::/64 fd04::/64 fd05::/64 fd06::/64 fd07::/64 fd08::/64\n", 11,
	 "more than 8 pools"},
	{MORE_A "points = 10.77.0.5\n", 0, "a point lies inside a pool"},
	{SERVICE "server = 10.77.0.5:80\nemulator = 1\n", 0, "the server of service 's' lies inside a pool"},
	{SERVICE "server = [fd09::10]:80\nemulator = 1\n", 0, "service 's' needs an IPv6 pool"},
};

static const struct row wrong_in_timers_rows[] = {
	{TIMERS "attempts = 0\n", 10, "attempts '0' is not a number from 1 to 100"},
	{TIMERS "attempts = 101\n", 10, "attempts '101' is not a number from 1 to 100"},
	{TIMERS "attempts = 4s\n", 10, "attempts '4s' is not a number from 1 to 100"},
	{TIMERS "timeout = 4s\n", 10, "unknown key 'timeout' in section [timers]"},
	{TIMERS "udp =\n", 10, "'udp' has no value"},
};

static const struct row wrong_in_mobile_rows[] = {
	{ANCHOR "[mobile phone]\naddress = 10.77.0.5\n", 0, "section [mobile phone] names no key file"},
	{ANCHOR "[mobile phone]\nkey = none\n", 0,
	 "key file none does not exist: make one with `(umask 077; holdfast genkey > none)`"},
	{ANCHOR "[mobile phone]\nkey = open\n", 0,
	 "key file open is open to other users (mode 0644): do `chmod 600 open`"},
	{ANCHOR "[mobile phone]\nkey = bad\n", 0,
	 "key file bad holds no key: it must be one line of 44 base64 characters, as `holdfast genkey` prints"},
	{ANCHOR "[mobile phone]\nkey = link\n", 0, "key file link is a symbolic link: name the file itself"},
	{ANCHOR "[mobile phone]\nkey = dir.conf\n", 0, "key file dir.conf is no regular file"},
	{ANCHOR "[mobile phone]\nkey = key\naddress = phone\n", 12,
	 "'phone' is not a unicast IPv4 or IPv6 address"},
	{ANCHOR "[mobile phone]\nkey = key\naddress = 10.78.0.5\n", 0,
	 "the address of mobile 'phone' lies in no pool"},
	{ANCHOR "[mobile a]\nkey = key\naddress = 10.77.0.5\n[mobile b]\nkey = other\naddress = 10.77.0.5\n", 0,
	 "mobiles 'a' and 'b' have the same address"},
	{ANCHOR "[mobile phone]\nid = phone\n", 11, "unknown key 'id' in section [mobile phone]"},
	{ANCHOR "[mobile laptop]\nkey = key\n", 10, "section [mobile laptop] is there twice"},
	{ANCHOR "[mobile a/b]\nkey = key\n", 10, "section [mobile a/b] needs a name: " NAME_RULE},
	{ANCHOR "[mobile " X10 X10 X10 "xx]\nkey = key\n", 10,
	 "section [mobile " X10 X10 X10 "xx] needs a name: " NAME_RULE},
};

static const struct row wrong_in_service_rows[] = {
	{SERVICE "protocol = sctp\n", 11, "protocol 'sctp' is none of tcp, udp, icmp"},
	{SERVICE "server = www.example:80\n", 11,
	 "server 'www.example:80' is not ADDRESS:PORT such as 192.0.2.10:80 or [2001:db8::10]:80"},
	{SERVICE "server = 10.9.0.10:0\n", 11,
	 "server '10.9.0.10:0' is not ADDRESS:PORT such as 192.0.2.10:80 or [2001:db8::10]:80"},
	{SERVICE "server = 10.9.0.10:65536\n", 11,
	 "server '10.9.0.10:65536' is not ADDRESS:PORT such as 192.0.2.10:80 or [2001:db8::10]:80"},
	{SERVICE "server = 224.0.0.1:80\n", 11, "server '224.0.0.1:80' is not a unicast address"},
	{SERVICE "emulator = 1\n", 0, "section [service s] names no server"},
	{SERVICE "server = 10.9.0.11\nemulator = 1\n", 0, "section [service s]: the server needs a port"},
	{SERVICE "protocol = icmp\nserver = 10.9.0.11:80\nemulator = 256\n", 0,
	 "section [service s]: protocol icmp has no port"},
	{SERVICE "server = 10.9.0.10:80\nemulator = 1\n", 0, "services 'web' and 's' name the same server"},
	{SERVICE "emulator = 0\n", 11, "emulator '0' is not a port from 1 to 65535"},
	{SERVICE "emulator = web\n", 11, "emulator 'web' is not a port from 1 to 65535"},
	{SERVICE "server = 10.9.0.11:80\n", 0, "section [service s] names no emulator port"},
	{SERVICE "server = 10.9.0.11:80\nemulator = 20080\n", 0,
	 "services 'web' and 's' have the same emulator 20080"},
	{SERVICE "server = 10.9.0.11:80\nemulator = 4690\n", 0,
	 "section [service s]: emulator 4690 is the control port"},
	{SERVICE "protocol = icmp\nserver = 10.9.0.11\nemulator = 4097\n", 0,
	 "section [service s]: for icmp the emulator is the first of 256 identifiers and must be a multiple of 256"},
	{SERVICE "port = 1\n", 11, "unknown key 'port' in section [service s]"},
	{SERVICE "emulator = 1\n[service web]\nemulator = 2\n", 12, "section [service web] is there twice"},
};

static const struct row wrong_in_anchor_and_uplink_rows[] = {
	{MOBILE "[anchor b]\npoints = 10.0.0.2\n", 0, "section [anchor b] names no key file"},
	{MOBILE "[anchor b]\nkey = key\n", 0, "section [anchor b] names no 'points'"},
	{MOBILE "[anchor b]\nkey = none\npoints = 10.0.0.2\n", 0,
	 "key file none does not exist: make one with `(umask 077; holdfast genkey > none)`"},
	{MOBILE "[anchor b]\nport = 1\n", 10, "unknown key 'port' in section [anchor b]"},
	{MOBILE "[anchor home]\nkey = key\n", 9, "section [anchor home] is there twice"},
	{MOBILE "[uplink wwan9]\ncost = 1\n", 0,
	 "interface 'wwan9' of [uplink wwan9] does not exist; say 'optional = yes' if it may come later"},
	{MOBILE "[uplink " X10 "xxxxxx]\ncost = 1\n", 9,
	 "'" X10 "xxxxxx' is longer than an interface's name can be"},
	{MOBILE "[uplink eth9]\ncost = 1000001\n", 10, "cost '1000001' is not a number from 0 to 1000000"},
	{MOBILE "[uplink eth9]\ncost = -1\n", 10, "cost '-1' is not a number from 0 to 1000000"},
	{MOBILE "[uplink eth9]\noptional = maybe\n", 10, "optional 'maybe' is neither 'yes' nor 'no'"},
	{MOBILE "[uplink eth9]\nmetric = 1\n", 10, "unknown key 'metric' in section [uplink eth9]"},
	{MOBILE "[anchor b]\nkey = key\n[uplink lo]\ncost = 2\n", 11, "section [uplink lo] is there twice"},
};

static const struct row wrong_for_the_role_rows[] = {
	{"", 0, "'role' is missing in [holdfast]: mobile, anchor or server"},
	{"[holdfast]\nid = laptop\n", 0, "'role' is missing in [holdfast]: mobile, anchor or server"},
	{MORE_M "points = 10.0.0.1\n", 0, OF_ANCHOR},
	{MORE_M "pool = 10.77.0.0/24\n", 0, OF_ANCHOR},
	{MOBILE "[mobile m]\nkey = key\n", 0, OF_ANCHOR},
	{MOBILE "[service s]\nemulator = 1\n", 0, OF_ANCHOR},
	{ROLE_MOBILE, 0, "a mobile needs its 'id' in [holdfast], the name of its section at the anchor"},
	{ROLE_MOBILE "id = m\n", 0, "a mobile needs a section [anchor NAME]"},
	{ROLE_MOBILE "id = m\n[anchor a]\nkey = key\n", 0,
	 "a mobile needs a section [uplink INTERFACE] for each interface it may use"},
	{ANCHOR "[anchor a]\nkey = key\n", 0, OF_MOBILE},
	{ANCHOR "[uplink lo]\ncost = 1\n", 0, OF_MOBILE},
	{ROLE_ANCHOR, 0, "an anchor needs 'points', the addresses at which mobiles reach it, in [holdfast]"},
	{ROLE_ANCHOR "points = 10.0.0.1\n", 0,
	 "an anchor needs 'pool', the inner addresses of its mobiles, in [holdfast]"},
	{ROLE_ANCHOR "points = 10.0.0.1\npool = 10.77.0.0/24\n", 0,
	 "an anchor needs a section [mobile ID] for each mobile that may connect"},
	{ROLE_ANCHOR "points = 10.0.0.1\npool = 10.77.0.0/24\n[mobile m]\nkey = key\n", 0,
	 "an anchor needs at least one section [service NAME]"},
};

/* Eleven lines: what a row adds to [node b] is line 12. */
#define SERVER                                                                                     \
	"[holdfast]\nrole = server\nid = a\npoints = 10.6.0.1\n[takeover]\naddress = 10.5.0.100/24\n" \
	"interface = lo\nkey = key\n\n[node b]\naddress = 10.6.0.2\n"
#define TAKEOVER SERVER "[takeover]\n" /* the next line is 13 */
#define ROLE_SERVER "[holdfast]\nrole = server\nid = a\n"

#define REDIS                                                                                      \
	ROLE_SERVER "[takeover]\naddress = 10.5.0.1\ninterface = lo\nstore = redis\nredis = h:1\n"

static const struct row wrong_in_takeover_rows[] = {
	{TAKEOVER "address = 10.5.0.100\n", 13, "address '10.5.0.100' is named twice"},
	{TAKEOVER "address = 10.5.0.101/33\n", 13, "'10.5.0.101/33' has no prefix length that fits"},
	{TAKEOVER "address = 127.0.0.1\n", 13, "'127.0.0.1" NO_UNICAST},
	{TAKEOVER "store = disk\n", 13, "store 'disk' is neither 'direct' nor 'redis'"},
	{TAKEOVER "redis = localhost\n", 13, "redis 'localhost' is not HOST:PORT"},
	{TAKEOVER "redis = localhost:6379\n", 0, "'redis' needs 'store = redis' in [takeover]"},
	{TAKEOVER "redis-user = u\n", 0, "'redis-user' needs 'store = redis' in [takeover]"},
	{TAKEOVER "redis-password-file = key\n", 0,
	 "'redis-password-file' needs 'store = redis' in [takeover]"},
	{TAKEOVER "replicas = 1\n", 0, "'replicas' needs 'store = redis' in [takeover]"},
	{TAKEOVER "store = redis\n", 0, "store = redis needs 'redis = HOST:PORT' in [takeover]"},
	{TAKEOVER "store = redis\nredis = h:1\n", 0,
	 "[node] sections belong to store = direct: with redis the nodes find each other there"},
	{TAKEOVER "replicas = 17\n", 13, "replicas '17' is not a number from 0 to 16"},
	{TAKEOVER "lease = 120\n", 13, "lease '120' is no duration such as 120ms"},
	{TAKEOVER "lease = 10ms\n", 0, "lease must be from 20 ms to 60000 ms"},
	{TAKEOVER "heartbeat = 31ms\n", 0, "heartbeat must be at most a quarter of the lease"},
	{TAKEOVER "on-store-loss = maybe\n", 13, "on-store-loss 'maybe' is neither 'hold' nor 'open'"},
	{TAKEOVER "max-connections = 15\n", 13,
	 "max-connections '15' is not a number from 16 to 1048576"},
	{TAKEOVER "give-away-cpu = 101\n", 13, "give-away-cpu '101' is not a number from 1 to 100"},
	{TAKEOVER "applications = no-such-group\n", 13,
	 "there is no group 'no-such-group' on this machine"},
	{REDIS "redis-password-file = open\n", 0,
	 "password file open: others may read it, or it is no file; chmod 600 it"},
	{REDIS "redis-password-file = none\n", 0, "password file none: No such file or directory"},
	{TAKEOVER "colour = red\n", 13, "unknown key 'colour' in section [takeover]"},
	{SERVER "port = 1\n", 12, "unknown key 'port' in section [node b]"},
	{SERVER "address = b\n", 12, "'b' is neither an address nor ADDRESS:PORT"},
	{SERVER "address = 10.5.0.100\n", 0,
	 "the address of node 'b' is one that moves: nodes need addresses of their own"},
	{SERVER "address = 10.6.0.1\n", 0, "the address of node 'b' is a point of this node"},
	{SERVER "[node c]\naddress = 10.6.0.2:4690\n", 0, "nodes 'b' and 'c' have the same address"},
	{SERVER "[node c]\naddress = 10.6.0.3\n[node b]\n", 14, "section [node b] is there twice"},
	{SERVER "[node a]\naddress = 10.6.0.3\n", 0, "section [node a] names this node itself"},
	{SERVER "[node c]\n\n", 0, "section [node c] names no 'address'"},
	{SERVER "[mobile m]\nkey = key\n", 0,
	 "[mobile], [service], [anchor], [uplink] and 'pool' do not belong to role server"},
	{"[holdfast]\nrole = server\n", 0,
	 "a server needs its 'id' in [holdfast], the name of its section at the other nodes"},
	{ROLE_SERVER, 0, "a server needs 'address' in [takeover], the addresses that move"},
	{ROLE_SERVER "[takeover]\naddress = 10.5.0.1\n", 0,
	 "a server needs 'interface' in [takeover], the one towards the clients"},
	{ROLE_SERVER "[takeover]\naddress = 10.5.0.1\ninterface = none9\n", 0,
	 "interface 'none9' of [takeover] does not exist"},
	{ROLE_SERVER "[takeover]\naddress = 10.5.0.1\ninterface = lo\n", 0,
	 "[takeover] names no 'key', the secret file that the nodes share; 'holdfast genkey FILE' makes "
	 "one"},
	{ROLE_SERVER "[takeover]\naddress = 10.5.0.1\ninterface = lo\nkey = key\n", 0,
	 "a server needs a section [node NAME] for each other node of its group"},
	{MOBILE "[takeover]\naddress = 10.5.0.1\n", 0,
	 "[takeover] and [node] sections belong to role server"},
};

static const struct row wrong_in_form_rows[] = {
	{MOBILE "optional yes\n", 9, "neither a [section] nor 'key = value'"},
	{MOBILE "hello\n", 9, "neither a [section] nor 'key = value'"},
	{"role = mobile\n", 1, "'role' stands before the first section, such as [holdfast]"},
	{MOBILE "[colours]\nred = yes\n", 9, "unknown section [colours]"},
	{MOBILE "[colour red]\nred = yes\n", 9, "unknown section [colour red]"},
	{MOBILE "[uplink]\ncost = 1\n", 9, "unknown section [uplink]"},
	{MOBILE "[uplink a b]\ncost = 1\n", 9, "section [uplink a b] needs a name: " NAME_RULE},
	{MOBILE "[Holdfast]\nport = 1\n", 9, "unknown section [Holdfast]"},
	{MOBILE "  more\n", 9, "cost 'more' is not a number from 0 to 1000000"},
	{MOBILE "cost = x\ncost = y\n[z]\nz = z\n", 9, "cost 'x' is not a number from 0 to 1000000"},
};

static const struct row heads_rows[] = {
	{MOBILE "[colours]\n", 9, "unknown section [colours]"},
	{MOBILE "[uplink eth9\nmetric = 3\n", 9, "neither a [section] nor 'key = value'"},
};

#endif
