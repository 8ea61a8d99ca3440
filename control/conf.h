/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * holdfast.conf(5): reading and checking. A file that is wrong in any way is
 * refused whole, with one sentence that names the file, the line and the cure.
 */
#ifndef HOLDFAST_CONF_H
#define HOLDFAST_CONF_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <holdfast/layout.h>
#include <holdfast/wire.h>
#include "loader/loader.h"

#define CONF_DIR            "/etc/holdfast"
#define CONF_RUN_DIR        "/run/holdfast"
#define CONF_POINTS_MAX     WIRE_CONNECT_POINTS_MAX
#define CONF_POOLS_MAX      8
#define CONF_INTERFACES_MAX 16
#define CONF_PATH_LEN       256

struct conf_prefix {
	struct hf_addr addr;
	unsigned int len; /* in the family's own terms: at most 32 or 128 */
};

struct conf_mobile { /* anchor: one that may connect */
	char id[HF_NAME_LEN];
	char key_file[CONF_PATH_LEN];
	uint8_t key[WIRE_KEY_LEN];
	struct hf_addr host4; /* fixed inner addresses, zero: from the pool */
	struct hf_addr host6;
	int line;
};

struct conf_service { /* anchor */
	char name[HF_NAME_LEN];
	uint8_t proto;
	struct hf_addr addr;
	uint16_t port; /* host order; 0 for ICMP */
	uint16_t emulator;
	int line;
};

struct conf_anchor { /* mobile: one to connect to */
	char name[HF_NAME_LEN];
	char key_file[CONF_PATH_LEN];
	uint8_t key[WIRE_KEY_LEN];
	struct hf_addr points[CONF_POINTS_MAX]; /* tried in this order */
	size_t point_count;
	int line;
};

struct conf_uplink { /* mobile */
	char ifname[IFNAMSIZ];
	uint32_t cost; /* lower is preferred */
	bool optional; /* may be absent at the start */
	int line;
};

enum conf_deliver {                      /* by which interface decoded packets come in */
		    CONF_DELIVER_AUTO,   /* the NIC's, unless a reverse-path filter or forwarding
					    speaks against it */
		    CONF_DELIVER_DEVICE, /* hf0 */
		    CONF_DELIVER_NIC,
};

#define CONF_ADDRESSES_MAX 16
#define CONF_NODES_MAX     4

struct conf_address { /* server: one that moves */
	struct hf_addr addr;
	unsigned int len;
};

struct conf_node { /* server: another one of the group */
	char node[HF_NAME_LEN];
	struct hf_addr addr;
	uint16_t port; /* host order; 0: as ours */
};

struct conf_takeover { /* server */
	char group[HF_NAME_LEN];
	char interface[IFNAMSIZ];
	struct conf_address addresses[CONF_ADDRESSES_MAX];
	size_t address_count;
	bool redis; /* the store is Redis; else the nodes' own */
	char redis_host[64];
	uint16_t redis_port;
	char redis_user[64];
	char redis_password_file[CONF_PATH_LEN];
	char redis_password[128];
	uint32_t replicas; /* WAIT for so many */
	char key_file[CONF_PATH_LEN];
	uint8_t key[WIRE_KEY_LEN];
	struct conf_node nodes[CONF_NODES_MAX];
	size_t node_count;
	uint32_t lease; /* ms */
	uint32_t heartbeat;
	bool open_on_loss; /* acknowledge though nothing can be committed */
	uint32_t max_connections;
	uint32_t give_away_connections; /* T6: with more, give the group away; 0: never */
	uint32_t give_away_cpu;         /* percent; 0: never */
	int gid;                        /* of the applications' socket; -1: root's */
};

struct conf_timers { /* all in ms unless said otherwise */
	uint32_t alive;
	uint32_t attempts; /* unanswered probes until a path is dead */
	uint32_t switching;
	uint32_t grace;
	uint32_t drain;
	uint32_t inactivity;
	uint32_t tcp_established;
	uint32_t tcp_transitory;
	uint32_t udp;
	uint32_t icmp;
};

struct conf {
	char file[CONF_PATH_LEN];
	char name[HF_NAME_LEN]; /* of the instance: the file's name without .conf */
	char run_dir[CONF_PATH_LEN];
	enum hf_role role;
	char id[HF_NAME_LEN]; /* mobile */
	char device[IFNAMSIZ];
	uint16_t port;
	enum loader_mode mode;
	enum conf_deliver deliver;
	uint32_t max_flows;
	uint32_t max_flows_assoc;
	size_t park_bytes;
	size_t park_total_bytes;
	char hook_leave[CONF_PATH_LEN];
	char hook_arrive[CONF_PATH_LEN];
	struct conf_timers timers;

	struct hf_addr points[CONF_POINTS_MAX];
	size_t point_count;
	struct conf_prefix pools[CONF_POOLS_MAX];
	size_t pool_count;
	char interfaces[CONF_INTERFACES_MAX][IFNAMSIZ];
	size_t interface_count;

	struct conf_mobile *mobiles;
	size_t mobile_count;
	struct conf_service *services;
	size_t service_count;
	struct conf_anchor *anchors;
	size_t anchor_count;
	struct conf_uplink *uplinks;
	size_t uplink_count;

	struct conf_takeover takeover;
};

struct conf_error {
	char text[512];
};

/* Reads and checks `file`, keys included. 0 and `ret` (free with conf_free()), or negative errno
 * and one sentence. `name` and `run_dir` may be NULL: from the file's name, CONF_RUN_DIR. */
int conf_read(const char *file, const char *name, const char *run_dir, struct conf **ret,
	      struct conf_error *err);
void conf_free(struct conf *c); /* wipes the keys; NULL is allowed */

/* A name of a node, group, association: 1 to HF_NAME_LEN - 1 letters, digits, "-", "_" or ".". */
bool conf_name_ok(const char *s);
/* "NAME" or a path: the path of the configuration file, into buf. */
void conf_file_of(const char *arg, char *buf, size_t len);

#endif
