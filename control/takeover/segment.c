/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define HOP_LIMIT 64
#define TS_BYTES  12 /* with two NOPs before it (RFC 7323 appendix A) */
#define SYN_BYTES 20 /* of options in a SYN-ACK */
#define BATCH     64 /* segments of one sendmmsg(2) */

/* The segment as its sender sees it. */
struct view {
	const struct hf_addr *src, *dst;
	__be16 src_port, dst_port;
	uint32_t seq, ack; /* sequence numbers */
	unsigned int scale;
};

static struct view view_of(const struct segment *s)
{
	const struct guard_facts *f = s->facts;
	const struct guard_key *k = &f->key;

	if (s->from_peer)
		return (struct view){&k->peer,
				     &k->local,
				     k->peer_port,
				     k->local_port,
				     f->irs + 1 + (uint32_t)s->seq,
				     f->iss + 1 + (uint32_t)s->ack,
				     f->peer_wscale};
	return (struct view){&k->local,
			     &k->peer,
			     k->local_port,
			     k->peer_port,
			     f->iss + 1 + (uint32_t)s->seq,
			     f->irs + 1 + (uint32_t)s->ack,
			     f->our_wscale};
}

static uint16_t window_of(const struct segment *s, unsigned int scale)
{
	uint64_t bytes = s->edge > s->ack ? s->edge - s->ack : 0;
	uint64_t units = (bytes >> scale) + !!(bytes & ((1ull << scale) - 1));

	return units > UINT16_MAX ? UINT16_MAX : (uint16_t)units;
}

static uint32_t sum_add(uint32_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (; len > 1; p += 2, len -= 2)
		sum += (uint32_t)p[0] << 8 | p[1];
	if (len)
		sum += (uint32_t)p[0] << 8;
	return sum; /* SEGMENT_MAX bytes cannot overflow it */
}

static uint16_t sum_end(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static size_t put_ip(uint8_t *out, const struct view *v, size_t payload)
{
	struct iphdr ip4 = {
		.version = 4,
		.ihl = 5,
		.tot_len = htons((uint16_t)(sizeof(ip4) + payload)),
		.frag_off = htons(IP_DF),
		.ttl = HOP_LIMIT,
		.protocol = IPPROTO_TCP,
	};
	struct ip6_hdr ip6 = {
		.ip6_flow = htonl(6u << 28),
		.ip6_plen = htons((uint16_t)payload),
		.ip6_nxt = IPPROTO_TCP,
		.ip6_hlim = HOP_LIMIT,
	};

	if (addr_is_v4(v->src)) {
		memcpy(&ip4.saddr, addr_bytes(v->src), 4);
		memcpy(&ip4.daddr, addr_bytes(v->dst), 4);
		ip4.check = sum_end(sum_add(0, &ip4, sizeof(ip4)));
		memcpy(out, &ip4, sizeof(ip4));
		return sizeof(ip4);
	}
	memcpy(&ip6.ip6_src, v->src->b, 16);
	memcpy(&ip6.ip6_dst, v->dst->b, 16);
	memcpy(out, &ip6, sizeof(ip6));
	return sizeof(ip6);
}

static void put_timestamps(uint8_t out[static TS_BYTES], uint32_t tsval, uint32_t tsecr)
{
	const uint8_t head[] = {TCPOPT_NOP, TCPOPT_NOP, TCPOPT_TIMESTAMP, TCPOLEN_TIMESTAMP};

	tsval = htonl(tsval);
	tsecr = htonl(tsecr);
	memcpy(out, head, 4);
	memcpy(out + 4, &tsval, 4);
	memcpy(out + 8, &tsecr, 4);
}

/* Returns how many bytes, a multiple of 4. */
static size_t put_syn_options(uint8_t out[static SYN_BYTES], const struct segment *s)
{
	const struct guard_facts *f = s->facts;
	const uint8_t scale[] = {TCPOPT_NOP, TCPOPT_WINDOW, TCPOLEN_WINDOW, f->our_wscale};
	const uint8_t sack[] = {TCPOPT_SACK_PERMITTED, TCPOLEN_SACK_PERMITTED, TCPOPT_NOP,
				TCPOPT_NOP};
	const uint16_t mss = htons(f->our_mss);
	size_t len = 4;

	out[0] = TCPOPT_MAXSEG;
	out[1] = TCPOLEN_MAXSEG;
	memcpy(out + 2, &mss, sizeof(mss));
	if (f->options & GUARD_TS) {
		put_timestamps(out + len, s->tsval, s->tsecr);
		if (f->options & GUARD_SACK) /* in the place of the NOPs */
			memcpy(out + len, sack, 2);
		len += TS_BYTES;
	} else if (f->options & GUARD_SACK) {
		memcpy(out + len, sack, sizeof(sack));
		len += sizeof(sack);
	}
	if (f->options & GUARD_WSCALE) {
		memcpy(out + len, scale, sizeof(scale));
		len += sizeof(scale);
	}
	return len;
}

static size_t put_options(uint8_t out[static SYN_BYTES], const struct segment *s)
{
	if (s->synack)
		return put_syn_options(out, s);
	if (!(s->facts->options & GUARD_TS))
		return 0;
	put_timestamps(out, s->tsval, s->tsecr);
	return TS_BYTES;
}

size_t segment_create(const struct segment *s, uint8_t out[static SEGMENT_MAX])
{
	uint8_t listed[SYN_BYTES];
	const size_t options = put_options(listed, s);
	const size_t tcp_len = sizeof(struct tcphdr) + options + !!s->octets;
	const struct view v = view_of(s);
	const size_t bytes = addr_bits(v.src) / 8;
	const size_t ip_len = put_ip(out, &v, tcp_len);
	uint8_t *at = out + ip_len;
	uint32_t sum = IPPROTO_TCP + (uint32_t)tcp_len;
	struct tcphdr tcp = {
		.source = v.src_port,
		.dest = v.dst_port,
		.seq = htonl(v.seq),
		.ack_seq = htonl(v.ack),
		.doff = (sizeof(tcp) + options) / 4,
		.ack = 1,
		.syn = s->synack,
		.fin = s->fin,
		.window = htons(window_of(s, s->synack ? 0 : v.scale)),
	};

	memcpy(at + sizeof(tcp), listed, options);
	if (s->octets)
		at[sizeof(tcp) + options] = 0;
	sum = sum_add(sum, addr_bytes(v.src), bytes);
	sum = sum_add(sum, addr_bytes(v.dst), bytes);
	sum = sum_add(sum, &tcp, sizeof(tcp));
	sum = sum_add(sum, at + sizeof(tcp), tcp_len - sizeof(tcp));
	tcp.check = sum_end(sum);
	memcpy(at, &tcp, sizeof(tcp));
	return ip_len + tcp_len;
}

/* ---- sending ---------------------------------------------------------------- */

struct segment_sender {
	int v4, v6;
};

/* A message of a batch, and what it points to. The source is said once more beside the packet: the
 * route is looked up before the header is looked at. */
struct parcel {
	struct sockaddr_storage to;
	struct iovec bytes;
	uint8_t packet[SEGMENT_MAX];
	union {
		struct cmsghdr align;
		char v4[CMSG_SPACE(sizeof(struct in_pktinfo))];
		char v6[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	} source;
};

static int raw_open(int family)
{
	uint32_t mark = GUARD_MARK;
	int fd, r, yes = 1;

	fd = socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW);
	if (fd < 0)
		return -errno;
	r = setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
	/* IPv6 refuses a source that is not its own, IPv4 does not ask with a header of ours */
	if (r == 0 && family == AF_INET6)
		r = setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &yes, sizeof(yes));
	if (r < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

int segment_open(struct segment_sender **ret)
{
	struct segment_sender *s = malloc(sizeof(*s));
	int r = 0;

	if (!s)
		return -ENOMEM;
	s->v4 = raw_open(AF_INET);
	s->v6 = raw_open(AF_INET6);
	if (s->v4 < 0)
		r = s->v4;
	else if (s->v6 < 0 && s->v6 != -EAFNOSUPPORT) /* a kernel without IPv6 */
		r = s->v6;
	if (r < 0) {
		segment_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void segment_close(struct segment_sender *s)
{
	if (!s)
		return;
	if (s->v4 >= 0)
		close(s->v4);
	if (s->v6 >= 0)
		close(s->v6);
	free(s);
}

static void parcel_source(struct parcel *p, struct msghdr *m, const struct hf_addr *src)
{
	struct in_pktinfo info4 = {0};
	struct in6_pktinfo info6 = {0};
	struct cmsghdr *c;

	m->msg_control = &p->source;
	m->msg_controllen = addr_is_v4(src) ? sizeof(p->source.v4) : sizeof(p->source.v6);
	c = CMSG_FIRSTHDR(m);
	if (addr_is_v4(src)) {
		*c = (struct cmsghdr){CMSG_LEN(sizeof(info4)), IPPROTO_IP, IP_PKTINFO};
		memcpy(&info4.ipi_spec_dst, addr_bytes(src), 4);
		memcpy(CMSG_DATA(c), &info4, sizeof(info4));
	} else {
		*c = (struct cmsghdr){CMSG_LEN(sizeof(info6)), IPPROTO_IPV6, IPV6_PKTINFO};
		memcpy(&info6.ipi6_addr, src->b, 16);
		memcpy(CMSG_DATA(c), &info6, sizeof(info6));
	}
}

static void parcel_fill(struct parcel *p, struct msghdr *m, const struct segment *s)
{
	const struct view v = view_of(s);

	*m = (struct msghdr){.msg_name = &p->to, .msg_iov = &p->bytes, .msg_iovlen = 1};
	p->bytes = (struct iovec){p->packet, segment_create(s, p->packet)};
	addr_to_sockaddr(v.dst, 0, 0, &p->to, &m->msg_namelen);
	parcel_source(p, m, v.src);
}

/* Returns the first error. */
static int send_batch(int fd, struct mmsghdr *list, unsigned int count)
{
	unsigned int done = 0;
	int error = 0;

	if (fd < 0)
		return count ? fd : 0;
	while (done < count) {
		int n = sendmmsg(fd, list + done, count - done, 0);

		if (n >= 0) {
			done += (unsigned int)n;
		} else if (errno != EINTR) { /* the first of the rest cannot be sent */
			if (!error)
				error = -errno;
			done++;
		}
	}
	return error;
}

int segment_send(struct segment_sender *s, const struct segment *list, size_t count)
{
	struct mmsghdr v4[BATCH], v6[BATCH];
	struct parcel parcels[BATCH];
	int error = 0;

	while (count > 0) {
		size_t n = count < BATCH ? count : BATCH;
		unsigned int n4 = 0, n6 = 0;
		int r4, r6;

		for (size_t i = 0; i < n; i++) {
			bool is4 = addr_is_v4(&list[i].facts->key.peer);
			struct mmsghdr *m = is4 ? &v4[n4++] : &v6[n6++];

			parcel_fill(&parcels[i], &m->msg_hdr, &list[i]);
		}
		r4 = send_batch(s->v4, v4, n4);
		r6 = send_batch(s->v6, v6, n6);
		if (!error)
			error = r4 ? r4 : r6;
		list += n;
		count -= n;
	}
	return error;
}
