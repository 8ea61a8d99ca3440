/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* [takeover] and [node NAME]: a server that others take over from. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <holdfast/guard.h>

#include "control/addr.h"
#include "control/conf_reader.h"

#define LEASE_MIN_MS 20u
#define LEASE_MAX_MS 60000u

void conf_takeover_defaults(struct conf_takeover *t)
{
	strcpy(t->group, "default");
	t->lease = 120;
	t->max_connections = 65536;
	t->gid = -1;
}

static int add_address(struct reader *r, void *arg, const char *s)
{
	struct conf_takeover *t = arg;
	struct conf_address *a = &t->addresses[t->address_count];
	char buf[64], *slash;
	unsigned long len = 0;

	if (t->address_count == CONF_ADDRESSES_MAX)
		return conf_fail(r, "more than %d addresses", CONF_ADDRESSES_MAX);
	if (!conf_copy(buf, sizeof(buf), s))
		return conf_fail(r, "'%s' is not an address", s);
	slash = strchr(buf, '/');
	if (slash)
		*slash++ = 0;
	if (addr_parse(buf, &a->addr) || !addr_is_unicast(&a->addr))
		return conf_fail(r, "'%s' is not a unicast IPv4 or IPv6 address", s);
	if (slash && !conf_number(slash, 1, addr_is_v4(&a->addr) ? 32 : 128, &len))
		return conf_fail(r, "'%s' has no prefix length that fits", s);
	a->len = slash ? len : addr_is_v4(&a->addr) ? 32 : 128;
	for (size_t i = 0; i < t->address_count; i++)
		if (addr_equal(&t->addresses[i].addr, &a->addr))
			return conf_fail(r, "address '%s' is named twice", s);
	t->address_count++;
	return 1;
}

static int set_number(struct reader *r, const char *key, const char *value, unsigned long min,
		      unsigned long max, uint32_t *ret)
{
	unsigned long n;

	if (!conf_number(value, min, max, &n))
		return conf_fail(r, "%s '%s' is not a number from %lu to %lu", key, value, min,
				 max);
	*ret = n;
	return 1;
}

static int set_redis(struct reader *r, const char *value)
{
	struct conf_takeover *t = &r->c->takeover;
	char buf[sizeof(t->redis_host) + 8];
	unsigned long port;
	char *colon;

	if (!conf_copy(buf, sizeof(buf), value) || !(colon = strrchr(buf, ':')) ||
	    !conf_number(colon + 1, 1, 65535, &port))
		return conf_fail(r, "redis '%s' is not HOST:PORT", value);
	*colon = 0;
	t->redis_port = port;
	return conf_set_text(r, t->redis_host, sizeof(t->redis_host), buf);
}

static int set_group_id(struct reader *r, const char *value)
{
	const struct group *g = getgrnam(value);

	if (!g)
		return conf_fail(r, "there is no group '%s' on this machine", value);
	r->c->takeover.gid = g->gr_gid;
	return 1;
}

int conf_read_takeover(struct reader *r, const char *key, const char *value)
{
	struct conf_takeover *t = &r->c->takeover;

	if (!strcmp(key, "group"))
		return conf_set_name(r, t->group, value);
	if (!strcmp(key, "address"))
		return conf_each(r, value, add_address, t);
	if (!strcmp(key, "interface"))
		return conf_set_text(r, t->interface, sizeof(t->interface), value);
	if (!strcmp(key, "store")) {
		if (strcmp(value, "direct") && strcmp(value, "redis"))
			return conf_fail(r, "store '%s' is neither 'direct' nor 'redis'", value);
		t->redis = !strcmp(value, "redis");
		return 1;
	}
	if (!strcmp(key, "redis"))
		return set_redis(r, value);
	if (!strcmp(key, "redis-user"))
		return conf_set_text(r, t->redis_user, sizeof(t->redis_user), value);
	if (!strcmp(key, "redis-password-file"))
		return conf_set_text(r, t->redis_password_file, sizeof(t->redis_password_file),
				     value);
	if (!strcmp(key, "replicas"))
		return set_number(r, key, value, 0, 16, &t->replicas);
	if (!strcmp(key, "key"))
		return conf_set_text(r, t->key_file, sizeof(t->key_file), value);
	if (!strcmp(key, "lease"))
		return conf_duration(value, &t->lease) ||
		       conf_fail(r, "lease '%s' is no duration such as 120ms", value);
	if (!strcmp(key, "heartbeat"))
		return conf_duration(value, &t->heartbeat) ||
		       conf_fail(r, "heartbeat '%s' is no duration such as 20ms", value);
	if (!strcmp(key, "on-store-loss")) {
		if (strcmp(value, "hold") && strcmp(value, "open"))
			return conf_fail(r, "on-store-loss '%s' is neither 'hold' nor 'open'",
					 value);
		t->open_on_loss = !strcmp(value, "open");
		return 1;
	}
	if (!strcmp(key, "max-connections"))
		return set_number(r, key, value, 16, GUARD_SLOTS_MAX, &t->max_connections);
	if (!strcmp(key, "give-away-connections"))
		return set_number(r, key, value, 1, GUARD_SLOTS_MAX, &t->give_away_connections);
	if (!strcmp(key, "give-away-cpu"))
		return set_number(r, key, value, 1, 100, &t->give_away_cpu);
	if (!strcmp(key, "applications"))
		return set_group_id(r, value);
	return conf_fail(r, "unknown key '%s' in section [takeover]", key);
}

int conf_read_node(struct reader *r, const char *key, const char *value)
{
	struct conf_takeover *t = &r->c->takeover;
	struct conf_node *n = &t->nodes[t->node_count - 1];

	if (strcmp(key, "address"))
		return conf_fail(r, "unknown key '%s' in section [node %s]", key, n->node);
	if (addr_parse(value, &n->addr) && !conf_endpoint(value, &n->addr, &n->port))
		return conf_fail(r, "'%s' is neither an address nor ADDRESS:PORT", value);
	if (!addr_is_unicast(&n->addr))
		return conf_fail(r, "'%s' is not a unicast IPv4 or IPv6 address", value);
	return 1;
}

/* One line, from a file that nobody else may read. */
int conf_read_password(struct reader *r)
{
	struct conf_takeover *t = &r->c->takeover;
	struct stat st;
	ssize_t n;
	int fd;

	if (!*t->redis_password_file)
		return 1;
	fd = open(t->redis_password_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return conf_fail(r, "password file %s: %s", t->redis_password_file,
				 strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (st.st_mode & 077)) {
		close(fd);
		return conf_fail(
			r, "password file %s: others may read it, or it is no file; chmod 600 it",
			t->redis_password_file);
	}
	n = read(fd, t->redis_password, sizeof(t->redis_password) - 1);
	close(fd);
	if (n <= 0)
		return conf_fail(r, "password file %s is empty or cannot be read",
				 t->redis_password_file);
	t->redis_password[n] = 0;
	t->redis_password[strcspn(t->redis_password, "\r\n")] = 0;
	if (!*t->redis_password)
		return conf_fail(r, "password file %s begins with an empty line",
				 t->redis_password_file);
	return 1;
}

static bool fail(struct conf_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static bool fail(struct conf_error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return false;
}

static uint16_t port_of(const struct conf *c, const struct conf_node *n)
{
	return n->port ? n->port : c->port;
}

static bool check_node(const struct conf *c, size_t index, struct conf_error *err)
{
	const struct conf_takeover *t = &c->takeover;
	const struct conf_node *n = &t->nodes[index];

	if (addr_is_zero(&n->addr))
		return fail(err, "section [node %s] names no 'address'", n->node);
	if (!strcmp(n->node, c->id))
		return fail(err, "section [node %s] names this node itself", c->id);
	for (size_t a = 0; a < t->address_count; a++)
		if (addr_equal(&n->addr, &t->addresses[a].addr))
			return fail(err,
				    "the address of node '%s' is one that moves: nodes need "
				    "addresses of their own",
				    n->node);
	for (size_t p = 0; p < c->point_count; p++)
		if (addr_equal(&n->addr, &c->points[p]) && port_of(c, n) == c->port)
			return fail(err, "the address of node '%s' is a point of this node",
				    n->node);
	for (size_t i = 0; i < index; i++)
		if (addr_equal(&n->addr, &t->nodes[i].addr) &&
		    port_of(c, n) == port_of(c, &t->nodes[i]))
			return fail(err, "nodes '%s' and '%s' have the same address",
				    t->nodes[i].node, n->node);
	return true;
}

/* What is set that another store would not heed; NULL: nothing. */
static const char *redis_key(const struct conf_takeover *t)
{
	if (*t->redis_host)
		return "redis";
	if (*t->redis_user)
		return "redis-user";
	if (*t->redis_password_file)
		return "redis-password-file";
	return t->replicas ? "replicas" : NULL;
}

static bool check_store(const struct conf *c, struct conf_error *err)
{
	const struct conf_takeover *t = &c->takeover;

	if (t->redis) {
		if (!*t->redis_host)
			return fail(err, "store = redis needs 'redis = HOST:PORT' in [takeover]");
		if (t->node_count)
			return fail(err, "[node] sections belong to store = direct: with redis the "
					 "nodes find each other there");
		return true;
	}
	if (redis_key(t))
		return fail(err, "'%s' needs 'store = redis' in [takeover]", redis_key(t));
	if (!*t->key_file)
		return fail(err, "[takeover] names no 'key', the secret file that the nodes share; "
				 "'holdfast genkey FILE' makes one");
	if (!t->node_count)
		return fail(err, "a server needs a section [node NAME] for each other node of its "
				 "group");
	if (!c->point_count)
		return fail(err, "a server needs 'points' in [holdfast], the address at which the "
				 "other nodes reach it");
	for (size_t i = 0; i < t->node_count; i++)
		if (!check_node(c, i, err))
			return false;
	return true;
}

bool conf_check_server(const struct conf *c, struct conf_error *err)
{
	const struct conf_takeover *t = &c->takeover;

	if (c->mobile_count || c->service_count || c->pool_count || c->anchor_count ||
	    c->uplink_count)
		return fail(err,
			    "[mobile], [service], [anchor], [uplink] and 'pool' do not belong to "
			    "role server");
	if (!*c->id)
		return fail(err,
			    "a server needs its 'id' in [holdfast], the name of its section at "
			    "the other nodes");
	if (!t->address_count)
		return fail(err, "a server needs 'address' in [takeover], the addresses that move");
	if (!*t->interface)
		return fail(err, "a server needs 'interface' in [takeover], the one towards the "
				 "clients");
	if (!if_nametoindex(t->interface))
		return fail(err, "interface '%s' of [takeover] does not exist", t->interface);
	for (size_t i = 0; i < c->point_count; i++)
		for (size_t a = 0; a < t->address_count; a++)
			if (addr_equal(&c->points[i], &t->addresses[a].addr))
				return fail(err,
					    "a point is an address that moves: a node needs one "
					    "of its own");
	if (t->lease < LEASE_MIN_MS || t->lease > LEASE_MAX_MS)
		return fail(err, "lease must be from %u ms to %u ms", LEASE_MIN_MS, LEASE_MAX_MS);
	if (t->heartbeat && t->heartbeat > t->lease / 4)
		return fail(err, "heartbeat must be at most a quarter of the lease");
	return check_store(c, err);
}
