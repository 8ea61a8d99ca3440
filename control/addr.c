/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

#define TEXT_MAX (INET6_ADDRSTRLEN + 2) /* with brackets */

struct hf_addr addr_from_v4(const void *bytes4)
{
	struct hf_addr a;

	memcpy(a.b, mapped, sizeof(mapped));
	memcpy(a.b + 12, bytes4, 4);
	return a;
}

struct hf_addr addr_from_v6(const void *bytes16)
{
	struct hf_addr a;

	memcpy(a.b, bytes16, 16);
	return a;
}

bool addr_is_v4(const struct hf_addr *a)
{
	return memcmp(a->b, mapped, sizeof(mapped)) == 0;
}

bool addr_is_zero(const struct hf_addr *a)
{
	return (a->w[0] | a->w[1] | a->w[2] | a->w[3]) == 0;
}

bool addr_equal(const struct hf_addr *a, const struct hf_addr *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

int addr_family(const struct hf_addr *a)
{
	return addr_is_v4(a) ? AF_INET : AF_INET6;
}

unsigned int addr_bits(const struct hf_addr *a)
{
	return addr_is_v4(a) ? 32 : 128;
}

const void *addr_bytes(const struct hf_addr *a)
{
	return addr_is_v4(a) ? a->b + 12 : a->b;
}

int addr_parse(const char *text, struct hf_addr *ret)
{
	char inside[TEXT_MAX];
	struct in6_addr six;
	struct in_addr four;
	size_t len = strlen(text);

	if (len == 0 || len >= sizeof(inside))
		return -EINVAL;
	if (text[0] == '[') {
		if (text[len - 1] != ']' || len < 4)
			return -EINVAL;
		memcpy(inside, text + 1, len - 2);
		inside[len - 2] = '\0';
	} else {
		memcpy(inside, text, len + 1);
		if (inet_pton(AF_INET, inside, &four) == 1) {
			*ret = addr_from_v4(&four);
			return 0;
		}
	}
	if (inet_pton(AF_INET6, inside, &six) != 1)
		return -EINVAL;
	*ret = addr_from_v6(&six);
	return 0;
}

int addr_parse_prefix(const char *text, struct hf_addr *ret, unsigned int *ret_len)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	unsigned int bits, first, n;
	char only[TEXT_MAX];
	struct hf_addr a;
	int r;

	if (len >= sizeof(only))
		return -EINVAL;
	memcpy(only, text, len);
	only[len] = '\0';
	r = addr_parse(only, &a);
	if (r < 0)
		return r;
	if (addr_is_v4(&a) && strchr(only, ':'))
		return -EINVAL; /* ::ffff:10.0.0.0/104 or /8? */

	n = bits = addr_bits(&a);
	if (slash) {
		size_t digits = strspn(slash + 1, "0123456789");

		if (digits == 0 || digits > 3 || slash[1 + digits] != '\0' ||
		    (slash[1] == '0' && digits > 1))
			return -EINVAL;
		n = (unsigned int)strtoul(slash + 1, NULL, 10);
		if (n > bits)
			return -ERANGE;
	}
	first = 128 - bits + n; /* of the bits that must be zero */
	for (unsigned int i = first; i < 128; i++)
		if (a.b[i / 8] & (0x80u >> (i % 8)))
			return -EDOM;
	*ret = a;
	*ret_len = n;
	return 0;
}

const char *addr_format(const struct hf_addr *a, char buf[static INET6_ADDRSTRLEN])
{
	if (!inet_ntop(addr_family(a), addr_bytes(a), buf, INET6_ADDRSTRLEN))
		buf[0] = '\0'; /* cannot be: both families fit */
	return buf;
}

bool addr_is_loopback(const struct hf_addr *a)
{
	static const struct hf_addr one = {.b = {[15] = 1}};

	return addr_is_v4(a) ? a->b[12] == 127 : addr_equal(a, &one);
}

bool addr_is_link_local(const struct hf_addr *a)
{
	if (addr_is_v4(a))
		return a->b[12] == 169 && a->b[13] == 254;
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

bool addr_is_unicast(const struct hf_addr *a)
{
	if (addr_is_loopback(a) || addr_is_link_local(a))
		return false;
	if (addr_is_v4(a)) /* 0.0.0.0/8: RFC 1122 section 3.2.1.3; 224/4 and 240/4 with broadcast */
		return a->b[12] != 0 && a->b[12] < 224;
	return !addr_is_zero(a) && a->b[0] != 0xff;
}

bool addr_in_prefix(const struct hf_addr *a, const struct hf_addr *prefix, unsigned int len)
{
	unsigned int bits = addr_bits(prefix), whole;

	if (addr_bits(a) != bits)
		return false;
	if (len > bits)
		len = bits;
	len += 128 - bits;
	whole = len / 8;
	if (memcmp(a->b, prefix->b, whole) != 0)
		return false;
	return len % 8 == 0 ||
	       ((a->b[whole] ^ prefix->b[whole]) & (0xff00u >> (len % 8)) & 0xff) == 0;
}

bool addr_prefix_overlap(const struct hf_addr *a, unsigned int alen, const struct hf_addr *b,
			 unsigned int blen)
{
	return addr_in_prefix(a, b, alen < blen ? alen : blen);
}

int addr_nth(const struct hf_addr *prefix, unsigned int len, uint64_t n, struct hf_addr *ret)
{
	unsigned int bits = addr_bits(prefix);
	struct hf_addr a = *prefix;
	uint64_t carry = n;

	if (len > bits)
		return -EINVAL;
	if (bits - len < 64 && n >> (bits - len))
		return -ERANGE;
	for (int i = 15; i >= 0 && carry; i--) {
		uint64_t sum = a.b[i] + (carry & 0xff);

		a.b[i] = (uint8_t)sum;
		carry = (carry >> 8) + (sum >> 8);
	}
	if (carry || !addr_in_prefix(&a, prefix, len))
		return -ERANGE; /* `prefix` had bits behind its length */
	*ret = a;
	return 0;
}

void addr_to_sockaddr(const struct hf_addr *a, uint16_t port, uint32_t ifindex,
		      struct sockaddr_storage *ret, socklen_t *ret_len)
{
	memset(ret, 0, sizeof(*ret));
	if (addr_is_v4(a)) {
		struct sockaddr_in *in = (struct sockaddr_in *)ret;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, addr_bytes(a), 4);
		*ret_len = sizeof(*in);
	} else {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		memcpy(&in6->sin6_addr, a->b, 16);
		if (addr_is_link_local(a))
			in6->sin6_scope_id = ifindex;
		*ret_len = sizeof(*in6);
	}
}

int addr_from_sockaddr(const struct sockaddr *sa, struct hf_addr *ret, uint16_t *ret_port)
{
	uint16_t port;

	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

		*ret = addr_from_v4(&in->sin_addr);
		port = ntohs(in->sin_port);
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

		*ret = addr_from_v6(&in6->sin6_addr);
		port = ntohs(in6->sin6_port);
	} else {
		return -EAFNOSUPPORT;
	}
	if (ret_port)
		*ret_port = port;
	return 0;
}
