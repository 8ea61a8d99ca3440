/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/conf.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "control/addr.h"
#include "control/conf_check.h"
#include "control/conf_reader.h"
#include "control/key.h"

#define MOBILES_MAX     HF_ASSOCS_MAX
#define SERVICES_MAX    (HF_SERVICES_MAX - 1)
#define ANCHORS_MAX     16
#define UPLINKS_MAX     16
#define FLOWS_SHARE_MIN 4096u
#define MALFORMED       "neither a [section] nor 'key = value'"

int conf_fail(struct reader *r, const char *fmt, ...)
{
	va_list ap;

	if (r->failed)
		return 0;
	r->failed = true;
	va_start(ap, fmt);
	vsnprintf(r->err->text, sizeof(r->err->text), fmt, ap);
	va_end(ap);
	return 0;
}

bool conf_copy(char *dst, size_t len, const char *src)
{
	size_t n = strlen(src);

	if (n >= len)
		return false;
	memcpy(dst, src, n + 1);
	return true;
}

/* Names end up in file names, JSON and tables. */
bool conf_name_ok(const char *s)
{
	if (!*s || strlen(s) >= HF_NAME_LEN)
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("-_.", *s))
			return false;
	return true;
}

/* It names a folder of a bpffs, too, which refuses dots. */
static bool instance_ok(const char *s)
{
	return conf_name_ok(s) && !strchr(s, '.');
}

bool conf_number(const char *s, unsigned long min, unsigned long max, unsigned long *ret)
{
	char *end;
	unsigned long v;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	v = strtoul(s, &end, 10);
	if (errno || *end || v < min || v > max)
		return false;
	*ret = v;
	return true;
}

/* "500ms", "5s", "10min", "2h"; a bare number is refused, so that nobody guesses the unit. */
bool conf_duration(const char *s, uint32_t *ret_ms)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}};
	char *end;
	unsigned long long v;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	v = strtoull(s, &end, 10);
	while (*end == ' ')
		end++;
	if (errno || v > UINT32_MAX)
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit))
			continue;
		if (v == 0 || v * units[i].ms > INT32_MAX)
			return false;
		*ret_ms = v * units[i].ms;
		return true;
	}
	return false;
}

/* "64K", "8M", "1G" or bytes */
static bool parse_size(const char *s, size_t *ret)
{
	char *end;
	unsigned long long v, unit = 1;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	v = strtoull(s, &end, 10);
	switch (*end) {
	case 'K':
		unit = 1ull << 10, end++;
		break;
	case 'M':
		unit = 1ull << 20, end++;
		break;
	case 'G':
		unit = 1ull << 30, end++;
		break;
	}
	if (errno || *end || !v || v > (1ull << 40) / unit)
		return false;
	*ret = v * unit;
	return true;
}

/* "10.0.0.1:80", "[fd00::1]:80"; without a port if port is NULL */
bool conf_endpoint(const char *s, struct hf_addr *addr, uint16_t *port)
{
	char buf[96];
	char *colon;
	unsigned long v;

	if (!conf_copy(buf, sizeof(buf), s))
		return false;
	if (port) {
		colon = strrchr(buf, ':');
		if (!colon || !conf_number(colon + 1, 1, 65535, &v))
			return false;
		*colon = 0;
		if (strchr(buf, ':') && buf[0] != '[')
			return false;
		*port = v;
	}
	return addr_parse(buf, addr) == 0;
}

/* Calls fn for each element of a list separated by commas or blanks. */
int conf_each(struct reader *r, const char *value, int (*fn)(struct reader *, void *, const char *),
	      void *arg)
{
	char buf[1024];
	char *save = NULL;

	if (!conf_copy(buf, sizeof(buf), value))
		return conf_fail(r, "the list is longer than %zu characters", sizeof(buf) - 1);
	for (char *s = strtok_r(buf, ", \t", &save); s; s = strtok_r(NULL, ", \t", &save))
		if (!fn(r, arg, s))
			return 0;
	return 1;
}

int conf_add_point(struct reader *r, void *arg, const char *s)
{
	struct point_list *l = arg;
	struct hf_addr a;

	if (addr_parse(s, &a) || !addr_is_unicast(&a))
		return conf_fail(r, "'%s' is not a unicast IPv4 or IPv6 address", s);
	if (*l->count == CONF_POINTS_MAX)
		return conf_fail(r, "more than %d points", CONF_POINTS_MAX);
	for (size_t i = 0; i < *l->count; i++)
		if (addr_equal(&l->points[i], &a))
			return conf_fail(r, "point '%s' is named twice", s);
	l->points[(*l->count)++] = a;
	return 1;
}

static int add_pool(struct reader *r, void *arg, const char *s)
{
	struct conf *c = arg;
	struct conf_prefix p;
	char other[INET6_ADDRSTRLEN];

	if (addr_parse_prefix(s, &p.addr, &p.len))
		return conf_fail(
			r,
			"pool '%s' is not a prefix such as 10.77.0.0/24 or fd77::/64 with no "
			"host bits set",
			s);
	if (c->pool_count == CONF_POOLS_MAX)
		return conf_fail(r, "more than %d pools", CONF_POOLS_MAX);
	for (size_t i = 0; i < c->pool_count; i++)
		if (addr_prefix_overlap(&p.addr, p.len, &c->pools[i].addr, c->pools[i].len))
			return conf_fail(r, "pool '%s' overlaps pool '%s/%u'", s,
					 addr_format(&c->pools[i].addr, other), c->pools[i].len);
	c->pools[c->pool_count++] = p;
	return 1;
}

static int add_interface(struct reader *r, void *arg, const char *s)
{
	struct conf *c = arg;

	if (c->interface_count == CONF_INTERFACES_MAX)
		return conf_fail(r, "more than %d interfaces", CONF_INTERFACES_MAX);
	if (!conf_copy(c->interfaces[c->interface_count], IFNAMSIZ, s))
		return conf_fail(r, "'%s' is longer than an interface's name can be", s);
	c->interface_count++;
	return 1;
}

static int add_host(struct reader *r, void *arg, const char *s)
{
	struct conf_mobile *m = arg;
	struct hf_addr a;

	if (addr_parse(s, &a) || !addr_is_unicast(&a))
		return conf_fail(r, "'%s' is not a unicast IPv4 or IPv6 address", s);
	if (addr_is_v4(&a))
		m->host4 = a;
	else
		m->host6 = a;
	return 1;
}

int conf_set_name(struct reader *r, char *dst, const char *value)
{
	if (!conf_name_ok(value))
		return conf_fail(r, "'%s' is no name: 1 to %d letters, digits, '-', '_' or '.'",
				 value, HF_NAME_LEN - 1);
	strcpy(dst, value);
	return 1;
}

int conf_set_text(struct reader *r, char *dst, size_t len, const char *value)
{
	if (!conf_copy(dst, len, value))
		return conf_fail(r, "'%s' is longer than %zu characters", value, len - 1);
	return 1;
}

static int read_holdfast(struct reader *r, const char *key, const char *value)
{
	struct conf *c = r->c;
	unsigned long n;

	if (!strcmp(key, "role")) {
		if (!strcmp(value, "mobile"))
			c->role = HF_ROLE_MOBILE;
		else if (!strcmp(value, "anchor"))
			c->role = HF_ROLE_ANCHOR;
		else if (!strcmp(value, "server"))
			c->role = HF_ROLE_SERVER;
		else
			return conf_fail(r, "role '%s' is none of mobile, anchor, server", value);
		return 1;
	}
	if (!strcmp(key, "id"))
		return conf_set_name(r, c->id, value);
	if (!strcmp(key, "device"))
		return conf_set_text(r, c->device, sizeof(c->device), value);
	if (!strcmp(key, "port")) {
		if (!conf_number(value, 1, 65535, &n))
			return conf_fail(r, "port '%s' is not a number from 1 to 65535", value);
		c->port = n;
		return 1;
	}
	if (!strcmp(key, "mode")) {
		for (int m = LOADER_MODE_AUTO; m <= LOADER_MODE_GENERIC; m++)
			if (!strcmp(value, loader_mode_name(m))) {
				c->mode = m;
				return 1;
			}
		return conf_fail(r, "mode '%s' is none of auto, tc, xdp, generic", value);
	}
	if (!strcmp(key, "deliver")) {
		static const char *const names[] = {"auto", "device", "nic"};

		for (int i = CONF_DELIVER_AUTO; i <= CONF_DELIVER_NIC; i++)
			if (!strcmp(value, names[i])) {
				c->deliver = i;
				return 1;
			}
		return conf_fail(r, "deliver '%s' is none of auto, device, nic", value);
	}
	if (!strcmp(key, "max-flows") || !strcmp(key, "max-flows-per-association")) {
		if (!conf_number(value, 16, 16777216, &n))
			return conf_fail(r, "%s '%s' is not a number from 16 to 16777216", key,
					 value);
		*(strcmp(key, "max-flows") ? &c->max_flows_assoc : &c->max_flows) = n;
		return 1;
	}
	if (!strcmp(key, "park-bytes"))
		return parse_size(value, &c->park_bytes) ||
		       conf_fail(r, "park-bytes '%s' is no size such as 8M", value);
	if (!strcmp(key, "park-total-bytes"))
		return parse_size(value, &c->park_total_bytes) ||
		       conf_fail(r, "park-total-bytes '%s' is no size such as 64M", value);
	if (!strcmp(key, "points"))
		return conf_each(r, value, conf_add_point,
				 &(struct point_list){c->points, &c->point_count});
	if (!strcmp(key, "pool"))
		return conf_each(r, value, add_pool, c);
	if (!strcmp(key, "interfaces"))
		return conf_each(r, value, add_interface, c);
	if (!strcmp(key, "hook-leave"))
		return conf_set_text(r, c->hook_leave, sizeof(c->hook_leave), value);
	if (!strcmp(key, "hook-arrive"))
		return conf_set_text(r, c->hook_arrive, sizeof(c->hook_arrive), value);
	return conf_fail(r, "unknown key '%s' in section [holdfast]", key);
}

static int read_timers(struct reader *r, const char *key, const char *value)
{
	struct conf_timers *t = &r->c->timers;
	const struct {
		const char *key;
		uint32_t *ms;
	} keys[] = {
		{"alive", &t->alive},
		{"switch", &t->switching},
		{"grace", &t->grace},
		{"drain", &t->drain},
		{"inactivity", &t->inactivity},
		{"tcp-established", &t->tcp_established},
		{"tcp-transitory", &t->tcp_transitory},
		{"udp", &t->udp},
		{"icmp", &t->icmp},
	};
	unsigned long n;

	if (!strcmp(key, "attempts")) {
		if (!conf_number(value, 1, 100, &n))
			return conf_fail(r, "attempts '%s' is not a number from 1 to 100", value);
		t->attempts = n;
		return 1;
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!strcmp(key, keys[i].key))
			return conf_duration(value, keys[i].ms) ||
			       conf_fail(r, "%s '%s' is no duration such as 500ms, 5s, 10min or 2h",
					 key, value);
	return conf_fail(r, "unknown key '%s' in section [timers]", key);
}

/* Grows an array by one zeroed element; NULL without memory. */
static void *grow(void **array, size_t *count, size_t size)
{
	void *p = realloc(*array, (*count + 1) * size);

	if (!p)
		return NULL;
	*array = p;
	p = (char *)p + *count * size;
	memset(p, 0, size);
	(*count)++;
	return p;
}

/* Opens "[KIND NAME]" when it is new. */
static int open_section(struct reader *r, const char *kind, const char *name)
{
	struct conf *c = r->c;

	if (!conf_name_ok(name))
		return conf_fail(
			r, "section [%s %s] needs a name: 1 to %d letters, digits, '-', '_' or '.'",
			kind, name, HF_NAME_LEN - 1);
#define FIND(array, count, field, what)                                                            \
	for (size_t i = 0; i < (count); i++)                                                       \
		if (!strcmp((array)[i].field, name))                                               \
	return conf_fail(r, "section [" what " %s] is there twice", name)
	if (!strcmp(kind, "mobile")) {
		struct conf_mobile *m;

		FIND(c->mobiles, c->mobile_count, id, "mobile");
		if (c->mobile_count == MOBILES_MAX)
			return conf_fail(r, "more than %u mobiles", MOBILES_MAX);
		m = grow((void **)&c->mobiles, &c->mobile_count, sizeof(*m));
		if (!m)
			return conf_fail(r, "out of memory");
		strcpy(m->id, name);
	} else if (!strcmp(kind, "service")) {
		struct conf_service *s;

		FIND(c->services, c->service_count, name, "service");
		if (c->service_count == SERVICES_MAX)
			return conf_fail(r, "more than %u services", SERVICES_MAX);
		s = grow((void **)&c->services, &c->service_count, sizeof(*s));
		if (!s)
			return conf_fail(r, "out of memory");
		strcpy(s->name, name);
		s->proto = IPPROTO_TCP;
	} else if (!strcmp(kind, "anchor")) {
		struct conf_anchor *a;

		FIND(c->anchors, c->anchor_count, name, "anchor");
		if (c->anchor_count == ANCHORS_MAX)
			return conf_fail(r, "more than %d anchors", ANCHORS_MAX);
		a = grow((void **)&c->anchors, &c->anchor_count, sizeof(*a));
		if (!a)
			return conf_fail(r, "out of memory");
		strcpy(a->name, name);
	} else if (!strcmp(kind, "uplink")) {
		struct conf_uplink *u;

		FIND(c->uplinks, c->uplink_count, ifname, "uplink");
		if (strlen(name) >= IFNAMSIZ)
			return conf_fail(r, "'%s' is longer than an interface's name can be", name);
		if (c->uplink_count == UPLINKS_MAX)
			return conf_fail(r, "more than %d uplinks", UPLINKS_MAX);
		u = grow((void **)&c->uplinks, &c->uplink_count, sizeof(*u));
		if (!u)
			return conf_fail(r, "out of memory");
		strcpy(u->ifname, name);
		u->cost = 100;
	} else if (!strcmp(kind, "node")) {
		struct conf_takeover *t = &c->takeover;

		FIND(t->nodes, t->node_count, node, "node");
		if (t->node_count == CONF_NODES_MAX)
			return conf_fail(r, "more than %d other nodes", CONF_NODES_MAX);
		strcpy(t->nodes[t->node_count++].node, name);
	}
#undef FIND
	return 1;
}

static int read_mobile(struct reader *r, const char *key, const char *value)
{
	struct conf_mobile *m = &r->c->mobiles[r->c->mobile_count - 1];

	if (!strcmp(key, "key"))
		return conf_set_text(r, m->key_file, sizeof(m->key_file), value);
	if (!strcmp(key, "address"))
		return conf_each(r, value, add_host, m);
	return conf_fail(r, "unknown key '%s' in section [mobile %s]", key, m->id);
}

static int read_service(struct reader *r, const char *key, const char *value)
{
	struct conf_service *s = &r->c->services[r->c->service_count - 1];
	unsigned long n;

	if (!strcmp(key, "protocol")) {
		if (!strcmp(value, "tcp"))
			s->proto = IPPROTO_TCP;
		else if (!strcmp(value, "udp"))
			s->proto = IPPROTO_UDP;
		else if (!strcmp(value, "icmp"))
			s->proto = IPPROTO_ICMP;
		else
			return conf_fail(r, "protocol '%s' is none of tcp, udp, icmp", value);
		return 1;
	}
	if (!strcmp(key, "server")) {
		if (addr_parse(value, &s->addr) == 0)
			s->port = 0;
		else if (!conf_endpoint(value, &s->addr, &s->port))
			return conf_fail(r,
					 "server '%s' is not ADDRESS:PORT such as 192.0.2.10:80 or "
					 "[2001:db8::10]:80",
					 value);
		if (!addr_is_unicast(&s->addr))
			return conf_fail(r, "server '%s' is not a unicast address", value);
		return 1;
	}
	if (!strcmp(key, "emulator")) {
		if (!conf_number(value, 1, 65535, &n))
			return conf_fail(r, "emulator '%s' is not a port from 1 to 65535", value);
		s->emulator = n;
		return 1;
	}
	return conf_fail(r, "unknown key '%s' in section [service %s]", key, s->name);
}

static int read_anchor(struct reader *r, const char *key, const char *value)
{
	struct conf_anchor *a = &r->c->anchors[r->c->anchor_count - 1];

	if (!strcmp(key, "key"))
		return conf_set_text(r, a->key_file, sizeof(a->key_file), value);
	if (!strcmp(key, "points"))
		return conf_each(r, value, conf_add_point,
				 &(struct point_list){a->points, &a->point_count});
	return conf_fail(r, "unknown key '%s' in section [anchor %s]", key, a->name);
}

static int read_uplink(struct reader *r, const char *key, const char *value)
{
	struct conf_uplink *u = &r->c->uplinks[r->c->uplink_count - 1];
	unsigned long n;

	if (!strcmp(key, "cost")) {
		if (!conf_number(value, 0, 1000000, &n))
			return conf_fail(r, "cost '%s' is not a number from 0 to 1000000", value);
		u->cost = n;
		return 1;
	}
	if (!strcmp(key, "optional")) {
		if (strcmp(value, "yes") && strcmp(value, "no"))
			return conf_fail(r, "optional '%s' is neither 'yes' nor 'no'", value);
		u->optional = !strcmp(value, "yes");
		return 1;
	}
	return conf_fail(r, "unknown key '%s' in section [uplink %s]", key, u->ifname);
}

static int handle(void *user, const char *section, const char *key, const char *value)
{
	struct reader *r = user;
	size_t kind;

	if (r->failed)
		return 0;
	if (!key) /* a section's head (inih calls so only if built for it) */
		return 1;
	if (!*section)
		return conf_fail(r, "'%s' stands before the first section, such as [holdfast]",
				 key);
	if (!*value)
		return conf_fail(r, "'%s' has no value", key);
	if (!strcmp(section, "holdfast"))
		return read_holdfast(r, key, value);
	if (!strcmp(section, "timers"))
		return read_timers(r, key, value);
	if (!strcmp(section, "takeover"))
		return conf_read_takeover(r, key, value);
	/* the head was taken by take_head() */
	kind = strcspn(section, " \t");
	if (!strncmp(section, "mobile", kind))
		return read_mobile(r, key, value);
	if (!strncmp(section, "service", kind))
		return read_service(r, key, value);
	if (!strncmp(section, "anchor", kind))
		return read_anchor(r, key, value);
	if (!strncmp(section, "node", kind))
		return conf_read_node(r, key, value);
	return read_uplink(r, key, value);
}

/* inih tells of keys alone, so that a section without any would not be seen, nor one that is there
 * twice in a row. */
static int take_head(struct reader *r, const char *line)
{
	char head[64], *name, *end;

	if (!conf_copy(head, sizeof(head), line + 1) || !(end = strchr(head, ']')))
		return conf_fail(r, strchr(line, ']') ? "the section's head is too long" : "%s",
				 MALFORMED);
	*end = 0;
	if (!strcmp(head, "holdfast") || !strcmp(head, "timers") || !strcmp(head, "takeover"))
		return 1;
	name = strpbrk(head, " \t");
	if (name) {
		*name++ = 0;
		name += strspn(name, " \t");
	}
	if (!name || (strcmp(head, "mobile") && strcmp(head, "service") && strcmp(head, "anchor") &&
		      strcmp(head, "uplink") && strcmp(head, "node")))
		return conf_fail(r, "unknown section [%.*s]", (int)strcspn(line + 1, "]"),
				 line + 1);
	return open_section(r, head, name);
}

/* For inih: a line that does not fit is refused, not read as two; nothing is read behind an error.
 */
static char *next_line(char *buf, int size, void *user)
{
	struct reader *r = user;
	size_t n;
	char *p;

	if (r->failed || !fgets(buf, size, r->f))
		return NULL;
	r->line++;
	n = strlen(buf);
	if (n && buf[n - 1] == '\n') {
		buf[--n] = 0;
		if (n && buf[n - 1] == '\r')
			buf[--n] = 0;
	} else if (!feof(r->f)) {
		conf_fail(r, "the line is longer than %d characters, or holds a NUL", size - 2);
		return NULL;
	}
	for (p = buf; *p; p++)
		if ((unsigned char)*p < ' ' && *p != '\t') {
			conf_fail(r, "the line holds a control character");
			return NULL;
		}
	p = buf + (r->line == 1 && !strncmp(buf, "\xef\xbb\xbf", 3) ? 3 : 0);
	p += strspn(p, " \t");
	return *p == '[' && !take_head(r, p) ? NULL : buf;
}

static int read_keys(struct reader *r)
{
	struct conf *c = r->c;
	char why[384];

	for (size_t i = 0; i < c->mobile_count; i++)
		if (key_read(c->mobiles[i].key_file, c->mobiles[i].key, why, sizeof(why)))
			return conf_fail(r, "%s", why);
	for (size_t i = 0; i < c->anchor_count; i++)
		if (key_read(c->anchors[i].key_file, c->anchors[i].key, why, sizeof(why)))
			return conf_fail(r, "%s", why);
	if (*c->takeover.key_file &&
	    key_read(c->takeover.key_file, c->takeover.key, why, sizeof(why)))
		return conf_fail(r, "%s", why);
	return conf_read_password(r);
}

static void set_defaults(struct conf *c)
{
	strcpy(c->device, "hf0");
	c->port = WIRE_CONTROL_PORT;
	c->mode = LOADER_MODE_AUTO;
	c->max_flows = HF_FLOWS_DEFAULT;
	c->max_flows_assoc = 0;
	c->park_bytes = 8u << 20;
	c->park_total_bytes = 64u << 20;
	c->timers = (struct conf_timers){
		.alive = 5000,
		.attempts = 4,
		.switching = 0,
		.grace = 35000,
		.drain = 200,
		.inactivity = 3600000,
		.tcp_established = 7440000,
		.tcp_transitory = 240000,
		.udp = 300000,
		.icmp = 60000,
	};
	conf_takeover_defaults(&c->takeover);
}

static int name_of_file(const char *file, char name[static HF_NAME_LEN])
{
	const char *base = strrchr(file, '/');
	size_t n;

	base = base ? base + 1 : file;
	n = strlen(base);
	if (n > 5 && !strcmp(base + n - 5, ".conf"))
		n -= 5;
	if (!n || n >= HF_NAME_LEN)
		return -EINVAL;
	memcpy(name, base, n);
	name[n] = 0;
	return instance_ok(name) ? 0 : -EINVAL;
}

/* One mobile must not be able to take the whole map from the others; half of it at most, and a part
 * for each that is not so small that it hinders. */
static uint32_t fair_share(const struct conf *c)
{
	uint32_t share;

	if (c->mobile_count <= 1)
		return c->max_flows;
	share = c->max_flows / c->mobile_count;
	if (share < FLOWS_SHARE_MIN)
		share = FLOWS_SHARE_MIN;
	return share < c->max_flows / 2 ? share : c->max_flows / 2;
}

int conf_read(const char *file, const char *name, const char *run_dir, struct conf **ret,
	      struct conf_error *err)
{
	struct reader r = {.err = err};
	struct conf_error whole;
	struct stat st;
	struct conf *c;
	int line;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	r.c = c;
	set_defaults(c);
	err->text[0] = 0;
	if (!conf_copy(c->file, sizeof(c->file), file) ||
	    !conf_copy(c->run_dir, sizeof(c->run_dir), run_dir ? run_dir : CONF_RUN_DIR)) {
		snprintf(err->text, sizeof(err->text), "the path '%.100s...' is too long", file);
		goto out;
	}
	if (name ? (!instance_ok(name) || !conf_copy(c->name, sizeof(c->name), name))
		 : name_of_file(file, c->name)) {
		snprintf(
			err->text, sizeof(err->text),
			"'%.200s' gives no name of 1 to %d letters, digits, '-' or '_'; use --name",
			name ? name : file, HF_NAME_LEN - 1);
		goto out;
	}
	if (stat(file, &st)) {
		snprintf(err->text, sizeof(err->text), "%.300s: %s", file, strerror(errno));
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		snprintf(err->text, sizeof(err->text), "%.300s: not a file", file);
		goto out;
	}
	r.f = fopen(file, "re");
	if (!r.f) {
		snprintf(err->text, sizeof(err->text), "%.300s: %s", file, strerror(errno));
		goto out;
	}
	line = ini_parse_stream(next_line, &r, handle, &r);
	fclose(r.f);
	if (line < 0) {
		snprintf(err->text, sizeof(err->text), "%.200s: cannot be read", file);
		goto out;
	}
	if (line || r.failed) {
		whole = *err;
		/* inih goes on behind a line that it does not understand: that one came first */
		if (!r.failed || (line && line < r.line))
			snprintf(whole.text, sizeof(whole.text), MALFORMED);
		snprintf(err->text, sizeof(err->text), "%.140s:%d: %.340s", file,
			 line ? line : r.line, whole.text);
		goto out;
	}
	if (!conf_check(c, err) || !read_keys(&r)) {
		whole = *err;
		snprintf(err->text, sizeof(err->text), "%.140s: %.340s", file, whole.text);
		goto out;
	}
	if (!c->max_flows_assoc)
		c->max_flows_assoc = fair_share(c);
	if (c->max_flows_assoc > c->max_flows)
		c->max_flows_assoc = c->max_flows;
	/* The anchor must outwait the mobile, which may first try the planned switch to its end and
	 * then the unexpected one (N9). */
	if (!c->timers.switching)
		c->timers.switching = c->role == HF_ROLE_ANCHOR ? c->timers.inactivity : 30000;
	if (c->role == HF_ROLE_MOBILE && c->timers.grace < c->timers.switching)
		c->timers.grace = c->timers.switching;
	*ret = c;
	return 0;
out:
	conf_free(c);
	return -EINVAL;
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	if (c->mobiles)
		OPENSSL_cleanse(c->mobiles, c->mobile_count * sizeof(*c->mobiles));
	if (c->anchors)
		OPENSSL_cleanse(c->anchors, c->anchor_count * sizeof(*c->anchors));
	OPENSSL_cleanse(&c->takeover, sizeof(c->takeover));
	free(c->mobiles);
	free(c->services);
	free(c->anchors);
	free(c->uplinks);
	free(c);
}

void conf_file_of(const char *arg, char *buf, size_t len)
{
	size_t n = strlen(arg);

	if (strchr(arg, '/') || (n > 5 && !strcmp(arg + n - 5, ".conf")))
		snprintf(buf, len, "%s", arg);
	else
		snprintf(buf, len, CONF_DIR "/%s.conf", arg);
}
