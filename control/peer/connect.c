/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "control/addr.h"
#include "control/peer/connect.h"

#define TCP_SEEN (HF_TCP_FIN | HF_TCP_SYN | HF_TCP_RST | HF_TCP_ACK)

/* ---- rules, the same for what we send and what we receive ---------------- */

/* Loopback beside what the data plane can carry: both ends on one machine. */
static bool point_ok(const struct hf_addr *a)
{
	return addr_is_unicast(a) || addr_is_loopback(a);
}

static bool hosts_ok(const struct hf_addr *host4, const struct hf_addr *host6)
{
	return (addr_is_zero(host4) || (addr_is_unicast(host4) && addr_is_v4(host4))) &&
	       (addr_is_zero(host6) || (addr_is_unicast(host6) && !addr_is_v4(host6)));
}

static bool emulator_ok(uint8_t proto, uint16_t emulator)
{
	switch (proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		return emulator != 0;
	case IPPROTO_ICMP:
		return emulator != 0 && emulator % HF_ECHO_BLOCK == 0;
	default:
		return false;
	}
}

static bool flow_ok(const struct wire_flow *f)
{
	uint16_t emulator = ntohs(f->emulator), port = ntohs(f->port);

	if (f->pad != 0 || !emulator_ok(f->proto, emulator) || port == 0)
		return false;
	return f->proto != IPPROTO_ICMP || port - port % HF_ECHO_BLOCK == emulator;
}

/* What the data plane keeps beyond HF_TCP_* is its own business. */
static void flow_trim(struct wire_flow *f)
{
	uint8_t mask = f->proto == IPPROTO_TCP ? TCP_SEEN : 0;

	f->tcp_up &= mask;
	f->tcp_down &= mask;
}

static bool name_ok(const char name[static HF_NAME_LEN])
{
	size_t len = strnlen(name, HF_NAME_LEN);

	if (len == HF_NAME_LEN)
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] < 0x20 || name[i] > 0x7e)
			return false;
	for (size_t i = len; i < HF_NAME_LEN; i++)
		if (name[i] != 0)
			return false;
	return true;
}

static bool service_ok(const struct wire_service *s)
{
	if (s->pad[0] != 0 || s->pad[1] != 0 || s->pad[2] != 0)
		return false;
	return addr_is_unicast(&s->addr) && emulator_ok(s->proto, ntohs(s->emulator)) &&
	       (s->port == 0) == (s->proto == IPPROTO_ICMP) && name_ok(s->name);
}

static bool request_fixed_ok(const struct connect_request *r)
{
	return point_ok(&r->from) && hosts_ok(&r->host4, &r->host6);
}

static bool reply_fixed_ok(const struct connect_reply *r)
{
	bool hosts = !addr_is_zero(&r->host4) || !addr_is_zero(&r->host6);

	if ((unsigned int)r->refusal >= WIRE_REFUSAL_COUNT)
		return false;
	if (r->refusal != WIRE_REFUSAL_NONE)
		return !hosts && r->service_count == 0 && r->point_count == 0;
	return hosts && hosts_ok(&r->host4, &r->host6) && r->inactivity_ms != 0;
}

/* ---- request ------------------------------------------------------------- */

size_t connect_request_size(const struct connect_request *r)
{
	if (r->flow_count > WIRE_CONNECT_FLOWS_MAX)
		return 0;
	return sizeof(struct wire_connect) + (size_t)r->flow_count * sizeof(struct wire_flow);
}

ssize_t connect_create_request(const struct connect_request *r, void *out, size_t size)
{
	struct wire_connect w = {
		.magic = htonl(WIRE_CONNECT_MAGIC),
		.type = WIRE_CONNECT,
		.assoc = htonl(r->assoc),
		.flows = htonl(r->flow_count),
		.from = r->from,
		.host4 = r->host4,
		.host6 = r->host6,
	};
	size_t need = connect_request_size(r);
	uint8_t *at = out;

	if (need == 0 || !request_fixed_ok(r) || (r->flow_count != 0 && !r->flows))
		return -EINVAL;
	for (uint32_t i = 0; i < r->flow_count; i++)
		if (!flow_ok(&r->flows[i]))
			return -EINVAL;
	if (size < need)
		return -ENOBUFS;
	memcpy(at, &w, sizeof(w));
	at += sizeof(w);
	for (uint32_t i = 0; i < r->flow_count; i++) {
		struct wire_flow f = r->flows[i];

		flow_trim(&f);
		memcpy(at, &f, sizeof(f));
		at += sizeof(f);
	}
	return need;
}

ssize_t connect_consume_request(const void *data, size_t len, uint32_t flows_max,
				struct connect_request *ret, size_t *ret_need)
{
	struct wire_connect w;
	struct connect_request r;
	size_t need, bytes;

	if (len < sizeof(w)) {
		*ret_need = sizeof(w);
		return -EAGAIN;
	}
	memcpy(&w, data, sizeof(w));
	if (w.magic != htonl(WIRE_CONNECT_MAGIC))
		return -EPROTONOSUPPORT;
	if (w.type != WIRE_CONNECT || w.pad[0] != 0 || w.pad[1] != 0 || w.pad[2] != 0)
		return -EBADMSG;
	r = (struct connect_request){
		.assoc = ntohl(w.assoc),
		.from = w.from,
		.host4 = w.host4,
		.host6 = w.host6,
		.flow_count = ntohl(w.flows),
	};
	if (!request_fixed_ok(&r))
		return -EBADMSG;
	need = connect_request_size(&r);
	if (need == 0 || r.flow_count > flows_max)
		return -E2BIG;
	if (len < need) {
		*ret_need = need;
		return -EAGAIN;
	}
	bytes = need - sizeof(w);
	if (r.flow_count != 0) {
		r.flows = malloc(bytes);
		if (!r.flows)
			return -ENOMEM;
		memcpy(r.flows, (const uint8_t *)data + sizeof(w), bytes);
	}
	for (uint32_t i = 0; i < r.flow_count; i++) {
		if (!flow_ok(&r.flows[i])) {
			free(r.flows);
			return -EBADMSG;
		}
		flow_trim(&r.flows[i]);
	}
	*ret = r;
	return need;
}

void connect_request_clear(struct connect_request *r)
{
	if (!r)
		return;
	free(r->flows);
	*r = (struct connect_request){0};
}

/* ---- reply --------------------------------------------------------------- */

size_t connect_reply_size(const struct connect_reply *r)
{
	if (r->service_count > WIRE_CONNECT_SERVICES_MAX ||
	    r->point_count > WIRE_CONNECT_POINTS_MAX)
		return 0;
	return sizeof(struct wire_connected) +
	       (size_t)r->service_count * sizeof(struct wire_service) +
	       (size_t)r->point_count * sizeof(struct hf_addr);
}

static bool reply_records_ok(const struct connect_reply *r)
{
	for (uint32_t i = 0; i < r->service_count; i++)
		if (!service_ok(&r->services[i]))
			return false;
	for (uint32_t i = 0; i < r->point_count; i++)
		if (!point_ok(&r->points[i]))
			return false;
	return true;
}

ssize_t connect_create_reply(const struct connect_reply *r, void *out, size_t size)
{
	struct wire_connected w = {
		.magic = htonl(WIRE_CONNECT_MAGIC),
		.type = r->refusal == WIRE_REFUSAL_NONE ? WIRE_CONNECTED : WIRE_REFUSED,
		.refusal = r->refusal,
		.assoc = htonl(r->assoc),
		.epoch = htonl(r->epoch),
		.services = htonl(r->service_count),
		.points = htonl(r->point_count),
		.inactivity_ms = htonl(r->inactivity_ms),
		.host4 = r->host4,
		.host6 = r->host6,
	};
	size_t need = connect_reply_size(r);
	uint8_t *at = out;

	if (need == 0 || !reply_fixed_ok(r) || (r->service_count != 0 && !r->services) ||
	    !reply_records_ok(r))
		return -EINVAL;
	if (size < need)
		return -ENOBUFS;
	memcpy(at, &w, sizeof(w));
	at += sizeof(w);
	if (r->service_count != 0)
		memcpy(at, r->services, (size_t)r->service_count * sizeof(*r->services));
	at += (size_t)r->service_count * sizeof(*r->services);
	memcpy(at, r->points, (size_t)r->point_count * sizeof(*r->points));
	return need;
}

ssize_t connect_consume_reply(const void *data, size_t len, struct connect_reply *ret,
			      size_t *ret_need)
{
	const uint8_t *at = data;
	struct wire_connected w;
	struct connect_reply r;
	size_t need, bytes;

	if (len < sizeof(w)) {
		*ret_need = sizeof(w);
		return -EAGAIN;
	}
	memcpy(&w, at, sizeof(w));
	at += sizeof(w);
	if (w.magic != htonl(WIRE_CONNECT_MAGIC))
		return -EPROTONOSUPPORT;
	if ((w.type != WIRE_CONNECTED && w.type != WIRE_REFUSED) ||
	    (w.type == WIRE_CONNECTED) != (w.refusal == WIRE_REFUSAL_NONE) || w.pad[0] != 0 ||
	    w.pad[1] != 0 || w.pad2 != 0)
		return -EBADMSG;
	r = (struct connect_reply){
		.refusal = w.refusal,
		.assoc = ntohl(w.assoc),
		.epoch = ntohl(w.epoch),
		.inactivity_ms = ntohl(w.inactivity_ms),
		.host4 = w.host4,
		.host6 = w.host6,
		.service_count = ntohl(w.services),
		.point_count = ntohl(w.points),
	};
	need = connect_reply_size(&r);
	if (need == 0)
		return -E2BIG;
	if (!reply_fixed_ok(&r))
		return -EBADMSG;
	if (len < need) {
		*ret_need = need;
		return -EAGAIN;
	}
	bytes = (size_t)r.service_count * sizeof(*r.services);
	if (r.service_count != 0) {
		r.services = malloc(bytes);
		if (!r.services)
			return -ENOMEM;
		memcpy(r.services, at, bytes);
		at += bytes;
	}
	memcpy(r.points, at, (size_t)r.point_count * sizeof(*r.points));
	if (!reply_records_ok(&r)) {
		free(r.services);
		return -EBADMSG;
	}
	*ret = r;
	return need;
}

void connect_reply_clear(struct connect_reply *r)
{
	if (!r)
		return;
	free(r->services);
	*r = (struct connect_reply){0};
}

/* ---- refusals ------------------------------------------------------------ */

const char *connect_refusal_name(enum wire_refusal r)
{
	static const char *const names[WIRE_REFUSAL_COUNT] = {
#define REFUSAL_NAME(symbol, text) [WIRE_REFUSAL_##symbol] = #symbol,
		WIRE_REFUSALS(REFUSAL_NAME)
#undef REFUSAL_NAME
	};

	return (unsigned int)r < WIRE_REFUSAL_COUNT ? names[r] : "?";
}

const char *connect_refusal_text(enum wire_refusal r)
{
	static const char *const texts[WIRE_REFUSAL_COUNT] = {
#define REFUSAL_TEXT(symbol, text) [WIRE_REFUSAL_##symbol] = text,
		WIRE_REFUSALS(REFUSAL_TEXT)
#undef REFUSAL_TEXT
	};

	return (unsigned int)r < WIRE_REFUSAL_COUNT ? texts[r] : "?";
}
