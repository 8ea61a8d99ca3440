/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every key of holdfast.conf(5), right and wrong. What is wrong gives one sentence, here word for
 * word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/addr.h"
#include "control/conf.h"
#include "control/key.h"
#include "tests/unit/conf_rows.h"

#define INSTANCE_RULE "1 to 31 letters, digits, '-' or '_'"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define TEXT_KEY      "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static char folder[] = "/tmp/test_conf.XXXXXX";
static struct conf_error err;

static void put_bytes(const char *name, const void *bytes, size_t len, mode_t mode)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void put(const char *name, const char *text)
{
	put_bytes(name, text, strlen(text), 0600);
}

/* All names are relative, so that the sentences are the same everywhere. */
static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(folder) || chdir(folder))
		return -1;
	put("key", TEXT_KEY "\n");
	put("other", "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n");
	put_bytes("open", TEXT_KEY "\n", sizeof(TEXT_KEY), 0644);
	put("bad", "this is no key\n");
	if (symlink("key", "link") || mkdir("dir.conf", 0700))
		return -1;
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {"key", "other", "open", "bad", "link", "x.conf"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlink(names[i]);
	rmdir("dir.conf");
	return chdir("/") || rmdir(folder);
}

static struct conf *read_text(const char *text)
{
	struct conf *c = NULL;

	put("x.conf", text);
	if (conf_read("x.conf", NULL, NULL, &c, &err)) {
		print_error("%s\n", err.text);
		fail();
	}
	assert_non_null(c);
	return c;
}

/* One sentence: something, on one line, that a terminal may be shown. */
static bool one_sentence(const char *text)
{
	if (!*text || strlen(text) > 400)
		return false;
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

static bool refused_file(const char *file)
{
	static struct conf untouched;
	struct conf *c = &untouched;
	int ret;

	memset(&err, 'x', sizeof(err));
	ret = conf_read(file, NULL, NULL, &c, &err);
	if (!ret) {
		conf_free(c);
		strcpy(err.text, "(accepted)");
	}
	/* an output is not touched on failure */
	return ret < 0 && c == &untouched && memchr(err.text, 0, sizeof(err.text)) &&
	       one_sentence(err.text);
}

static bool refused(const char *text)
{
	put("x.conf", text);
	return refused_file("x.conf");
}

static void check_rows(const struct row *rows, size_t count)
{
	int bad = 0;

	for (size_t i = 0; i < count; i++) {
		char says[512];
		bool ok = refused(rows[i].text);

		if (rows[i].line)
			snprintf(says, sizeof(says), "x.conf:%d: %s", rows[i].line, rows[i].says);
		else
			snprintf(says, sizeof(says), "x.conf: %s", rows[i].says);
		if (ok && !strcmp(err.text, says))
			continue;
		print_error("%s\n  expected: %s\n  got:      %s\n", rows[i].text, says, err.text);
		bad++;
	}
	assert_int_equal(bad, 0);
}
#define CHECK(rows) check_rows(rows, ARRAY_SIZE(rows))

static void assert_addr(const struct hf_addr *a, const char *text)
{
	char buf[INET6_ADDRSTRLEN];

	assert_string_equal(addr_format(a, buf), text);
}

static void assert_timers(const struct conf *c, const struct conf_timers *want)
{
	assert_memory_equal(&c->timers, want, sizeof(*want));
}

/* ---- right ------------------------------------------------------------- */

/* holdfast.conf(5) names these numbers: change them there, too. */
static void defaults(void **state)
{
	struct conf *c = read_text(MOBILE);

	(void)state;
	assert_int_equal(c->role, HF_ROLE_MOBILE);
	assert_string_equal(c->name, "x");
	assert_string_equal(c->file, "x.conf");
	assert_string_equal(c->run_dir, "/run/holdfast");
	assert_string_equal(c->id, "laptop");
	assert_string_equal(c->device, "hf0");
	assert_int_equal(c->port, 4690);
	assert_int_equal(c->mode, LOADER_MODE_AUTO);
	assert_int_equal(c->max_flows, 262144);
	assert_int_equal(c->max_flows_assoc, 262144);
	assert_int_equal(c->park_bytes, 8 << 20);
	assert_int_equal(c->park_total_bytes, 64 << 20);
	assert_string_equal(c->hook_leave, "");
	assert_string_equal(c->hook_arrive, "");
	assert_timers(c, &(struct conf_timers){.alive = 5000,
					       .attempts = 4,
					       .switching = 30000,
					       .grace = 35000,
					       .drain = 200,
					       .inactivity = 3600000,
					       .tcp_established = 7440000,
					       .tcp_transitory = 240000,
					       .udp = 300000,
					       .icmp = 60000});
	conf_free(c);

	c = read_text(
		"[holdfast]\nrole = mobile\nid = m\n[anchor a]\nkey = key\npoints = 10.0.0.1\n"
		"[uplink lo]\noptional = no\n");
	assert_int_equal(c->uplinks[0].cost, 100);
	assert_false(c->uplinks[0].optional);
	conf_free(c);

	c = read_text(ANCHOR);
	assert_int_equal(c->role, HF_ROLE_ANCHOR);
	assert_int_equal(c->services[0].proto, IPPROTO_TCP);
	assert_true(addr_is_zero(&c->mobiles[0].host4));
	assert_true(addr_is_zero(&c->mobiles[0].host6));
	/* the anchor outwaits the mobile */
	assert_int_equal(c->timers.switching, 3600000);
	conf_free(c);
}

static void mobile_with_everything(void **state)
{
	static const uint8_t zero[KEY_LEN];
	struct conf *c = read_text(
		"; a comment\n# another\n[holdfast]\nrole = mobile\nid = lap-top_1.a\ndevice = "
		"hf7\n"
		"port: 4700\nmode = generic ; behind a value\nmax-flows = 1024\n"
		"max-flows-per-association = 16\npark-bytes = 64K\npark-total-bytes = 1G\n"
		"interfaces = eth7, eth8 eth9\nhook-leave = /bin/leave\nhook-arrive = /bin/arrive\n"
		"[timers]\nalive = 1s\nattempts = 7\nswitch = 10 s\ngrace = 20s\ndrain = 100ms\n"
		"inactivity = 2h\ntcp-established = 3h\ntcp-transitory = 5min\nudp = 6min\nicmp = "
		"61s\n"
		"[anchor home]\nkey = key\npoints = 192.0.2.1, [2001:db8::1] 192.0.2.2\n"
		"points = 2001:db8::2\n  192.0.2.3\n[anchor work]\npoints = 192.0.2.9\nkey = "
		"other\n"
		"[uplink lo]\ncost = 0\n[uplink wwan9]\ncost = 1000000\noptional = yes\n");

	(void)state;
	assert_string_equal(c->id, "lap-top_1.a");
	assert_string_equal(c->device, "hf7");
	assert_int_equal(c->port, 4700);
	assert_int_equal(c->mode, LOADER_MODE_GENERIC);
	assert_int_equal(c->max_flows, 1024);
	assert_int_equal(c->max_flows_assoc, 16);
	assert_int_equal(c->park_bytes, 65536);
	assert_int_equal(c->park_total_bytes, 1 << 30);
	assert_int_equal(c->interface_count, 3);
	assert_string_equal(c->interfaces[0], "eth7");
	assert_string_equal(c->interfaces[2], "eth9");
	assert_string_equal(c->hook_leave, "/bin/leave");
	assert_string_equal(c->hook_arrive, "/bin/arrive");
	assert_timers(c, &(struct conf_timers){.alive = 1000,
					       .attempts = 7,
					       .switching = 10000,
					       .grace = 20000,
					       .drain = 100,
					       .inactivity = 7200000,
					       .tcp_established = 10800000,
					       .tcp_transitory = 300000,
					       .udp = 360000,
					       .icmp = 61000});
	assert_int_equal(c->anchor_count, 2);
	assert_string_equal(c->anchors[0].name, "home");
	assert_int_equal(c->anchors[0].point_count, 5);
	assert_addr(&c->anchors[0].points[0], "192.0.2.1");
	assert_addr(&c->anchors[0].points[1], "2001:db8::1");
	assert_addr(&c->anchors[0].points[3], "2001:db8::2");
	assert_addr(&c->anchors[0].points[4], "192.0.2.3");
	assert_memory_not_equal(c->anchors[0].key, zero, KEY_LEN);
	assert_int_equal(c->anchors[0].key[31], 31);
	assert_string_equal(c->anchors[1].name, "work");
	assert_int_equal(c->anchors[1].key[31], 63);
	assert_int_equal(c->uplink_count, 2);
	assert_string_equal(c->uplinks[0].ifname, "lo");
	assert_int_equal(c->uplinks[0].cost, 0);
	assert_int_equal(c->uplinks[1].cost, 1000000);
	assert_true(c->uplinks[1].optional);
	conf_free(c);
}

static void anchor_with_everything(void **state)
{
	struct conf *c = read_text(
		"[holdfast]\nrole = anchor\npoints = 192.0.2.1 2001:db8::1\n"
		"pool = 10.77.0.0/24, fd77::/64\npool = 10.78.0.0/24\nmode = tc\nmax-flows = 16\n"
		"max-flows-per-association = 16777216\n[timers]\ninactivity = 10min\n[mobile "
		"laptop]\n"
		"key = key\naddress = 10.77.0.9, fd77::9\n[mobile phone]\nkey = other\n[service "
		"web]\n"
		"server = 10.9.0.10:80\nemulator = 80\n[service dns]\nprotocol = udp\n"
		"server = [fd09::10]:53\nemulator = 80\n[service ping]\nprotocol = icmp\n"
		"server = 10.9.0.10\nemulator = 4096\n");

	(void)state;
	assert_int_equal(c->point_count, 2);
	assert_addr(&c->points[1], "2001:db8::1");
	assert_int_equal(c->pool_count, 3);
	assert_addr(&c->pools[1].addr, "fd77::");
	assert_int_equal(c->pools[0].len, 24);
	assert_int_equal(c->pools[1].len, 64);
	assert_int_equal(c->mode, LOADER_MODE_TC);
	/* more for one than there are in all: all of them */
	assert_int_equal(c->max_flows_assoc, 16);
	assert_int_equal(c->timers.switching, 600000);
	assert_int_equal(c->mobile_count, 2);
	assert_string_equal(c->mobiles[0].id, "laptop");
	assert_addr(&c->mobiles[0].host4, "10.77.0.9");
	assert_addr(&c->mobiles[0].host6, "fd77::9");
	assert_int_equal(c->mobiles[1].key[0], 32);
	assert_int_equal(c->service_count, 3);
	assert_int_equal(c->services[0].port, 80);
	assert_int_equal(c->services[0].emulator, 80);
	assert_int_equal(c->services[1].proto, IPPROTO_UDP);
	assert_addr(&c->services[1].addr, "fd09::10");
	assert_int_equal(c->services[1].port, 53);
	assert_int_equal(c->services[2].proto, IPPROTO_ICMP);
	assert_int_equal(c->services[2].port, 0);
	assert_int_equal(c->services[2].emulator, 4096);
	conf_free(c);
}

static void modes(void **state)
{
	static const char *const names[] = {"auto", "tc", "xdp", "generic"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char text[512];
		struct conf *c;

		snprintf(text, sizeof(text), MORE_M "mode = %s\n", names[i]);
		c = read_text(text);
		assert_string_equal(loader_mode_name(c->mode), names[i]);
		conf_free(c);
	}
}

/* What was made before break holds for a switch as long as the switch may last. */
static void grace_covers_switch(void **state)
{
	struct conf *c = read_text(TIMERS "switch = 60s\ngrace = 1s\n");

	(void)state;
	assert_int_equal(c->timers.grace, 60000);
	conf_free(c);
	c = read_text(ANCHOR "[timers]\nswitch = 90s\ngrace = 1s\n");
	assert_int_equal(c->timers.switching, 90000);
	assert_int_equal(c->timers.grace, 1000);
	conf_free(c);
}

static void strange_but_right(void **state)
{
	struct conf *c;

	(void)state;
	c = read_text("\xef\xbb\xbf" MOBILE); /* a byte order mark */
	conf_free(c);
	c = read_text("[holdfast]\r\nrole = mobile\r\nid = m\r\n[anchor a]\r\nkey = key\r\n"
		      "points = 10.0.0.1\r\n[uplink lo]\r\ncost = 1\r\n");
	assert_string_equal(c->id, "m");
	conf_free(c);
	c = read_text("[uplink\tlo]\ncost=1\n[anchor   "
		      "a]\npoints=10.0.0.1\nkey=key\n[holdfast]\nid=m\nrole=mobile");
	assert_string_equal(c->anchors[0].name, "a");
	conf_free(c);
}

static void names_and_paths(void **state)
{
	struct conf *c = NULL;
	char path[CONF_PATH_LEN];

	(void)state;
	put("x.conf", MOBILE);
	assert_int_equal(conf_read("./x.conf", "other", "/tmp/run", &c, &err), 0);
	assert_string_equal(c->name, "other");
	assert_string_equal(c->run_dir, "/tmp/run");
	conf_free(c);
	conf_free(NULL);
	conf_file_of("home", path, sizeof(path));
	assert_string_equal(path, "/etc/holdfast/home.conf");
	conf_file_of("home.conf", path, sizeof(path));
	assert_string_equal(path, "home.conf");
	conf_file_of("./home", path, sizeof(path));
	assert_string_equal(path, "./home");
	conf_file_of(".conf", path, sizeof(path));
	assert_string_equal(path, "/etc/holdfast/.conf.conf");
}

/* ---- wrong ------------------------------------------------------------- */

static void wrong_in_holdfast(void **state)
{
	(void)state;
	CHECK(wrong_in_holdfast_rows);
}

static void wrong_addresses(void **state)
{

	(void)state;
	CHECK(wrong_addresses_rows);
}

static void wrong_in_timers(void **state)
{
	static const char *const keys[] = {"alive",          "switch",     "grace",
					   "drain",          "inactivity", "tcp-established",
					   "tcp-transitory", "udp",        "icmp"};
	/* the last but one: more than 2^31 ms */
	static const char *const values[] = {"5", "0s", "-1s",   "5 days",   "1.5s",
					     "s", "5S", "5msec", "36000min", "4294967296ms"};
	int bad = 0;

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
		for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
			char text[512], says[256];

			snprintf(text, sizeof(text), TIMERS "%s = %s\n", keys[k], values[v]);
			snprintf(says, sizeof(says), "x.conf:10: %s '%s' " DURATION_RULE, keys[k],
				 values[v]);
			if (refused(text) && !strcmp(err.text, says))
				continue;
			print_error("%s = %s:\n  expected: %s\n  got:      %s\n", keys[k],
				    values[v], says, err.text);
			bad++;
		}
	assert_int_equal(bad, 0);
	CHECK(wrong_in_timers_rows);
}

static void wrong_in_mobile(void **state)
{
	(void)state;
	CHECK(wrong_in_mobile_rows);
}

static void wrong_in_service(void **state)
{
	(void)state;
	CHECK(wrong_in_service_rows);
}

static void wrong_in_anchor_and_uplink(void **state)
{
	(void)state;
	CHECK(wrong_in_anchor_and_uplink_rows);
}

static void wrong_for_the_role(void **state)
{

	(void)state;
	CHECK(wrong_for_the_role_rows);
}

static void wrong_in_takeover(void **state)
{
	(void)state;
	CHECK(wrong_in_takeover_rows);
}

static void takeover(void **state)
{
	struct conf *c = read_text(SERVER "[takeover]\naddress = fd05::100/64\ngroup = web\n"
					  "lease = 1s\nheartbeat = 100ms\non-store-loss = open\n"
					  "give-away-cpu = 90\n[node c]\naddress = [fd06::3]:99\n");
	const struct conf_takeover *t = &c->takeover;

	(void)state;
	assert_int_equal(c->role, HF_ROLE_SERVER);
	assert_string_equal(t->group, "web");
	assert_string_equal(t->interface, "lo");
	assert_int_equal(t->address_count, 2);
	assert_addr(&t->addresses[0].addr, "10.5.0.100");
	assert_int_equal(t->addresses[0].len, 24);
	assert_addr(&t->addresses[1].addr, "fd05::100");
	assert_int_equal(t->addresses[1].len, 64);
	assert_int_equal(t->lease, 1000);
	assert_int_equal(t->heartbeat, 100);
	assert_true(t->open_on_loss);
	assert_false(t->redis);
	assert_int_equal(t->give_away_cpu, 90);
	assert_int_equal(t->node_count, 2);
	assert_string_equal(t->nodes[1].node, "c");
	assert_addr(&t->nodes[1].addr, "fd06::3");
	assert_int_equal(t->nodes[1].port, 99);
	assert_int_equal(t->nodes[0].port, 0);
	conf_free(c);
}

static void wrong_in_form(void **state)
{
	(void)state;
	CHECK(wrong_in_form_rows);
}

static void wrong_files(void **state)
{
	char name[CONF_PATH_LEN + 16];
	struct conf *c = NULL;

	(void)state;
	assert_true(refused_file("none.conf"));
	assert_string_equal(err.text, "none.conf: No such file or directory");
	assert_true(refused_file("dir.conf"));
	assert_string_equal(err.text, "dir.conf: not a file");
	assert_true(refused_file("/dev/null"));
	assert_string_equal(err.text, "/dev/null: not a file");
	memset(name, 'n', sizeof(name));
	name[32] = 0;
	assert_true(refused_file(name));
	assert_string_equal(err.text,
			    "'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn' gives no name of " INSTANCE_RULE
			    "; use --name");
	memset(name, 'n', sizeof(name));
	name[CONF_PATH_LEN] = 0;
	assert_true(refused_file(name));
	assert_non_null(strstr(err.text, "...' is too long"));
	put("x.conf", MOBILE);
	assert_int_not_equal(conf_read("x.conf", "a b", NULL, &c, &err), 0);
	assert_string_equal(err.text, "'a b' gives no name of " INSTANCE_RULE "; use --name");
	assert_int_not_equal(conf_read("x.conf", "", NULL, &c, &err), 0);
	assert_null(c);
}

/* Whatever the bytes are: no crash, and one sentence. */
static void garbage(void **state)
{
	uint32_t seed = 1;
	int bad = 0;

	(void)state;
	for (int round = 0; round < 400; round++) {
		struct conf *c = NULL;
		uint8_t bytes[1024];
		size_t len;

		for (size_t i = 0; i < sizeof(bytes); i++) {
			seed = seed * 1664525 + 1013904223;
			bytes[i] = seed >> 24;
		}
		len = seed % sizeof(bytes);
		/* half of them behind something right, so that they are read as values, too */
		if (round % 2) {
			memcpy(bytes, MORE_M "id = ", sizeof(MORE_M "id = ") - 1);
			len = sizeof(MORE_M) + 8 + len % (sizeof(bytes) - sizeof(MORE_M) - 8);
		}
		put_bytes("x.conf", bytes, len, 0600);
		memset(&err, 'x', sizeof(err));
		if (!conf_read("x.conf", NULL, NULL, &c, &err)) {
			conf_free(c);
			continue;
		}
		assert_non_null(memchr(err.text, 0, sizeof(err.text)));
		assert_int_equal(strncmp(err.text, "x.conf:", 7), 0);
		if (strpbrk(err.text, "\n\r"))
			bad++;
	}
	assert_int_equal(bad, 0);
}

/* ---- the reader's edges ------------------------------------------------ */

/* Everything about an uplink has a default, so its head alone must count. */
static void section_without_keys(void **state)
{
	struct conf *c = NULL;

	(void)state;
	put("x.conf", "[holdfast]\nrole = mobile\nid = m\n[anchor a]\nkey = key\npoints = "
		      "10.0.0.1\n[uplink lo]\n");
	if (conf_read("x.conf", NULL, NULL, &c, &err))
		fail_msg("%s", err.text);
	assert_int_equal(c->uplink_count, 1);
	conf_free(c);
}

/* inih tells of keys, not of heads: those must be seen all the same, at their own line. */
static void heads(void **state)
{
	(void)state;
	CHECK(heads_rows);
}

static void section_twice_in_a_row(void **state)
{
	(void)state;
	assert_true(refused(MOBILE "[uplink lo]\ncost = 2\n"));
	assert_non_null(strstr(err.text, "section [uplink lo] is there twice"));
	assert_true(refused(MOBILE "[holdfast]\nport = 4700\n[uplink lo]\ncost = 2\n"));
	assert_non_null(strstr(err.text, "section [uplink lo] is there twice"));
}

/* Longer than the reader's buffer: to be refused, not read as two lines. */
static void long_lines(void **state)
{
	struct conf *c = NULL;
	char text[4096];
	int n;

	(void)state;
	n = snprintf(text, sizeof(text), MORE_M "hook-leave = /");
	memset(text + n, 'p', 300);
	strcpy(text + n + 300, "\n");
	assert_true(refused(text));
	assert_memory_equal(err.text, "x.conf:10: ", 11);
	assert_non_null(strstr(err.text, "long"));
	/* the rest looks like a line of its own, that would be right */
	n = snprintf(text, sizeof(text), MORE_M "; ");
	memset(text + n, 'p', 197);
	strcpy(text + n + 197, "port = 1\n");
	put("x.conf", text);
	if (!conf_read("x.conf", NULL, NULL, &c, &err)) {
		assert_int_equal(c->port, 4690);
		conf_free(c);
		return;
	}
	assert_memory_equal(err.text, "x.conf:10: ", 11);
	assert_non_null(strstr(err.text, "long"));
}

/* The name is that of the pins, too: no dots there (docs/bpffs.md). */
static void instance_name_with_dot(void **state)
{
	struct conf *c = NULL;

	(void)state;
	put("x.conf", MOBILE);
	if (!conf_read("x.conf", "a.b", NULL, &c, &err)) {
		conf_free(c);
		fail_msg("accepted, but the loader refuses it");
	}
	assert_true(one_sentence(err.text));
}

static void control_characters(void **state)
{
	(void)state;
	assert_true(refused(MORE_M "mode = \x1b[31mred\n"));
	assert_memory_equal(err.text, "x.conf:10: ", 11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(mobile_with_everything),
		cmocka_unit_test(anchor_with_everything),
		cmocka_unit_test(modes),
		cmocka_unit_test(grace_covers_switch),
		cmocka_unit_test(strange_but_right),
		cmocka_unit_test(names_and_paths),
		cmocka_unit_test(wrong_in_holdfast),
		cmocka_unit_test(wrong_addresses),
		cmocka_unit_test(wrong_in_timers),
		cmocka_unit_test(wrong_in_mobile),
		cmocka_unit_test(wrong_in_service),
		cmocka_unit_test(wrong_in_anchor_and_uplink),
		cmocka_unit_test(wrong_for_the_role),
		cmocka_unit_test(wrong_in_form),
		cmocka_unit_test(wrong_files),
		cmocka_unit_test(garbage),
		cmocka_unit_test(section_without_keys),
		cmocka_unit_test(takeover),
		cmocka_unit_test(wrong_in_takeover),
		cmocka_unit_test(heads),
		cmocka_unit_test(section_twice_in_a_row),
		cmocka_unit_test(long_lines),
		cmocka_unit_test(instance_name_with_dot),
		cmocka_unit_test(control_characters),
	};

	return cmocka_run_group_tests_name("conf", tests, setup, teardown);
}
